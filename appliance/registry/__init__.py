"""What is on this host: stored files and active generations."""
