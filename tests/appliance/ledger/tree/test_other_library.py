"""Roots and proofs agree with those of a library that others wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle import InmemoryTree, InvalidProof, verify_consistency

from appliance.ledger.tree.merkle import inclusion_proof, leaf_hash, tree_root

SIZES = st.integers(min_value=1, max_value=130)


def both(size: int) -> tuple[InmemoryTree, list[bytes]]:
    """Return a tree of theirs, and the leaves of ours."""
    entries = [str(number).encode() for number in range(size)]
    theirs = InmemoryTree(algorithm="sha256")
    for entry in entries:
        theirs.append_entry(entry)
    return theirs, [leaf_hash(entry) for entry in entries]


@given(SIZES)
def test_roots_agree(size: int) -> None:
    theirs, leaves = both(size)
    assert theirs.get_root(size) == tree_root(leaves)


@given(SIZES, st.data())
def test_inclusion_proofs_agree(size: int, data: st.DataObject) -> None:
    theirs, leaves = both(size)
    index = data.draw(st.integers(0, size - 1))
    # Theirs counts from 1, and begins with the leaf.
    leaf, *path = theirs.prove_inclusion(index + 1, size).path
    assert leaf == leaves[index]
    assert tuple(path) == inclusion_proof(leaves, index)


@given(SIZES, st.data())
def test_theirs_finds_our_older_heads_to_be_beginnings(
    size: int, data: st.DataObject
) -> None:
    theirs, leaves = both(size)
    old = data.draw(st.integers(1, size))
    proof = theirs.prove_consistency(old, size)
    verify_consistency(tree_root(leaves[:old]), tree_root(leaves), proof)
    with pytest.raises(InvalidProof):
        verify_consistency(leaf_hash(b"another"), tree_root(leaves), proof)
