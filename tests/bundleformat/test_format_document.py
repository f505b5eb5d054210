"""FORMAT.md and the code say the same."""

import ast
import re
from pathlib import Path

import bundleformat
from appliance.policy.source import MAX_FILE_BYTES
from bundleformat import errors
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.manifest import FORMAT

PACKAGE = Path(bundleformat.__file__).parent
ROOT = PACKAGE.parent
DOCUMENT = (PACKAGE / "FORMAT.md").read_text(encoding="utf-8")
STEP = re.compile(r"^ *# Step (\d+): (.+)$", re.MULTILINE)


def test_the_numbered_steps_are_those_of_the_code() -> None:
    section = DOCUMENT.split("\n## Verification\n")[1].split("\n## ")[0]
    written = re.findall(r"^(\d+)\. (.+)$", section, re.MULTILINE)
    coded = STEP.findall((PACKAGE / "verify.py").read_text(encoding="utf-8"))
    assert [int(number) for number, _ in coded] == list(range(1, len(coded) + 1))
    assert written == coded


def test_the_document_is_of_the_version_the_code_reads() -> None:
    assert DOCUMENT.startswith(f"# The bundle format, version {FORMAT}\n")


def test_the_stated_limits_are_those_of_the_code() -> None:
    limits = DEFAULT_LIMITS
    for value, text in (
        (limits.root_bytes, "512 000 bytes"),
        (limits.root_files, "; 256 |"),
        (limits.timestamp_bytes, "65 536 bytes"),
        (limits.artifacts, "| 4 096;"),
        (limits.chunks, "; 32 768 |"),
        (limits.regions, "| 64;"),
        (limits.text_characters, "; 512 |"),
    ):
        assert text in DOCUMENT
        assert str(value) in text.replace(" ", "")
    assert limits.snapshot_bytes == limits.timestamp_bytes
    assert limits.targets_bytes == limits.manifest_bytes == 8 * 2**20
    assert (limits.chunk_bytes, limits.artifact_bytes) == (2**30, 16 * 2**40)
    assert limits.policy_bytes == 2**18 == MAX_FILE_BYTES
    assert "16 TiB; 256 KiB |" in DOCUMENT
    assert limits.json_depth == 16


def test_every_refusal_of_a_bundle_is_in_the_document() -> None:
    codes = {
        leaf.code
        for leaf in errors.RefusalError.__subclasses__()
        if leaf.__module__ == errors.__name__
    }
    table = DOCUMENT.split("\n## What a refusal is called\n")[1]
    assert set(re.findall(r"^\| `([a-z-]+)`", table, re.MULTILINE)) == codes


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
