"""build, inspect and verify: refusals first."""

import datetime as dt
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from bundleformat.trust import fingerprint
from bundler.cli.runtime import Runtime
from tests.bundler.conftest import SPEC, Desk
from tests.support.publisher import NOW

Arguments = Callable[..., tuple[str, ...]]


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [
        ({"out": "root"}, "conflict", 3),
        ({"spec": "none.toml"}, "spec-invalid", 3),
        ({"root": "none"}, "missing", 3),
        ({"root": "pw"}, "missing", 3),
        ({"release_key": "release.pub"}, "key-unusable", 3),
        ({"release_key": "bundler.key"}, "key-unusable", 3),
        ({"bundler_key": "release.key"}, "key-unusable", 3),
        ({"passphrase_file": ""}, "usage", 2),
        ({"passphrase_file": "none"}, "key-unusable", 3),
        ({"chunk_size": "2GiB"}, "usage", 2),
        ({"chunk_size": "1"}, "usage", 2),
        ({"chunk_size": "1 GiB"}, "usage", 2),
        ({"expires": "1y"}, "usage", 2),
        ({"source_date": "yesterday"}, "usage", 2),
        ({"source_date": "2025-01-01T00:00:00Z", "expires": "30d"}, "expired", 3),
        ({"source_date": "2026-11-23T12:00:01Z"}, "usage", 2),
        ({"source_date": "2999-01-01T00:00:00Z"}, "usage", 2),
        ({"root": "root/2.root.json"}, "missing", 3),
    ],
)
def test_build_refuses_and_leaves_nothing(
    ready: Desk,
    build_arguments: Arguments,
    changed: dict[str, str],
    code: str,
    status: int,
) -> None:
    ready.refuses(*build_arguments(**changed), code=code, status=status)


@pytest.mark.parametrize(
    ("before", "after", "code", "where"),
    [
        ('"main"', '"other"', "conflict", "channel"),
        ("version = 1", "version = 0", "spec-invalid", "spec.toml: version"),
        ("version = 1", "versoin = 1", "spec-invalid", "spec.toml: version"),
        ("version = 1", "version = 1\nx = 2", "spec-invalid", "spec.toml: x"),
        ("version = 1", "version = ", "spec-invalid", "spec.toml"),
        ('"tiny"', '"Tiny"', "spec-invalid", "spec.toml: models[0].name"),
        ('"tiny"', '"con"', "spec-invalid", "spec.toml: models[0].name"),
        ('"tiny.gguf"', '"none.gguf"', "missing", "none.gguf"),
        ('"tiny.gguf"', '"site.cedar"', "malformed", None),
        ('"tiny.gguf"', '"root"', "spec-invalid", None),
        ('"tiny.gguf"', '"empty"', "spec-invalid", "empty"),
        ('"site.cedar"', '"latin.cedar"', "spec-invalid", "latin.cedar"),
        ('"site.cedar"', '"long.cedar"', "limit-exceeded", "long.cedar"),
        ('"site.cedar"', '"bell.cedar"', "spec-invalid", "bell.cedar"),
        (
            '"in-bom", "in-blr"',
            '"in-blr", "in-blr"',
            "spec-invalid",
            "models[0].allowed_regions",
        ),
        (
            '"in-bom", "in-blr"',
            '"IN"',
            "spec-invalid",
            "spec.toml: models[0].allowed_regions[0]",
        ),
    ],
)
def test_build_refuses_a_bad_spec_and_names_the_field(
    ready: Desk,
    build_arguments: Arguments,
    before: str,
    after: str,
    code: str,
    where: str | None,
) -> None:
    (ready.folder / "empty").touch()
    (ready.folder / "bell.cedar").write_text("permit \x07")
    (ready.folder / "latin.cedar").write_bytes(b"// \xe9")
    (ready.folder / "long.cedar").write_text("/" * (256 * 2**10 + 1))
    (ready.folder / "spec.toml").write_text(SPEC.replace(before, after, 1))
    error = ready.refuses(*build_arguments(), code=code)
    assert where is None or error["where"].endswith(where)


def test_build_refuses_two_models_of_one_name(
    ready: Desk, build_arguments: Arguments
) -> None:
    model = SPEC[SPEC.index("[[models]]") : SPEC.index("[[policies]]")]
    (ready.folder / "spec.toml").write_text(SPEC + model)
    ready.refuses(*build_arguments(), code="spec-invalid")


def test_build_refuses_to_deliver_nothing(
    ready: Desk, build_arguments: Arguments
) -> None:
    (ready.folder / "spec.toml").write_text('channel = "main"\nversion = 1\n')
    ready.refuses(*build_arguments(), code="spec-invalid")


