"""Equal beginnings lie once, whoever comes and goes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from appliance.engine.scheduling.paths import Tokens
from appliance.engine.scheduling.prefix_tree import PrefixTree


def path(*tokens: int) -> Tokens:
    return np.asarray(tokens, np.int32)


def test_an_empty_tree_holds_nothing() -> None:
    tree = PrefixTree()
    assert tree.match(path(1, 2)) == (0, None)
    assert tree.cells == 0


def test_a_path_is_found_as_far_as_it_goes() -> None:
    tree = PrefixTree()
    assert tree.extend(7, path(1, 2, 3)) == []
    assert tree.match(path(1, 2, 9)) == (2, 7)
    assert tree.match(path(1, 2, 3, 4)) == (3, 7)
    assert tree.match(path(2)) == (0, None)


def test_equal_beginnings_are_counted_once_and_named() -> None:
    tree = PrefixTree()
    tree.extend(1, path(1, 2, 3, 4))
    assert tree.extend(2, path(1, 2, 8)) == [(0, 2, 1)]
    assert tree.cells == 5
    assert tree.cells_of(1) == 2
    assert tree.cells_of(2) == 1
    assert tree.cells_held_by({2}) == 3


def test_a_path_grows_in_place_and_into_anothers() -> None:
    tree = PrefixTree()
    tree.extend(1, path(1, 2))
    tree.extend(1, path(1, 2, 3))
    assert tree.cells == 3
    tree.extend(2, path(1, 2))
    assert tree.extend(2, path(1, 2, 3, 4)) == [(2, 3, 1)]
    assert tree.cells == 4
    assert tree.length(2) == 4


def test_what_nobody_holds_any_more_is_gone() -> None:
    tree = PrefixTree()
    tree.extend(1, path(1, 2, 3))
    tree.extend(2, path(1, 2, 4))
    tree.remove(1)
    assert tree.cells == 3
    assert tree.match(path(1, 2, 3)) == (2, 2)
    tree.remove(2)
    assert tree.cells == 0
    assert list(tree.nodes()) == []
    tree.remove(2)


def test_marks_part_paths_and_take_no_cell() -> None:
    tree = PrefixTree()
    tree.extend(1, path(-1, 5, 6))
    assert tree.extend(2, path(-2, 5, 6)) == []
    assert tree.match(path(-2, 5, 6, 7)) == (3, 2)
    assert tree.match(path(-3, 5, 6)) == (0, None)
    assert tree.cells == 4


@given(
    st.lists(
        st.tuples(
            st.integers(0, 4), st.lists(st.integers(0, 2), min_size=1, max_size=8)
        ),
        max_size=30,
    )
)
def test_the_tree_agrees_with_a_list_of_all_paths(
    changes: list[tuple[int, list[int]]],
) -> None:
    tree = PrefixTree()
    known: dict[int, list[int]] = {}
    for sequence, tokens in changes:
        if sequence in known:
            tree.remove(sequence)
            del known[sequence]
        else:
            for begin, end, holder in tree.extend(sequence, path(*tokens)):
                assert known[holder][:end] == tokens[:end]
                assert begin < end
            known[sequence] = tokens
        beginnings = {
            tuple(each[:end])
            for each in known.values()
            for end in range(1, len(each) + 1)
        }
        assert tree.cells == len(beginnings)
        length, found = tree.match(path(*tokens))
        best = max(
            (
                end
                for end in range(1, len(tokens) + 1)
                if tuple(tokens[:end]) in beginnings
            ),
            default=0,
        )
        assert length == best
        assert (found is None) == (best == 0)
        if found is not None:
            assert known[found][:length] == tokens[:length]
