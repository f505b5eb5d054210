"""A disk that fails at any one call, for whole programs with their database."""