def test_build_refuses_a_broken_model_before_it_copies(
    ready: Desk, build_arguments: Arguments
) -> None:
    os.truncate(ready.folder / "tiny.gguf", 1_000)
    error = ready.refuses(*build_arguments(), code="malformed")
    assert error["where"].startswith("model tiny: tiny.gguf: ")


def test_build_names_the_model_that_is_none(
    ready: Desk, build_arguments: Arguments
) -> None:
    (ready.folder / "tiny.gguf").write_bytes(b"this is no model, but it is long enough")
    error = ready.refuses(*build_arguments(), code="malformed")
    assert error["where"] == "model tiny: tiny.gguf: magic"


@pytest.mark.parametrize("date", ["2999-01-01T00:00:00Z", "2026-11-23T12:00:01Z"])
def test_build_refuses_a_time_that_would_lock_the_channel(
    ready: Desk, build_arguments: Arguments, date: str
) -> None:
    # Nobody is asked for a passphrase for nothing.
    arguments = build_arguments(source_date=date, passphrase_file="")
    error = ready.refuses(*arguments, code="usage", status=2)
    assert (error["where"], error["actual"]) == ("--source-date", date)
    assert error["expected"] == "at most 2026-11-23T12:00:00Z"


def test_build_takes_the_time_of_a_clock_that_is_a_little_ahead(
    ready: Desk, build_arguments: Arguments
) -> None:
    value = ready.does(*build_arguments(source_date="2026-11-23T12:00:00Z"))
    assert value["created"] == "2026-11-23T12:00:00Z"


def test_a_publisher_is_told_how_to_build_what_has_not_expired(
    ready: Desk, build_arguments: Arguments
) -> None:
    old = build_arguments(source_date="2025-01-01T00:00:00Z", expires="30d")
    error = ready.refuses(*old, code="expired")
    assert error["where"] == "--source-date"
    assert "--expires" in error["hint"]
    assert "ask the publisher" not in error["hint"]
    ready.runtime = replace(ready.runtime, now=NOW + dt.timedelta(days=2_000))
    error = ready.refuses(*build_arguments(), code="expired")
    assert error["where"] == "1.root.json"
    assert "ask the publisher" not in error["hint"]


def test_build_takes_a_root_file_for_the_folder_it_lies_in(
    ready: Desk, build_arguments: Arguments
) -> None:
    value = ready.does(*build_arguments(root="root/1.root.json"))
    assert value["root_version"] == 1


def test_build_refuses_an_altered_root(ready: Desk, build_arguments: Arguments) -> None:
    path = ready.folder / "root" / "1.root.json"
    path.write_bytes(path.read_bytes().replace(b'"2029', b'"2039'))
    ready.refuses(*build_arguments(), code="signature-invalid")


def test_build_refuses_a_root_folder_with_a_gap(
    ready: Desk, build_arguments: Arguments
) -> None:
    (ready.folder / "root" / "1.root.json").rename(
        ready.folder / "root" / "2.root.json"
    )
    ready.refuses(*build_arguments(), code="missing")


def test_build_makes_a_bundle_that_verifies(
    ready: Desk, build_arguments: Arguments
) -> None:
    value = ready.does(*build_arguments(chunk_size="64KiB"))
    assert value["bundle"] == "bundle"
    assert [item["path"] for item in value["artifacts"]] == [
        "models/tiny.gguf",
        "policies/site.cedar",
        "sbom/bundle.cdx.json",
    ]
    model = value["artifacts"][0]
    assert model["allowed_regions"] == ["in-blr", "in-bom"]
    assert (model["architecture"], model["context_length"]) == ("llama", 512)
    assert model["chunks"] > 1
    assert sorted(path.name for path in ready.folder.iterdir() if path.is_dir()) == [
        "bundle",
        "root",
    ]
    again = ready.does("verify", "bundle", "--root", "root/1.root.json")
    assert {key: again[key] for key in value} == value


def test_the_same_source_date_gives_the_same_bytes(
    ready: Desk, build_arguments: Arguments
) -> None:
    date = {"source_date": "2026-11-20T08:00:00Z", "chunk_size": "64KiB"}
    ready.does(*build_arguments(out="one", **date))
    ready.runtime = replace(ready.runtime, now=NOW + dt.timedelta(hours=5))
    ready.does(*build_arguments(out="two", **date))
    files = ready.files()
    one = {name[4:]: data for name, data in files.items() if name.startswith("one/")}
    two = {name[4:]: data for name, data in files.items() if name.startswith("two/")}
    assert one == two


