"""One model's process: orders in, one batch, one frame out."""
