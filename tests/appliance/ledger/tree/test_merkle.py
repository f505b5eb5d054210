"""The tree agrees with RFC 6962, and no proof holds for what it does not show."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.ledger.tree.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_holds,
    consistency_proof,
    inclusion_holds,
    inclusion_proof,
    inclusion_ranges,
    leaf_hash,
    node_hash,
    perfect_ranges,
    tree_root,
)

# The leaves and roots of Certificate Transparency's own tests
# (certificate-transparency, merkletree/merkle_tree_test.cc).
CT_LEAVES = tuple(
    leaf_hash(bytes.fromhex(text))
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
)
CT_ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}

SIZES = st.integers(min_value=1, max_value=130)


def _leaves(count: int) -> list[bytes]:
    return [leaf_hash(str(number).encode()) for number in range(count)]


def _naive_root(leaves: list[bytes]) -> bytes:
    """Return MTH(D[n]) exactly as RFC 6962, section 2.1 words it."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_naive_root(leaves[:split]), _naive_root(leaves[split:]))


@pytest.mark.parametrize("size", CT_ROOTS)
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    assert tree_root(CT_LEAVES[:size]).hex() == CT_ROOTS[size]


@given(st.lists(st.binary(max_size=40), max_size=130), st.data())
def test_a_tree_grown_in_two_steps_has_the_recursive_root(
    items: list[bytes], data: st.DataObject
) -> None:
    leaves = [leaf_hash(item) for item in items]
    cut = data.draw(st.integers(0, len(leaves)))
    grown = Frontier().extended(leaves[:cut]).extended(leaves[cut:])
    assert grown.root() == _naive_root(leaves)
    assert Frontier.decode(grown.encode(), size=grown.size) == grown


@given(st.integers(0, 2**40), st.integers(1, 64))
def test_a_frontier_of_the_wrong_length_is_refused(size: int, extra: int) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier.decode(bytes(size.bit_count() * 32 + extra), size=size)


@given(SIZES, st.data())
def test_every_inclusion_proof_holds_only_for_its_leaf_place_and_root(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    root = _naive_root(leaves)
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(leaves, index)
    holds: dict[str, Any] = {"index": index, "size": size, "root": root}
    assert inclusion_holds(leaves[index], proof, **holds)
    assert not inclusion_holds(leaf_hash(b"x"), proof, **holds)
    assert not inclusion_holds(
        leaves[index], proof, index=index, size=size, root=bytes(32)
    )
    assert not inclusion_holds(leaves[index], (*proof, bytes(32)), **holds)
    if proof:
        assert not inclusion_holds(leaves[index], proof[:-1], **holds)
        assert not inclusion_holds(leaves[index], (bytes(32), *proof[1:]), **holds)
    if other != index:
        assert not inclusion_holds(
            leaves[index], proof, index=other, size=size, root=root
        )
    for outside in (-1, size):
        assert not inclusion_holds(
            leaves[index], proof, index=outside, size=size, root=root
        )


@given(SIZES, st.data())
def test_every_consistency_proof_holds_only_for_its_two_roots(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    old_size = data.draw(st.integers(0, size))
    proof = consistency_proof(leaves, old_size)
    holds: dict[str, Any] = {
        "old_size": old_size,
        "old_root": _naive_root(leaves[:old_size]),
        "size": size,
        "root": _naive_root(leaves),
    }
    assert consistency_holds(proof, **holds)
    assert not consistency_holds((*proof, bytes(32)), **holds)
    assert not consistency_holds(proof, **(holds | {"old_root": bytes(32)}))
    if 0 < old_size < size:
        assert not consistency_holds(proof, **(holds | {"root": bytes(32)}))
        assert not consistency_holds(proof[:-1], **holds)
        assert not consistency_holds((bytes(32), *proof[1:]), **holds)
        rewritten = [leaf_hash(b"x"), *leaves[1:]]
        assert not consistency_holds(
            consistency_proof(rewritten, old_size),
            **(holds | {"root": _naive_root(rewritten)}),
        )


@given(SIZES, st.data())
def test_the_hashes_of_a_proof_are_roots_of_its_ranges(
    size: int, data: st.DataObject
) -> None:
    leaves = _leaves(size)
    index = data.draw(st.integers(0, size - 1))
    assert inclusion_proof(leaves, index) == tuple(
        _naive_root(leaves[part.start : part.stop])
        for part in inclusion_ranges(index, size)
    )


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_perfect_ranges_are_aligned_and_leave_nothing_out(
    start: int, length: int
) -> None:
    parts = list(perfect_ranges(range(start, start + length)))
    assert [place for part in parts for place in part] == list(
        range(start, start + length)
    )
    for part in parts:
        assert len(part).bit_count() == 1
        assert part.start % len(part) == 0
    for left, right in itertools.pairwise(parts):
        # Two of one length that began at a multiple of both would be one.
        assert len(left) != len(right) or left.start % (2 * len(left))


@given(st.integers(0, 130), st.integers(0, 130))
def test_every_subtree_that_becomes_whole_is_told_of_once(size: int, more: int) -> None:
    leaves = _leaves(size + more)
    told: list[tuple[int, int, bytes]] = []
    Frontier().extended(leaves[:size]).extended(
        leaves[size:], grown=lambda *subtree: told.append(subtree)
    )
    whole = {
        (place, width): _naive_root(leaves[place : place + width])
        for width in (2, 4, 8, 16, 32, 64, 128, 256)
        for place in range(0, size + more, width)
        if size < place + width <= size + more
    }
    assert {(place, width): root for place, width, root in told} == whole
    assert len(told) == len(whole)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_are_no_ranges_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_ranges(index, 3)


def test_a_tree_is_no_prefix_of_a_smaller_one() -> None:
    root = tree_root(_leaves(3))
    assert not consistency_holds((), old_size=4, old_root=root, size=3, root=root)


@pytest.mark.parametrize("index", [-1, 3])
def test_there_is_no_proof_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(IndexError):
        inclusion_proof(_leaves(3), index)


@pytest.mark.parametrize("old_size", [-1, 4])
def test_there_is_no_proof_for_a_size_that_never_was(old_size: int) -> None:
    with pytest.raises(IndexError):
        consistency_proof(_leaves(3), old_size)
