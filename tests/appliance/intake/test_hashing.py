"""Several digests of one stream, each on a thread, agree with ``hashlib``."""

import hashlib
import io
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.intake.hashing import SMALL_BYTES, Digests, Hashers, signed_blocks
from bundleformat.digest import BLOCK_BYTES
from bundleformat.errors import DigestMismatchError


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    sha256: str
    sha384: str | None = None


def signed(data: bytes) -> Signed:
    return Signed(
        sha256=hashlib.sha256(data).hexdigest(), sha384=hashlib.sha384(data).hexdigest()
    )


@pytest.mark.parametrize("name", ["sha256", "sha384"])
def test_one_wrong_digest_of_two_is_refused(name: str) -> None:
    wrong = {"sha256": signed(b"data").sha256, "sha384": signed(b"data").sha384}
    wrong[name] = "0" * len(wrong[name] or "")
    wanted = Signed(sha256=wrong["sha256"] or "", sha384=wrong["sha384"])
    found = Digests.of(wanted)
    with Hashers() as hashers:
        hashers.run([b"data"], [found], sink=len)
    with pytest.raises(DigestMismatchError) as caught:
        found.check(wanted, where="here")
    assert caught.value.where == "here"
    assert caught.value.expected.startswith(f"{name} 000")


@pytest.mark.parametrize("size_bytes", [3, 5, 0])
def test_a_stream_of_another_length_is_refused(size_bytes: int) -> None:
    blocks = signed_blocks(io.BytesIO(b"data"), size_bytes=size_bytes, where="here")
    with pytest.raises(DigestMismatchError):
        list(blocks)


def test_no_byte_beyond_the_signed_length_is_given_away() -> None:
    blocks = signed_blocks(
        io.BytesIO(bytes(BLOCK_BYTES + 2)), size_bytes=BLOCK_BYTES + 1, where=""
    )
    assert len(next(blocks)) == BLOCK_BYTES
    with pytest.raises(DigestMismatchError):
        next(blocks)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from((0, 1, SMALL_BYTES, SMALL_BYTES + 1, 3 * SMALL_BYTES)),
        max_size=12,
    )
)
def test_all_digests_see_the_blocks_in_their_order(sizes: list[int]) -> None:
    blocks = [bytes([number]) * size for number, size in enumerate(sizes)]
    whole = b"".join(blocks)
    written: list[bytes] = []
    alone, both = Digests.of(signed(whole)), Digests.of(signed(whole))
    with Hashers() as hashers:
        hashers.run(blocks, (alone, both), sink=written.append)
    assert written == blocks
    alone.check(signed(whole), where="")
    both.check(signed(whole), where="")


def test_a_sink_that_fails_leaves_no_thread_hashing() -> None:
    def fail(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    found = Digests.of(signed(b""))
    with Hashers() as hashers:
        with pytest.raises(OSError, match="No space"):
            hashers.run([bytes(BLOCK_BYTES)] * 3, (found,), sink=fail)
        state = found.copy()
        hashers.run([b"more"], (state,), sink=len)
