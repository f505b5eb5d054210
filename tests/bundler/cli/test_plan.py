"""plan and diff, and a build's options for older bundles, media and drafts."""

import hashlib
import json
import shutil
from collections.abc import Callable

import pytest

from tests.bundler.conftest import SPEC, Desk
from tests.support.gguf_writer import TinyModel, write_model, write_split_model
from tests.support.publish_wheels import quick_pip, tiny_wheel

Arguments = Callable[..., tuple[str, ...]]

NEXT_SPEC = """\
channel = "main"
version = 2

[[models]]
name = "tiny"
path = "tiny.gguf"
licence = "MIT"
origin = "written by a test"
allowed_regions = ["in-blr"]
review_by = "2027-06-30"

[[models]]
name = "more"
path = "more-00001-of-00004.gguf"
licence = "MIT"
origin = "written by a test"
allowed_regions = ["in-blr"]

[[policies]]
name = "site"
path = "site.cedar"
"""


@pytest.fixture
def two(ready: Desk, build_arguments: Arguments) -> Desk:
    """A desk with version 1, and everything that version 2 needs."""
    ready.does(*build_arguments(out="one", chunk_size="64KiB"))
    write_split_model(ready.folder / "more.gguf", TinyModel(seed=9))
    (ready.folder / "site.cedar").write_text(
        "permit (principal, action, resource);\n// reviewed\n"
    )
    (ready.folder / "next.toml").write_text(NEXT_SPEC)
    return ready


@pytest.mark.parametrize(
    ("changed", "code", "status"),
    [
        ({"since": "none"}, "missing", 3),
        ({"since": "root"}, "missing", 3),
        ({"since_manifest": "none"}, "missing", 3),
        ({"since_manifest": "spec.toml"}, "malformed", 3),
        (
            {"since": "one", "since_manifest": "one/targets/manifest.json"},
            "usage",
            2,
        ),
        ({"since": "one", "spec": "spec.toml"}, "conflict", 3),
        ({"volume_size": "1"}, "usage", 2),
        ({"volume_size": "dvd", "out": "b.mbundle"}, "usage", 2),
        ({"volume_size": "dvd", "release_key": ""}, "usage", 2),
        ({"out": "b.mbundle", "bundler_key": ""}, "usage", 2),
    ],
)
def test_build_refuses_options_that_do_not_go_together(
    two: Desk,
    build_arguments: Arguments,
    changed: dict[str, str],
    code: str,
    status: int,
) -> None:
    two.refuses(
        *build_arguments(**{"spec": "next.toml", **changed}), code=code, status=status
    )


@pytest.mark.parametrize(
    "since", [{"since": "one"}, {"since_manifest": "one/targets/manifest.json"}]
)
def test_a_differential_build_verifies_and_says_since_when(
    two: Desk, build_arguments: Arguments, since: dict[str, str]
) -> None:
    value = two.does(
        *build_arguments(spec="next.toml", out="two", chunk_size="64KiB", **since)
    )
    assert value["version"] == 2
    found = two.does("verify", "two", "--root", "root")
    assert found["since"] == 1
    assert found["chunks_missing"] > 0
    assert "version 1" in (two.folder / "two" / "BUNDLE.txt").read_text()


def test_a_build_onto_volumes_chooses_chunks_that_fit(
    two: Desk, build_arguments: Arguments
) -> None:
    two.does(*build_arguments(spec="next.toml", out="set", volume_size="1MiB"))
    volumes = sorted(str(path) for path in (two.folder / "set").iterdir())
    assert len(volumes) > 1
    found = two.does("verify", *volumes, "--root", "root")
    assert found["chunks_missing"] == 0
    alone = two.does("verify", volumes[-1], "--root", "root")
    assert alone["chunks_missing"] > 0


def test_a_build_into_one_file_verifies(
    ready: Desk, build_arguments: Arguments
) -> None:
    ready.does(*build_arguments(out="b.mbundle"))
    found = ready.does("verify", "b.mbundle", "--root", "root")
    assert found["chunks_missing"] == 0


def test_without_a_key_a_draft_is_made_and_said_to_be_one(
    ready: Desk, build_arguments: Arguments
) -> None:
    value = ready.does(*build_arguments(release_key="", bundler_key=""))
    assert value["draft"] == "bundle"
    assert not (ready.folder / "bundle" / "metadata" / "timestamp.json").exists()
    ready.refuses("verify", "bundle", "--root", "root", code="missing")


def test_plan_says_what_a_build_would_take_and_writes_nothing(two: Desk) -> None:
    before = two.files()
    value = two.does("plan", "next.toml", "--volume-size", "1MiB")
    assert two.files() == before
    assert [item["name"] for item in value["items"]] == ["tiny", "more", "site"]
    assert [len(item["files"]) for item in value["items"]] == [1, 4, 1]
    model = two.folder / "tiny.gguf"
    assert value["items"][0]["size_bytes"] == model.stat().st_size
    assert value["download_bytes"] == 0
    assert value["volumes"] > 1
    assert value["chunks"] > 5


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (SPEC.replace("tiny.gguf", "none.gguf"), "missing"),
        (SPEC.replace("tiny.gguf", "site.cedar"), "malformed"),
        (SPEC.replace("site.cedar", "none.cedar"), "missing"),
        (SPEC.replace('"main"', "7"), "spec-invalid"),
    ],
)
def test_plan_refuses_what_a_build_would(ready: Desk, text: str, code: str) -> None:
    (ready.folder / "spec.toml").write_text(text)
    ready.refuses("plan", "spec.toml", code=code)


