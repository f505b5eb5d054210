"""One process per model, batching inside hard limits."""
