"""The host while it serves: who may call, what is active, which engines run."""
