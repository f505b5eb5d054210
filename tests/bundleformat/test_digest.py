import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat.digest import (
    Sha256,
    check_reader,
    hash_reader,
    parse_sha256,
    sha256_of,
)
from bundleformat.errors import DigestMismatchError, LimitExceededError, MalformedError


@given(st.binary(max_size=200), st.integers(0, 200))
def test_a_reader_is_hashed_up_to_its_limit(data: bytes, max_bytes: int) -> None:
    seen: list[bytes] = []
    if len(data) > max_bytes:
        with pytest.raises(LimitExceededError):
            hash_reader(
                io.BytesIO(data), max_bytes=max_bytes, where="x", sink=seen.append
            )
        assert seen == []
        return
    found = hash_reader(
        io.BytesIO(data), max_bytes=max_bytes, where="x", sink=seen.append
    )
    assert found == (hashlib.sha256(data).hexdigest(), len(data))
    assert b"".join(seen) == data


@pytest.mark.parametrize("data", [b"abd", b"ab", b"abcd", b""])
def test_bytes_that_were_not_signed_are_refused(data: bytes) -> None:
    with pytest.raises(DigestMismatchError) as caught:
        check_reader(
            io.BytesIO(data), sha256=sha256_of(b"abc"), size_bytes=3, where="x"
        )
    assert caught.value.where == "x"


def test_bytes_that_were_signed_are_accepted() -> None:
    check_reader(io.BytesIO(b"abc"), sha256=sha256_of(b"abc"), size_bytes=3, where="x")


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61])
def test_only_64_lower_case_digits_are_a_digest(text: str) -> None:
    with pytest.raises(MalformedError):
        parse_sha256(text)


def test_a_digest_is_returned_unchanged() -> None:
    assert parse_sha256("0" * 64) == Sha256("0" * 64)
