"""Plays the commands that the guides show, and says what the programs printed.

``python -m tests.support.guides`` plays every guide and puts the real output into
it, as ``tests.support.narration`` does for the README. Tests compare both.
"""