@pytest.mark.parametrize(
    ("before", "after", "code"),
    [
        ("none", "one", "missing"),
        ("one", "root", "missing"),
        ("one", "spec.toml", "malformed"),
    ],
)
def test_diff_refuses_what_is_no_bundle(
    two: Desk, before: str, after: str, code: str
) -> None:
    two.refuses("diff", before, after, code=code)


def test_diff_refuses_an_altered_bundle_if_it_knows_the_root(
    two: Desk, build_arguments: Arguments
) -> None:
    two.does(*build_arguments(spec="next.toml", out="two"))
    manifest = two.folder / "two" / "targets" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"MIT"', b'"BSD"'))
    two.does("diff", "one", "two")
    two.refuses("diff", "one", "two", "--root", "root", code="digest-mismatch")


def test_diff_says_everything_that_would_change(
    two: Desk, build_arguments: Arguments
) -> None:
    two.does(*build_arguments(spec="next.toml", out="two", chunk_size="64KiB"))
    value = two.does("diff", "one", "two", "--root", "root")
    found = {(item["kind"], item["name"]): item for item in value["changes"]}
    assert {key: item["status"] for key, item in found.items()} == {
        ("model", "tiny"): "replaced",
        ("model", "more"): "added",
        ("part", "more-00002-of-00004"): "added",
        ("part", "more-00003-of-00004"): "added",
        ("part", "more-00004-of-00004"): "added",
        ("policy", "site"): "replaced",
        ("sbom", "bundle"): "replaced",
    }
    assert found["model", "tiny"]["carry_bytes"] == 0
    assert found["model", "tiny"]["terms"] == {
        "licence": {"before": "Apache-2.0", "after": "MIT"},
        "allowed_regions": {"before": "in-blr, in-bom", "after": "in-blr"},
        "review_by": {"before": "none", "after": "2027-06-30"},
    }
    assert "+// reviewed" in found["policy", "site"]["text"]
    assert value["carry_bytes"] == sum(i["carry_bytes"] for i in value["changes"])
    assert value["verified"] is True
    back = two.does("diff", "two", "one")
    removed = {i["name"] for i in back["changes"] if i["status"] == "removed"}
    assert "more" in removed
    assert back["verified"] is False


def test_diff_of_a_differential_bundle_needs_no_payload(
    two: Desk, build_arguments: Arguments
) -> None:
    two.does(*build_arguments(spec="next.toml", out="two", since="one"))
    whole = two.does("diff", "one", "two")
    shutil.rmtree(two.folder / "two" / "c")
    bare = two.does("diff", "one", "two")
    assert bare["carry_bytes"] == whole["carry_bytes"]
    assert all(item["text"] == [] for item in bare["changes"])


def test_diff_reads_well_at_a_terminal(two: Desk, build_arguments: Arguments) -> None:
    two.does(*build_arguments(spec="next.toml", out="two", chunk_size="64KiB"))
    status, out, err = two.run("diff", "one", "two")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "channel main: version 1 -> 2"
    assert any(line.startswith("~ model tiny  ") for line in lines)
    assert "    licence: Apache-2.0 -> MIT" in lines
    assert lines[-2].startswith("to carry: ")
    assert lines[-1].startswith("not verified")


def test_notes_of_a_source_are_told_on_stderr(
    ready: Desk, build_arguments: Arguments
) -> None:
    blobs = ready.folder / "store" / "blobs"
    manifest = ready.folder / "store/manifests/registry.ollama.ai/library/x/latest"
    blobs.mkdir(parents=True)
    manifest.parent.mkdir(parents=True)
    model = write_model(ready.folder / "x.gguf")
    value = ready.does("plan", "spec.toml")
    assert value["items"][0]["notes"] == []
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    shutil.copy(model, blobs / f"sha256-{digest}")
    (blobs / f"sha256-{'0' * 64}").write_bytes(b"x")
    prefix = "application/vnd.ollama.image."
    layers = [
        {
            "mediaType": f"{prefix}model",
            "digest": f"sha256:{digest}",
            "size": model.stat().st_size,
        },
        {"mediaType": f"{prefix}system", "digest": f"sha256:{'0' * 64}", "size": 1},
    ]
    manifest.write_text(json.dumps({"layers": layers}))
    spec = SPEC.replace(
        'path = "tiny.gguf"', 'ollama = { model = "x", store = "store" }'
    )
    (ready.folder / "spec.toml").write_text(spec)
    status, _, err = ready.run(*build_arguments())
    assert status == 0
    assert "its system prompt" in err
    told = ready.does("plan", "spec.toml")["items"][0]["notes"]
    assert len(told) == 1


def test_an_environment_is_built_from_wheels_at_hand(
    ready: Desk, build_arguments: Arguments
) -> None:
    tiny_wheel(ready.folder / "dist", "x")
    quick_pip(ready.folder / "dist")
    (ready.folder / "spec.toml").write_text(
        f"""{SPEC}
[[wheels]]
name = "tools"
role = "appliance"
requirements = ["x"]
find = ["dist"]
index = "{(ready.folder / "none").as_uri()}"
python = "3.11"
platform = "linux_x86_64"
glibc = "2.36"
cpu = "x86-64"
"""
    )
    assert ready.does("plan", "spec.toml")["environments"] == ["tools"]
    value = ready.does(*build_arguments(cache="cache"))
    paths = [item["path"] for item in value["artifacts"]]
    assert "locks/pylock.tools.toml" in paths
    assert "wheels/x-1.0-py3-none-any.whl" in paths
    assert "installer/install.py" in paths
    assert (ready.folder / "bundle" / "install.py").is_file()
