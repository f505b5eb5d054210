"""Which sequence holds which tokens, as a radix tree: equal beginnings lie once.

A path from the root is the beginning of one or more sequences; the cells of a node
are held in common by all sequences whose path runs through it. So the tokens of
all nodes together are the cells in use, each counted once, and the longest path
that a prompt follows is what it need not compute. Pure; knows no llama.cpp.

Negative tokens are marks: they part the paths of those who may not share (a
tenant's own tree begins with its mark) and stand for no cell.
"""

from collections.abc import Collection, Iterator

import numpy as np

from appliance.engine.scheduling.paths import Tokens, common


class _Node:
    """A run of tokens that its holders have in common."""

    __slots__ = ("cells", "children", "holders", "parent", "tokens")

    def __init__(self, tokens: Tokens, *, parent: "_Node | None") -> None:
        self.tokens = tokens
        self.cells = _cells(tokens)
        self.parent = parent
        self.children: dict[int, _Node] = {}
        self.holders: set[int] = set()


class PrefixTree:
    """The paths of all resident sequences.

    Attributes:
        cells: Cells that all paths take together.
    """

    def __init__(self) -> None:
        self._root = _Node(np.empty(0, np.int32), parent=None)
        self._ends: dict[int, _Node] = {}
        self._lengths: dict[int, int] = {}
        self.cells = 0

    def length(self, sequence: int) -> int:
        """Return how much of its path ``sequence`` has in the tree, marks counted."""
        return self._lengths.get(sequence, 0)

    def match(self, path: Tokens) -> tuple[int, int | None]:
        """Return how far ``path`` is held, and by which sequence.

        Returns:
            The length of the longest beginning that one sequence holds, marks
            counted, and that sequence; 0 and None if nobody holds any.
        """
        length, holder, node = 0, None, self._root
        while length < len(path):
            child = node.children.get(int(path[length]))
            if child is None:
                break
            same = common(child.tokens, path[length:])
            length += same
            holder = next(iter(child.holders))
            if same < len(child.tokens):
                break
            node = child
        return length, holder

    def extend(self, sequence: int, path: Tokens) -> list[tuple[int, int, int]]:
        """Let ``sequence`` hold ``path``, which begins with what it holds already.

        Returns:
            The runs of the new part that another sequence held before: begin and
            end in ``path``, and that sequence. Their cells are to be shared.
        """
        shared: list[tuple[int, int, int]] = []
        node, begin = self._ends.get(sequence, self._root), self.length(sequence)
        while begin < len(path):
            rest = path[begin:]
            child = node.children.get(int(rest[0]))
            if child is None:
                node = self._grow(node, sequence, rest)
                begin = len(path)
                break
            same = common(child.tokens, rest)
            if same < len(child.tokens):
                child = _split(child, same)
            shared.append((begin, begin + same, next(iter(child.holders))))
            child.holders.add(sequence)
            node, begin = child, begin + same
        self._ends[sequence] = node
        self._lengths[sequence] = begin
        return shared

    def remove(self, sequence: int) -> None:
        """Forget ``sequence``; what nobody else holds is no longer counted."""
        node: _Node | None = self._ends.pop(sequence, None)
        self._lengths.pop(sequence, None)
        while node is not None and node.parent is not None:
            node.holders.discard(sequence)
            if not node.holders:
                self.cells -= node.cells
                del node.parent.children[int(node.tokens[0])]
            node = node.parent

    def cells_of(self, sequence: int) -> int:
        """Return the cells that would be freed if ``sequence`` were removed."""
        freed = 0
        node = self._ends.get(sequence)
        while node is not None and node.parent is not None:
            if len(node.holders) > 1:
                break
            freed += node.cells
            node = node.parent
        return freed

    def cells_held_by(self, sequences: Collection[int]) -> int:
        """Return the cells that at least one of ``sequences`` holds."""
        wanted = set(sequences)
        return sum(cells for cells, holders in self.nodes() if holders & wanted)

    def nodes(self) -> Iterator[tuple[int, set[int]]]:
        """Yield the cells and the holders of every node."""
        stack = list(self._root.children.values())
        while stack:
            node = stack.pop()
            stack += node.children.values()
            yield node.cells, node.holders

    def _grow(self, node: _Node, sequence: int, tokens: Tokens) -> _Node:
        """Append ``tokens`` to a path that nobody else runs along from here."""
        alone = node.parent is not None and node.holders == {sequence}
        if alone and not node.children:
            node.tokens = np.concatenate((node.tokens, tokens))
            node.cells += _cells(tokens)
        else:
            parent, node = node, _Node(tokens, parent=node)
            parent.children[int(tokens[0])] = node
            node.holders.add(sequence)
        self.cells += _cells(tokens)
        return node


def _cells(tokens: Tokens) -> int:
    """Return the cells that a run takes: one a token, none a mark."""
    return int(np.count_nonzero(tokens >= 0))


def _split(node: _Node, length: int) -> _Node:
    """Cut ``node`` after ``length`` tokens; return the new node in front of it."""
    assert node.parent is not None  # noqa: S101  # the root has no tokens to cut
    front = _Node(node.tokens[:length], parent=node.parent)
    front.holders = set(node.holders)
    front.children[int(node.tokens[length])] = node
    node.parent.children[int(front.tokens[0])] = front
    node.parent, node.tokens = front, node.tokens[length:]
    node.cells -= front.cells
    return front
