"""Decides each request; never reads a clock, file or database."""
