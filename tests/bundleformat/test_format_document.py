"""FORMAT.md and the code say the same."""

import ast
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

import pytest

import bundleformat
from appliance.policy.source import MAX_FILE_BYTES
from bundleformat import (
    errors,
    iso9660,
    iso_records,
    iso_volume,
    layout,
    model_signing,
    paths,
    single_file,
    ustar,
    volume_hint,
    wheel,
    wheel_lint,
    zip_layout,
)
from bundleformat.artifact import (
    FOLDERS,
    Artifact,
    CpuLevel,
    Kind,
    Role,
    SigningMode,
    WheelSizes,
)
from bundleformat.artifact_json import artifact_value
from bundleformat.digest import sha256_of
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import FORMAT, MAX_VERSION, Chunk, Manifest, encode_manifest
from bundleformat.paths import ArchivePath, Name
from bundleformat.profile import PROFILE_FIELD, PROFILES, ROLES, public_key
from bundleformat.strictjson import decode
from bundleformat.trust import CHANNEL_FIELD, COMPLIANCE_FIELD
from bundler.rooms import files as signing_files
from tests.support.publisher import NOW, TERMS

PACKAGE = Path(bundleformat.__file__).parent
ROOT = PACKAGE.parent
DOCUMENT = (PACKAGE / "FORMAT.md").read_text(encoding="utf-8")
STEP = re.compile(r"^ *# Step (\d+): (.+)$", re.MULTILINE)
UNITS = {"": 1, "bytes": 1, "tokens": 1, "KiB": 2**10, "MiB": 2**20}
UNITS |= {"GiB": 2**30, "TiB": 2**40}

LIMITS = {
    "a root file": DEFAULT_LIMITS.root_bytes,
    "root files on a volume": DEFAULT_LIMITS.root_files,
    "`timestamp.json`": DEFAULT_LIMITS.timestamp_bytes,
    "a snapshot": DEFAULT_LIMITS.snapshot_bytes,
    "targets metadata": DEFAULT_LIMITS.targets_bytes,
    "the manifest": DEFAULT_LIMITS.manifest_bytes,
    "`volume.json`": DEFAULT_LIMITS.volume_hint_bytes,
    "levels of a JSON file": DEFAULT_LIMITS.json_depth,
    "a bundle's version": MAX_VERSION,
    "artifacts of a bundle": DEFAULT_LIMITS.artifacts,
    "chunks of all artifacts": DEFAULT_LIMITS.chunks,
    "a chunk": DEFAULT_LIMITS.chunk_bytes,
    "a model, or a part of one": DEFAULT_LIMITS.artifact_bytes,
    "parts of a split model": DEFAULT_LIMITS.model_parts,
    "a policy": DEFAULT_LIMITS.policy_bytes,
    "a wheel": DEFAULT_LIMITS.wheel_bytes,
    "a lock, requirements or a bill of materials": DEFAULT_LIMITS.text_bytes,
    "a vendor's signature": DEFAULT_LIMITS.provenance_bytes,
    "the installer": DEFAULT_LIMITS.installer_bytes,
    "regions of a model": DEFAULT_LIMITS.regions,
    "characters of a text": DEFAULT_LIMITS.text_characters,
    "characters of an anchor": DEFAULT_LIMITS.anchor_characters,
    "a context length": DEFAULT_LIMITS.context_tokens,
    "characters of a path": paths.MAX_PATH_CHARACTERS,
    "parts of a path": paths.MAX_PATH_PARTS,
    "volumes of a bundle": volume_hint.MAX_VOLUMES,
    "characters of a path in a `.mbundle`": ustar.MAX_NAME_BYTES,
    "files of a `.mbundle` that are no chunks": single_file.MAX_OTHER_FILES,
    "names in an ISO image's walked folders that are no chunks": (
        iso9660.MAX_OTHER_ENTRIES
    ),
    "a folder of an ISO image": iso9660.MAX_FOLDER_BYTES,
    "runs of a file of an ISO image": iso9660.MAX_RUNS,
    "descriptors of an ISO image": iso_volume.MAX_DESCRIPTORS,
    "continuation areas of a record": iso_records.MAX_CONTINUATIONS,
    "a Rock Ridge name": iso_records.MAX_NAME_BYTES,
    "files of a vendor's signature": model_signing.MAX_FILES,
    "certificates of a vendor's signature": model_signing.MAX_CERTIFICATES,
    "members of a wheel": zip_layout.MAX_MEMBERS,
    "a wheel, unpacked": wheel_lint.MAX_UNPACKED_BYTES,
    "a wheel, unpacked, for each of its bytes": wheel_lint.MAX_RATIO,
    "a wheel, unpacked, beyond that": wheel_lint.FREE_BYTES,
    "tags of a wheel's name": wheel.MAX_TAGS,
}
"""What the code has for each row of the table of limits."""


