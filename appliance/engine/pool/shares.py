"""Divides compute threads among the engines that work at once; pure.

llama.cpp's threads wait for each other by spinning. Two engines that have more
threads together than there are cores wait for threads that cannot run, hundreds of
times a token, and are slower by an order of magnitude than with half as many.
"""


def share_of(threads: int, *, working: int) -> int:
    """Return the threads of each engine, at least one, when ``working`` share them."""
    return max(1, threads // max(1, working))
