"""Wheels are examined in a confined child, whose silence is a no."""

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.intake.examine_wheel import examine_wheel
from bundleformat.artifact import Artifact, WheelSizes
from bundleformat.digest import sha256_of
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
)
from bundleformat.paths import Name, parse_path
from tests.support.publish_wheels import pip_wheel, tiny_wheel


def artifact_of(
    wheel: Path, *, filename: str = "", sizes: WheelSizes | None = None
) -> Artifact:
    data = wheel.read_bytes()
    return Artifact(
        kind="wheel",
        name=Name(wheel.name.lower().removesuffix(".whl")),
        path=parse_path(f"wheels/{filename or wheel.name}"),
        size_bytes=len(data),
        sha256=sha256_of(data),
        chunks=(),
        wheel=sizes,
    )


@pytest.mark.parametrize(
    "member", ["evil.pth", "../evil.py", "/etc/passwd", "a\\b.py", "TOOL.PY"]
)
def test_a_member_that_no_wheel_may_have_is_refused(
    tmp_path: Path, member: str
) -> None:
    wheel = tiny_wheel(tmp_path, "tool", contents={"tool.py": b"", member: b"x"})
    with pytest.raises(MalformedError) as caught:
        examine_wheel(wheel, artifact=artifact_of(wheel))
    assert caught.value.where.startswith(f"wheels/{wheel.name}")


def test_a_member_that_record_leaves_out_is_refused(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "tool", unrecorded={"hidden.py": b"evil\n"})
    with pytest.raises(MalformedError):
        examine_wheel(wheel, artifact=artifact_of(wheel))


def test_a_wheel_under_another_name_is_refused(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "tool")
    named = artifact_of(wheel, filename="other-1.0-py3-none-any.whl")
    with pytest.raises(MalformedError):
        examine_wheel(wheel, artifact=named)


def test_a_bomb_is_refused_within_the_limits(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "tool", contents={"tool.py": bytes(64 * 2**20)})
    assert wheel.stat().st_size < 2**20
    with pytest.raises(LimitExceededError):
        examine_wheel(wheel, artifact=artifact_of(wheel))


@pytest.mark.parametrize(
    "program",
    [
        "raise SystemExit(9)",
        "pass",
        "print('{}')",
        "print('no answer')",
        'print(\'{"refused":{"code":"other"}}\')',
        "import os; os.abort()",
    ],
)
def test_a_child_without_a_sensible_answer_is_a_no(
    tmp_path: Path, program: str
) -> None:
    wheel = tiny_wheel(tmp_path, "tool")
    with pytest.raises(InternalFaultError):
        examine_wheel(
            wheel, artifact=artifact_of(wheel), command=(sys.executable, "-c", program)
        )


def test_a_child_that_hangs_is_killed(tmp_path: Path) -> None:
    wheel = tiny_wheel(tmp_path, "tool")
    program = "import time; time.sleep(60)"
    with pytest.raises(LimitExceededError):
        examine_wheel(
            wheel,
            artifact=artifact_of(wheel),
            command=(sys.executable, "-c", program),
            timeout_s=0.3,
        )


def test_a_good_wheel_is_measured(tmp_path: Path) -> None:
    contents = {"tool.py": b"#" * 1_000, "tool/data.bin": b"x" * 70}
    wheel = tiny_wheel(tmp_path, "tool", contents=contents)
    found = examine_wheel(wheel, artifact=artifact_of(wheel))
    with zipfile.ZipFile(wheel) as archive:
        members = archive.infolist()
    assert found == WheelSizes(
        unpacked_bytes=sum(each.file_size for each in members),
        python_bytes=1_000,
        files=5,
    )
    assert examine_wheel(wheel, artifact=artifact_of(wheel, sizes=found)) == found


@pytest.mark.parametrize("field", ["unpacked_bytes", "python_bytes", "files"])
@pytest.mark.parametrize("more", [-1, 1])
def test_a_wheel_that_takes_other_room_than_signed_is_refused(
    tmp_path: Path, field: str, more: int
) -> None:
    wheel = tiny_wheel(tmp_path, "tool")
    found = examine_wheel(wheel, artifact=artifact_of(wheel))
    signed = replace(found, **{field: getattr(found, field) + more})
    with pytest.raises(MalformedError) as caught:
        examine_wheel(wheel, artifact=artifact_of(wheel, sizes=signed))
    assert caught.value.where == f"wheels/{wheel.name}"
    assert caught.value.expected != caught.value.actual


def test_a_real_wheel_passes() -> None:
    wheel = pip_wheel()
    found = examine_wheel(wheel, artifact=artifact_of(wheel))
    assert found.unpacked_bytes > wheel.stat().st_size