def section(title: str) -> str:
    """The text below a heading of any level, up to the next one of any."""
    found = re.search(
        rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL
    )
    assert found is not None, title
    return found[1]


def rows(title: str, *, table: int = 0) -> list[list[str]]:
    """The cells of one table of a section, without its heading."""
    tables = re.findall(r"(?:^\|.*\|\n)+", section(title), re.MULTILINE)
    lines = tables[table].splitlines()[2:]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def names(title: str, *, table: int = 0) -> set[str]:
    """The names in the first cell of every row."""
    found = [re.findall(r"`([^`]+)`", row[0]) for row in rows(title, table=table)]
    return {name for row in found for name in row}


def test_the_numbered_steps_are_those_of_the_code() -> None:
    written = re.findall(r"^(\d+)\. (.+)$", section("Verification"), re.MULTILINE)
    coded = STEP.findall((PACKAGE / "verify.py").read_text(encoding="utf-8"))
    assert [int(number) for number, _ in coded] == list(range(1, len(coded) + 1))
    assert written == coded


def test_the_document_is_of_the_version_the_code_reads() -> None:
    assert DOCUMENT.startswith(f"# The bundle format, version {FORMAT}\n")
    assert volume_hint.FORMAT == signing_files.FORMAT == FORMAT


def test_the_stated_limits_are_those_of_the_code() -> None:
    stated = {}
    for what, most in rows("Limits"):
        digits, unit = re.fullmatch(r"([\d ]*\d) ?([A-Za-z]*)", most).groups()  # type: ignore[union-attr]
        stated[what] = int(digits.replace(" ", "")) * UNITS[unit]
    assert stated == LIMITS
    assert DEFAULT_LIMITS.policy_bytes == MAX_FILE_BYTES


def test_every_file_of_a_volume_is_where_the_document_says() -> None:
    digest = sha256_of(b"")
    assert names("Files of a volume") == {
        layout.root_path(1).replace("1", "N"),
        layout.TIMESTAMP_PATH,
        layout.snapshot_path(1).replace("1", "V"),
        layout.targets_path(1).replace("1", "V"),
        layout.MANIFEST_PATH,
        layout.chunk_path(digest).replace(digest, "SHA256").replace(digest[:2], "XX"),
        layout.VOLUME_HINT_PATH,
        layout.NOTE_PATH,
        layout.INSTALLER_PATH,
    }


def test_the_stated_header_is_the_one_that_is_written() -> None:
    header = ustar.Header(
        path=ArchivePath("c/ab/name"), size_bytes=8**11 - 1, modified_s=0o1234567
    )
    computed = {
        "the path, padded with NUL": header.path.encode().ljust(100, b"\0"),
        "the size, eleven octal digits, NUL": b"77777777777\0",
        "the time in seconds since 1970, eleven octal digits, NUL": b"00001234567\0",
        "the checksum, six octal digits, NUL, a space": b" " * 8,
    }
    block = b""
    for offset, length, content in rows("The single file"):
        assert len(block) == int(offset)
        if content == "NUL":
            block += bytes(int(length))
        elif content in computed:
            block += computed[content]
        else:
            parts = re.findall(r"`([^`]+)`|(NUL)", content)
            block += b"".join(text.encode() or b"\0" for text, _ in parts)
        assert len(block) == int(offset) + int(length), content
    checksum = b"%06o\0 " % sum(block)
    assert block[:148] + checksum + block[156:] == ustar.encode_header(header)


