"""What is counted of requests and engines for Prometheus; numbers only."""
