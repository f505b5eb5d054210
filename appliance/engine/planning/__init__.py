"""What a load takes, what this machine has, and what would fit: before the load."""