def test_the_chunk_size_changes_chunks_and_not_artifacts(
    ready: Desk, build_arguments: Arguments
) -> None:
    small = ready.does(*build_arguments(out="small", chunk_size="4KiB"))
    large = ready.does(*build_arguments(out="large"))
    for one, two in zip(small["artifacts"], large["artifacts"], strict=True):
        assert (one["sha256"], one["size_bytes"]) == (two["sha256"], two["size_bytes"])
    assert large["artifacts"][0]["chunks"] == 1


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C interrupts, also where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_at_a_prompt_leaves_nothing(
    ready: Desk, build_arguments: Arguments
) -> None:
    def ask(_: str) -> str:
        threading.Timer(0, os.kill, (os.getpid(), signal.SIGINT)).start()
        threading.Event().wait(5)
        return ""

    ready.runtime = Runtime(now=NOW, ask=ask)
    before = ready.files()
    status, out, err = ready.run(*build_arguments(passphrase_file=""))
    assert (status, out) == (130, "")
    assert "interrupted" in err
    assert ready.files() == before


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_bundle_of_another_root_is_refused(built: Desk, command: str) -> None:
    built.does("keygen", "rogue", "--passphrase-file", "pw")
    built.does(
        *("root", "init", "--channel", "main", "--root-key", "rogue.key"),
        *("--release-key", "release.pub", "--bundler-key", "release.pub"),
        *("--compliance-key", "compliance.pub"),
        *("--out", "rogue", "--passphrase-file", "pw"),
    )
    built.refuses(command, "bundle", "--root", "rogue/1.root.json", code="equivocation")


@pytest.mark.parametrize("command", ["inspect", "verify"])
@pytest.mark.parametrize(
    ("bundle", "root", "code"),
    [
        ("none", "root/1.root.json", "missing"),
        ("root", "root/1.root.json", "missing"),
        ("bundle", "none.json", "missing"),
        ("bundle", "spec.toml", "malformed"),
    ],
)
def test_what_is_no_bundle_or_root_is_refused(
    built: Desk, command: str, bundle: str, root: str, code: str
) -> None:
    built.refuses(command, bundle, "--root", root, code=code)


def test_a_file_that_is_no_root_is_named(built: Desk) -> None:
    error = built.refuses("inspect", "bundle", "--root", "spec.toml", code="malformed")
    assert error["where"] == "spec.toml: root"


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_root_may_be_named_by_its_folder(built: Desk, command: str) -> None:
    by_file = built.does(command, "bundle", "--root", "root/1.root.json")
    assert built.does(command, "bundle", "--root", "root") == by_file


def test_a_root_of_another_channel_is_told_from_an_altered_bundle(built: Desk) -> None:
    built.does(
        *("root", "init", "--channel", "pilot", "--root-key", "root.key"),
        *("--release-key", "release.pub", "--bundler-key", "bundler.pub"),
        *("--compliance-key", "compliance.pub"),
        *("--out", "pilot", "--passphrase-file", "pw"),
    )
    built.refuses("verify", "bundle", "--root", "pilot", code="conflict")


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_an_expired_bundle_is_refused(built: Desk, command: str) -> None:
    built.runtime = replace(built.runtime, now=NOW + dt.timedelta(days=400))
    error = built.refuses(
        command, "bundle", "--root", "root/1.root.json", code="expired"
    )
    assert error["where"] == "metadata/timestamp.json"


def test_verify_refuses_one_changed_byte_which_inspect_does_not_read(
    built: Desk,
) -> None:
    chunk = max(
        (path for path in (built.folder / "bundle" / "c").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    data = bytearray(chunk.read_bytes())
    data[len(data) // 2] ^= 1
    chunk.write_bytes(data)
    error = built.refuses(
        "verify", "bundle", "--root", "root/1.root.json", code="digest-mismatch"
    )
    assert error["where"] == str(chunk.relative_to(built.folder / "bundle"))
    built.does("inspect", "bundle", "--root", "root/1.root.json")


def test_inspect_says_what_was_not_read(built: Desk) -> None:
    status, out, err = built.run("inspect", "bundle", "--root", "root/1.root.json")
    assert (status, err) == (0, "")
    assert out.splitlines()[-1] == "metadata verified; the payload was not read"


def test_verify_leaves_the_medium_as_it_was(built: Desk) -> None:
    before = built.files()
    root = before["root/1.root.json"]
    built.does("verify", "bundle", "--root", "root/1.root.json")
    assert built.files() == before
    assert before["bundle/metadata/1.root.json"] == root
    assert len(fingerprint(root)) == 64
