"""A channel's trust root: its first version, its changes, and who has still to sign."""
