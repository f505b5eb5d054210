"""split, join, image, and inspect and verify of several media: refusals first."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bundler.conftest import Desk
from tests.support.volumes import chunks_in, files_of

ROOT = ("--root", "root/1.root.json")
needs_xorriso = pytest.mark.skipif(
    shutil.which("xorriso") is None, reason="xorriso is not installed"
)


@pytest.fixture
def many(ready: Desk, build_arguments: Callable[..., tuple[str, ...]]) -> Desk:
    """A desk with a bundle of small chunks."""
    ready.does(*build_arguments(chunk_size="4KiB"))
    return ready


@pytest.fixture
def on_volumes(many: Desk) -> tuple[Desk, tuple[str, ...]]:
    """A desk with a bundle split onto volumes, and their folders."""
    value = many.does("split", "bundle", *ROOT, "--volume-size", "1MiB", "--out", "v")
    assert value["of"] == len(value["volumes"]) > 2
    return many, tuple(f"v/{name}" for name in value["volumes"])


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("split", "bundle", *ROOT, "--volume-size", "usb", "--out", "v"), "usage", 2),
        (
            ("split", "bundle", *ROOT, "--volume-size", "cd", "--out", "pw"),
            "conflict",
            3,
        ),
        (("split", "none", *ROOT, "--volume-size", "cd", "--out", "v"), "missing", 3),
        (("split", "pw", *ROOT, "--volume-size", "cd", "--out", "v"), "malformed", 3),
        (("split", "bundle", "--volume-size", "cd", "--out", "v"), "usage", 2),
        (("join", "bundle", "--out", "v"), "usage", 2),
        (("join", "bundle", *ROOT, "--out", "pw"), "conflict", 3),
        (("join", "none", *ROOT, "--out", "v"), "missing", 3),
        (("join", "bundle", "root", *ROOT, "--out", "v"), "missing", 3),
        (("verify", "pw", *ROOT), "malformed", 3),
        (("inspect", "bundle", "none", *ROOT), "missing", 3),
    ],
)
def test_a_command_that_cannot_work_leaves_nothing(
    many: Desk, arguments: tuple[str, ...], code: str, status: int
) -> None:
    many.refuses(*arguments, code=code, status=status)


@pytest.mark.parametrize("command", ["split", "join", "image"])
def test_another_publishers_root_is_refused(many: Desk, command: str) -> None:
    many.folder.joinpath("other").mkdir()
    if command == "image" and shutil.which("xorriso") is None:
        pytest.skip("xorriso is not installed")
    size = ("--volume-size", "cd") if command == "split" else ()
    many.refuses(
        *(command, "bundle", "--root", "bundle/metadata/timestamp.json"),
        *(*size, "--out", "v"),
        code="malformed",
    )


def test_a_volume_is_verified_alone_and_says_so(
    on_volumes: tuple[Desk, tuple[str, ...]],
) -> None:
    desk, folders = on_volumes
    of = len(folders)
    for number, folder in reversed(list(enumerate(folders, start=1))):
        for command in ("inspect", "verify"):
            value = desk.does(command, folder, *ROOT)
            assert (value["volume"], value["of"]) == (number, of)
            assert value["present"] == [number]
            assert value["missing"] == [k for k in range(1, of + 1) if k != number]
            assert (value["foreign"], value["doubled"]) == ([], [])
            assert value["chunks_missing"] > 0
        status, out, err = desk.run("verify", folder, *ROOT)
        assert (status, err) == (0, "")
        assert out.splitlines()[-1] == "verified: every byte that is here is as signed"


def test_all_volumes_are_the_bundle(on_volumes: tuple[Desk, tuple[str, ...]]) -> None:
    desk, folders = on_volumes
    value = desk.does("verify", *folders[::-1], *ROOT)
    assert (value["volume"], value["missing"], value["chunks_missing"]) == (None, [], 0)
    _, out, _ = desk.run("verify", *folders, *ROOT)
    assert out.splitlines()[-1] == "verified: every byte is as signed"


def test_a_doubled_volume_is_named(on_volumes: tuple[Desk, tuple[str, ...]]) -> None:
    desk, folders = on_volumes
    shutil.copytree(desk.folder / folders[0], desk.folder / "copy")
    assert desk.does("verify", *folders, "copy", *ROOT)["doubled"] == ["copy"]
    value = desk.does("join", *folders, "copy", *ROOT, "--out", "out")
    assert value["doubled"] == ["copy"]


def test_a_missing_volume_has_a_status_of_its_own(
    on_volumes: tuple[Desk, tuple[str, ...]],
) -> None:
    desk, folders = on_volumes
    desk.refuses(
        *("join", *folders[1:], *ROOT, "--out", "out"),
        code="volumes-missing",
        status=5,
    )


def test_a_changed_byte_on_a_volume_is_refused(
    on_volumes: tuple[Desk, tuple[str, ...]],
) -> None:
    desk, folders = on_volumes
    chunk = chunks_in(desk.folder / folders[1])[0]
    chunk.write_bytes(bytes(chunk.stat().st_size))
    for arguments in (
        ("verify", folders[1], *ROOT),
        ("verify", *folders, *ROOT),
        ("join", *folders, *ROOT, "--out", "out"),
        ("join", *folders, *ROOT, "--out", "out.mbundle"),
    ):
        error = desk.refuses(*arguments, code="digest-mismatch")
        assert error["where"] == str(chunk.relative_to(desk.folder / folders[1]))
    desk.does("verify", folders[0], *ROOT)


def test_split_and_join_give_the_bundle_back(
    on_volumes: tuple[Desk, tuple[str, ...]],
) -> None:
    desk, folders = on_volumes
    desk.does("join", *folders, *ROOT, "--out", "joined")
    desk.does("join", "bundle", *ROOT, "--out", "b.mbundle")
    desk.does("join", "b.mbundle", *ROOT, "--out", "again")
    built = files_of(desk.folder / "bundle")
    assert files_of(desk.folder / "joined") == files_of(desk.folder / "again") == built
    value = desk.does("verify", "b.mbundle", *ROOT)
    assert (value["volume"], value["of"], value["missing"]) == (1, 1, [])


@needs_xorriso
def test_images_are_verified_and_joined_like_folders(
    on_volumes: tuple[Desk, tuple[str, ...]],
) -> None:
    desk, folders = on_volumes
    value = desk.does("image", *folders, *ROOT, "--out", "images")
    paths = [f"images/{image['name']}" for image in value["images"]]
    assert [image["volume"] for image in value["images"]] == [
        *range(1, len(folders) + 1)
    ]
    alone = desk.does("verify", paths[1], *ROOT)
    assert (alone["volume"], alone["present"]) == (2, [2])
    desk.does("verify", paths[0], *folders[1:], *ROOT)
    desk.does("join", *paths[::-1], *ROOT, "--out", "joined")
    assert files_of(desk.folder / "joined") == files_of(desk.folder / "bundle")
    status, out, err = desk.run("image", "bundle", *ROOT, "--out", "one")
    assert (status, err) == (0, "")
    assert Path(out.split()[0]).is_file()


@needs_xorriso
def test_an_image_of_a_single_file_is_a_usage_error(many: Desk) -> None:
    many.does("join", "bundle", *ROOT, "--out", "b.mbundle")
    many.refuses("image", "b.mbundle", *ROOT, "--out", "v", code="usage", status=2)


def test_people_are_told_what_was_written(many: Desk) -> None:
    size = ("--volume-size", "1MiB")
    status, out, err = many.run("split", "bundle", *ROOT, *size, "--out", "v")
    assert (status, err) == (0, "")
    *paths, last = out.splitlines()
    assert last == f"volumes written: {len(paths)}"
    status, out, _ = many.run("join", "bundle", *ROOT, "--out", "b.mbundle")
    assert (status, out) == (0, "b.mbundle\n")
