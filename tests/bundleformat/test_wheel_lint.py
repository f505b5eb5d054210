"""The wheel lint against right, wrong and mutated wheels."""

import contextlib
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundleformat.errors import LimitExceededError, MalformedError, RefusalError
from bundleformat.wheel_lint import WheelFacts, lint_wheel
from tests.support.wheel_bytes import GOOD, NAME, Entry
from tests.vectors.make_wheels import FOLDER, write_vectors

ACCEPT = FOLDER / "accept" / "wheel"
REJECT = FOLDER / "reject" / "wheel"
EXPECT = json.loads((REJECT / "expect.json").read_text())


def lint(data: bytes, filename: str = NAME) -> WheelFacts:
    return lint_wheel(io.BytesIO(data), filename=filename, size_bytes=len(data))


@pytest.mark.parametrize("name", sorted(EXPECT))
def test_lint_refuses_every_reject_vector_with_its_code(name: str) -> None:
    with pytest.raises(RefusalError) as caught:
        lint((REJECT / name / NAME).read_bytes())
    assert caught.value.code == EXPECT[name]["expect"]
    assert caught.value.where == EXPECT[name]["where"]


@pytest.mark.parametrize(
    "path", sorted(ACCEPT.glob("*/*.whl")), ids=lambda p: p.parent.name
)
def test_lint_takes_every_accept_vector(path: Path) -> None:
    facts = lint(path.read_bytes(), path.name)
    assert (facts.name.distribution, facts.version) == ("demo", "1.0")


def test_every_reject_vector_is_in_the_index_and_small() -> None:
    wheels = sorted(REJECT.glob("*/*.whl"))
    assert {path.parent.name for path in wheels} == set(EXPECT)
    assert all(path.stat().st_size < 8192 for path in wheels)


def test_the_script_writes_the_committed_vectors_again(tmp_path: Path) -> None:
    write_vectors(tmp_path)
    for side in ("accept", "reject"):
        one, other = tmp_path / side / "wheel", FOLDER / side / "wheel"
        new = {
            p.relative_to(one): p.read_bytes() for p in one.rglob("*.*") if p.is_file()
        }
        old = {
            p.relative_to(other): p.read_bytes()
            for p in other.rglob("*.*")
            if p.is_file()
        }
        assert new == old


def test_facts_name_scripts_licence_and_libraries() -> None:
    name = next(p.name for p in (ACCEPT / "native").iterdir())
    facts = lint((ACCEPT / "native" / name).read_bytes(), name)
    assert facts.libraries == ("demo/a.so",)
    script = lint((ACCEPT / "script" / NAME).read_bytes())
    assert script.scripts == ("demo",)


@given(position=st.integers(0, len(GOOD.packed()) - 1), byte=st.integers(0, 255))
def test_every_byte_may_be_anything_and_the_answer_is_facts_or_a_refusal(
    position: int, byte: int
) -> None:
    data = bytearray(GOOD.packed())
    data[position] = byte
    with contextlib.suppress(MalformedError, LimitExceededError):
        lint(bytes(data))


def test_a_changed_byte_of_content_is_refused() -> None:
    data = GOOD.packed().replace(b"VALUE = 1", b"VALUE = 2")
    with pytest.raises(MalformedError):
        lint(data)


def test_reading_stays_below_what_a_member_declares() -> None:
    zeros = bytes(2**20)
    raw = GOOD.having(Entry(name=b"demo/z", data=zeros, method=8, size=10))
    with pytest.raises(MalformedError) as caught:
        lint(raw.packed())
    assert caught.value.where == "demo/z"
