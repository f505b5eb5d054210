"""Wheels for an isolated host: resolved, built, checked and locked for a target."""
