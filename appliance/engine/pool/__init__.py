"""Several models on one host: which are loaded, and who makes room for whom."""
