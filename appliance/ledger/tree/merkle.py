"""The Merkle tree of RFC 6962: leaf hashes in, tree heads and proofs out.

Pure values. ``Frontier`` holds the O(log n) hashes from which a tree grows;
``inclusion_proof`` and ``consistency_proof`` take all leaf hashes and cost O(n);
``inclusion_ranges`` and ``consistency_ranges`` say which leaves the hashes of a proof
are made of, for those who keep subtrees elsewhere.
Source: RFC 6962, section 2.1; RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

HASH_BYTES = 32
"""Length of every hash here. Unit: bytes. Source: SHA-256."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


Grown = Callable[[int, int, bytes], None]
"""Is told of a perfect subtree: its first leaf, its number of leaves, its root."""


def leaf_hash(data: bytes) -> bytes:
    """Return the leaf hash of ``data``; the prefix keeps it apart from a node."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above ``left`` and ``right``."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Frontier:
    """The roots of the perfect subtrees of a tree, largest and leftmost first.

    There is one for each bit set in ``size``, so ``size`` tells their heights.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def extended(
        self, leaves: Iterable[bytes], *, grown: Grown | None = None
    ) -> "Frontier":
        """Return the frontier after appending ``leaves`` in order.

        ``grown`` is told of every perfect subtree of two leaves and more that becomes
        whole: its first leaf, how many it has, and its root.
        """
        size, stack = self.size, list(self.hashes)
        for leaf in leaves:
            carried, full, width = leaf, size, 1
            size += 1
            while full & 1:
                carried, full, width = (
                    node_hash(stack.pop(), carried),
                    full >> 1,
                    2 * width,
                )
                if grown is not None:
                    grown(size - width, width, carried)
            stack.append(carried)
        return Frontier(size=size, hashes=tuple(stack))

    def root(self) -> bytes:
        """Return the tree head."""
        if not self.hashes:
            return EMPTY_ROOT
        *left, result = self.hashes
        for subtree in reversed(left):
            result = node_hash(subtree, result)
        return result

    def encode(self) -> bytes:
        """Return the hashes, one after the other."""
        return b"".join(self.hashes)

    @classmethod
    def decode(cls, data: bytes, *, size: int) -> "Frontier":
        """Return the frontier of a tree of ``size`` leaves from its bytes.

        Raises:
            ValueError: ``data`` cannot be the frontier of that many leaves.
        """
        if size < 0 or len(data) != size.bit_count() * HASH_BYTES:
            raise ValueError("a frontier has one hash for each bit set in the size")
        starts = range(0, len(data), HASH_BYTES)
        return cls(size=size, hashes=tuple(data[at : at + HASH_BYTES] for at in starts))


def tree_root(leaves: Iterable[bytes]) -> bytes:
    """Return the tree head over ``leaves``."""
    return Frontier().extended(leaves).root()


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """Return the path from leaf ``index`` to the root of ``leaves``.

    Raises:
        IndexError: There is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return (*inclusion_proof(left, index), tree_root(right))
    return (*inclusion_proof(right, index - split), tree_root(left))


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> tuple[bytes, ...]:
    """Return the proof that the first ``old_size`` leaves are a prefix of all.

    Raises:
        IndexError: ``old_size`` is negative or above the number of leaves.
    """
    ranges = consistency_ranges(old_size, len(leaves))
    return tuple(tree_root(leaves[part.start : part.stop]) for part in ranges)


def consistency_ranges(old_size: int, size: int) -> tuple[range, ...]:
    """Return the leaves below each hash of a consistency proof, in its order.

    Source: RFC 6962, section 2.1.2.

    Raises:
        IndexError: ``old_size`` is negative or above ``size``.
    """
    if not 0 <= old_size <= size:
        raise IndexError(old_size)
    if old_size in (0, size):
        return ()
    return _subproof(old_size, range(size), whole=True)


def inclusion_ranges(index: int, size: int) -> tuple[range, ...]:
    """Return the leaves below each hash of an inclusion proof, in its order.

    Source: RFC 6962, section 2.1.1.

    Raises:
        IndexError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    leaves, path = range(size), list[range]()
    while len(leaves) > 1:
        split = leaves.start + _split(len(leaves))
        left, right = range(leaves.start, split), range(split, leaves.stop)
        leaves, beside = (left, right) if index < split else (right, left)
        path.append(beside)
    return tuple(reversed(path))


def perfect_ranges(leaves: range) -> Iterator[range]:
    """Yield the fewest perfect subtrees that ``leaves`` are made of, in order.

    Each begins at a multiple of its own length, as in the tree over all leaves.
    """
    place = leaves.start
    while place < leaves.stop:
        width = 1 << ((leaves.stop - place).bit_length() - 1)
        aligned = place & -place
        width = min(width, aligned) if aligned else width
        yield range(place, place + width)
        place += width


def inclusion_holds(
    leaf: bytes, proof: Sequence[bytes], *, index: int, size: int, root: bytes
) -> bool:
    """Return whether ``proof`` shows ``leaf`` at ``index`` below ``root``."""
    if not 0 <= index < size:
        return False
    node, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if node & 1 or node == last:
            result = node_hash(sibling, result)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        node, last = node >> 1, last >> 1
    return last == 0 and result == root


def consistency_holds(
    proof: Sequence[bytes],
    *,
    old_size: int,
    old_root: bytes,
    size: int,
    root: bytes,
) -> bool:
    """Return whether ``proof`` shows that the old tree is a prefix of the new."""
    if not 0 <= old_size <= size:
        return False
    if old_size == size:
        return not proof and old_root == root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    if not proof:
        return False
    path = list(proof) if old_size & (old_size - 1) else [old_root, *proof]
    return _roots_of(path, old_size=old_size, size=size) == (old_root, root)


def _roots_of(
    path: Sequence[bytes], *, old_size: int, size: int
) -> tuple[bytes, bytes] | None:
    """Return the old and new root that ``path`` leads to, or None."""
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if node & 1 or node == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        node, last = node >> 1, last >> 1
    return (old, new) if last == 0 else None


def _subproof(old_size: int, leaves: range, *, whole: bool) -> tuple[range, ...]:
    """Return SUBPROOF(m, D[n], b) of RFC 6962, section 2.1.2, as ranges of leaves."""
    if old_size == len(leaves):
        return () if whole else (leaves,)
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if old_size <= split:
        return (*_subproof(old_size, left, whole=whole), right)
    return (*_subproof(old_size - split, right, whole=False), left)


def _split(size: int) -> int:
    """Return the largest power of two below ``size``, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)
