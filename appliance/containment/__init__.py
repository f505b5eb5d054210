"""What this process may no longer do once it serves."""
