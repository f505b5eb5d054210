"""Benchmarks whose every figure is a ratio to a peer measured in the same run.

``python -m benchmarks`` runs them; README.md says what each ratio means and what
it does not say. Nothing here asserts a time: a figure is read, not passed.
"""