def test_the_hint_has_the_stated_fields() -> None:
    hint = volume_hint.VolumeHint(
        channel=Name("main"), version=2, volume=1, of=1, since=1, chunks=()
    )
    assert names("Volumes") == set(_json(volume_hint.encode(hint)))


def test_the_profiles_and_the_roots_fields_are_those_of_the_code() -> None:
    assert names("The root") == set(PROFILES)
    fields = re.findall(r"^- `(x-[a-z-]+)`", section("The root"), re.MULTILINE)
    assert fields == [CHANNEL_FIELD, PROFILE_FIELD, COMPLIANCE_FIELD]
    assert set(ROLES) == {"root", "targets", "snapshot", "timestamp"}


def test_the_kinds_of_key_are_those_of_the_code() -> None:
    text = section("The root").split("as TUF key type and scheme: ")[1].split(". ")[0]
    stated = set(re.findall(r"`([\w-]+)`, `([\w/-]+)`", text))
    source = ast.parse((PACKAGE / "profile.py").read_text(encoding="utf-8"))
    function = next(
        node
        for node in ast.walk(source)
        if isinstance(node, ast.FunctionDef) and node.name == public_key.__name__
    )
    coded = {
        tuple(ast.literal_eval(pattern.value) for pattern in node.patterns[:2])  # type: ignore[attr-defined]
        for node in ast.walk(function)
        if isinstance(node, ast.MatchSequence)
    }
    assert stated == coded


def test_the_kinds_of_artifact_are_those_of_the_code() -> None:
    table = rows("The manifest", table=2)
    assert [row[0].strip("`") for row in table] == list(get_args(Kind))
    for kind, path, thing, _ in table:
        assert path.startswith(f"`{FOLDERS[kind.strip('`')]}/")  # type: ignore[index]
        said = thing.strip("`")
        assert said in {"—", "model", "environment", "provenance", "wheel"}


def test_the_manifest_has_the_stated_fields() -> None:
    manifest = Manifest(
        format=FORMAT,
        channel=Name("main"),
        version=1,
        created=NOW,
        artifacts=(),
        minimum_version="0.1.0",
    )
    assert names("The manifest") == set(_json(encode_manifest(manifest)))


def test_an_artifact_has_the_stated_fields() -> None:
    digest = sha256_of(b"")
    longer = "0" * 96
    terms = replace(
        TERMS, intended_use="a", review_by="2027-01-01", parts=(digest, digest)
    )
    artifact = Artifact(
        kind="model",
        name=Name("m"),
        path=ArchivePath("models/m.gguf"),
        size_bytes=1,
        sha256=digest,
        sha384=longer,
        chunks=(Chunk(sha256=digest, size_bytes=1, sha384=longer),),
        model=terms,
    )
    value = artifact_value(artifact)
    model = value.pop("model")
    assert names("The manifest", table=1) == set(value)
    said = section("Models")
    assert [key for key in model if f"`{key}`" not in said] == []


@pytest.mark.parametrize(
    ("title", "values"),
    [
        ("Environments", (*get_args(CpuLevel), *get_args(Role))),
        ("Environments", tuple(field.name for field in fields(WheelSizes))),
        ("Provenance", get_args(SigningMode)),
    ],
)
def test_every_word_of_an_artifacts_object_is_stated(
    title: str, values: tuple[str, ...]
) -> None:
    said = section(title)
    assert [value for value in values if f"`{value}`" not in said] == []


def test_every_refusal_of_a_bundle_is_in_the_document() -> None:
    codes = {
        leaf.code
        for leaf in errors.RefusalError.__subclasses__()
        if leaf.__module__ == errors.__name__
    }
    assert names("What a refusal is called") == codes
    status = errors.VolumesMissingError.exit_status
    assert f"(exit status {status})" in section("What a refusal is called")


def test_only_verification_makes_a_verified_bundle() -> None:
    makers = {
        path.relative_to(ROOT).as_posix()
        for package in ("bundleformat", "bundler", "appliance")
        for path in (ROOT / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", getattr(node.func, "attr", "")) == "VerifiedBundle"
    }
    assert makers == {"bundleformat/verify.py"}


def _json(data: bytes) -> dict[str, Any]:
    value = decode(data, max_bytes=2**20, max_depth=16, where="")
    assert isinstance(value, dict)
    return value
