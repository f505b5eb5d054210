"""The whole way of a bundle, by the two command lines alone, every one a process.

Two rooms, three volumes brought in the wrong order, a new host, a team's tool, a
smaller second bundle and the way back from it.
"""

import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openai import OpenAI, PermissionDeniedError

from bundleformat.trust import grouped
from bundler.demo.story import ANSWER, QUESTION
from tests.support.gguf_writer import TinyModel, write_split_model
from tests.support.publish_wheels import quick_pip, tiny_wheel
from tests.support.real_host import HostFolder, serving
from tests.support.vendor import Vendor

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

UNLOCK = ("--passphrase-file", "passphrase")

SPEC = """\
channel = "main"
version = {version}

[[models]]
name = "demo"
path = "demo.gguf"
licence = "Apache-2.0"
origin = "trained for a test"
allowed_regions = ["in-blr", "in-bom"]
intended_use = "answers about bundles"
review_by = "2099-06-30"
provenance = {{ signature = "demo.sig", key = "vendor.pem" }}

[[models]]
name = "parts"
path = "{parts}"
licence = "MIT"
origin = "written by a test"
allowed_regions = ["in-blr"]

[[policies]]
name = "site"
path = "site-{version}.cedar"

[[wheels]]
name = "tools"
role = "team"
requirements = ["claims-tool"]
find = ["wheels"]
index = "{index}"
python = "{python}"
platform = "linux_x86_64"
glibc = "2.17"
cpu = "x86-64"
"""

POLICY = """\
@id("site-no-{label}")
@reason("not on this host")
forbid (principal, action, resource)
when {{ context.data_classes.contains("{label}") }};
"""

SETTINGS = """\
[engine]
threads = 1
context_tokens = 512
cells = 1024
sequences = 2
"""


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """The connected machine: a folder, and the command in it."""

    folder: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bundler", *arguments],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def does(self, *arguments: str) -> dict[str, Any]:
        """Run a command that works, with ``--json``; return its value."""
        value: dict[str, Any] = value_of(self.run(*arguments, "--json"))
        return value

    def make_keys(self, *names: str) -> None:
        for name in names:
            self.does("keygen", name, *UNLOCK)


def value_of(done: subprocess.CompletedProcess[str], status: int = 0) -> Any:
    """Return the JSON that a command printed."""
    assert done.returncode == status, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def publisher(tmp_path_factory: pytest.TempPathFactory, demo_model: Path) -> Publisher:
    """A publisher with keys, a root of two release holders, and all sources."""
    folder = tmp_path_factory.mktemp("publisher")
    (folder / "passphrase").touch(mode=0o600)
    (folder / "passphrase").write_text(secrets.token_urlsafe(24))
    write_sources(folder, demo_model)
    publisher = Publisher(folder=folder)
    publisher.make_keys("root", "compliance", "room-1", "room-2", "bundler")
    publisher.does(
        *("root", "init", "--channel", "main", "--out", "root"),
        *("--root-key", "root.key", "--compliance-key", "compliance.pub"),
        *("--release-key", "room-1.pub", "--release-key", "room-2.pub"),
        *("--release-threshold", "2", "--bundler-key", "bundler.pub", *UNLOCK),
    )
    publisher.does(
        *("site", "issue", "--key", "compliance.key", "--site", "blr-07"),
        *("--region", "in-blr", "--jurisdiction", "IN", "--out", "site.json", *UNLOCK),
    )
    return publisher


def write_sources(folder: Path, demo_model: Path) -> None:
    """Write models, policies, wheels and the vendor's signature."""
    data = demo_model.read_bytes()
    (folder / "demo.gguf").write_bytes(data)
    model = TinyModel(architecture="qwen2", layers=8, embedding=128, feed_forward=384)
    parts = write_split_model(folder / "parts.gguf", model, tensors=40)
    vendor = Vendor()
    digest = hashlib.sha256(data).hexdigest()
    (folder / "demo.sig").write_bytes(vendor.sign({"model.gguf": digest}))
    pem = vendor.key.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    (folder / "vendor.pem").write_bytes(pem)
    wheels, index = folder / "wheels", folder / "index"
    index.mkdir()
    quick_pip(wheels)
    tiny_wheel(wheels, "helper", contents={"helper.py": b"ANSWER = 42\n"})
    tiny_wheel(
        wheels,
        "claims_tool",
        requires=["helper"],
        contents={
            "claims_tool.py": b"import helper\ndef main():\n    print(helper.ANSWER)\n"
        },
        scripts={"claims": "claims_tool:main"},
    )
    for version, label in ((1, "phi"), (2, "pci")):
        (folder / f"site-{version}.cedar").write_text(POLICY.format(label=label))
        spec = SPEC.format(
            version=version,
            parts=parts[0].name,
            index=index.as_uri(),
            python=f"{sys.version_info.major}.{sys.version_info.minor}",
        )
        (folder / f"spec-{version}.toml").write_text(spec)


@pytest.fixture(scope="module")
def whole(publisher: Publisher) -> Path:
    """Version 1, signed in two rooms."""
    build_in_rooms(publisher, version=1)
    return publisher.folder / "bundle-1"


def build_in_rooms(publisher: Publisher, *more: str, version: int) -> None:
    """Build a draft, have both rooms sign it, and complete it."""
    out = f"bundle-{version}"
    draft = publisher.does(
        *("build", f"spec-{version}.toml", "--root", "root", "--out", out),
        *("--chunk-size", "256KiB", "--cache", "cache", *more),
    )
    assert draft["complete"] is False
    publisher.does("sign", out, "--export", f"request-{version}.json")
    for room in ("room-1", "room-2"):
        # What the room has is its key, the request and its own record of the root.
        publisher.does(
            *("sign", f"request-{version}.json", "--root", "root", "--yes"),
            *("--key", f"{room}.key", "--out", f"{room}-{version}.json", *UNLOCK),
        )
    publisher.does("attach", out, f"room-1-{version}.json")
    refused = publisher.run(
        *("attach", out, "--bundler-key", "bundler.key", "--root", "root"),
        *(*UNLOCK, "--json"),
    )
    assert refused.returncode == 3
    assert json.loads(refused.stderr)["error"]["code"] == "signature-invalid"
    value = publisher.does(
        *("attach", out, f"room-2-{version}.json", "--bundler-key", "bundler.key"),
        *("--root", "root", *UNLOCK),
    )
    assert value["version"] == version
    assert len(value["signed_by"]) == 3


@pytest.fixture(scope="module")
def volumes(publisher: Publisher, whole: Path) -> tuple[Path, ...]:
    """The three volumes of version 1, each of which can be verified alone."""
    value = publisher.does(
        *("split", whole.name, "--volume-size", "4MiB", "--root", "root"),
        *("--out", "volumes"),
    )
    assert value["of"] == 3
    folders = tuple(publisher.folder / "volumes" / name for name in value["volumes"])
    for number, folder in enumerate(folders, start=1):
        found = publisher.does("verify", str(folder), "--root", "root")
        assert (found["present"], found["of"]) == ([number], 3)
    return folders


@pytest.fixture(scope="module")
def sheet(publisher: Publisher, volumes: tuple[Path, ...]) -> str:
    """What a person carries on paper."""
    names = [str(folder) for folder in volumes]
    publisher.does("sheet", *names, "--root", "root")
    return (publisher.folder / "transfer-sheet-main-1.txt").read_text()


@pytest.fixture(scope="module")
def host(
    tmp_path_factory: pytest.TempPathFactory, publisher: Publisher, sheet: str
) -> HostFolder:
    """A new host that trusts the fingerprint on the sheet, and has nothing yet."""
    host = HostFolder(home=tmp_path_factory.mktemp("host") / "home")
    root = publisher.folder / "root" / "1.root.json"
    fingerprint = hashlib.sha256(root.read_bytes()).hexdigest()
    assert grouped(fingerprint) in " ".join(sheet.split())
    init = ("trust", "init", "--root", str(root), "--fingerprint", fingerprint)
    assert host.run(*init).returncode == 0
    (host.home / "sallyport.toml").write_text(SETTINGS)
    site = str(publisher.folder / "site.json")
    assert host.run("site", "install", site).returncode == 0
    return host


def wanted_after(host: HostFolder, volume: Path) -> str:
    """Import one volume of several; return what is asked for next."""
    done = host.run("bundle", "import", str(volume), "--json")
    assert done.returncode == 5, done.stderr
    assert done.stdout == ""
    error = json.loads(done.stderr.splitlines()[-1])["error"]
    assert error["code"] == "volumes-missing"
    assert host.records("bundle.refused") == []
    return str(error["expected"])


@pytest.fixture(scope="module")
def imported(host: HostFolder, volumes: tuple[Path, ...]) -> dict[str, Any]:
    """The host after the third, the first and the second volume."""
    assert wanted_after(host, volumes[2]) == "volume 1 or 2 of 3"
    assert wanted_after(host, volumes[0]) == "volume 2 of 3"
    # Asked again with one that it had, it asks for the same.
    assert wanted_after(host, volumes[2]) == "volume 2 of 3"
    done = host.run("bundle", "import", str(volumes[1]), "--json")
    value: dict[str, Any] = value_of(done)
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert [each["step"] for each in events if each["event"] == "step"] == [
        *("lock", "verify", "preflight", "copy", "examine", "check-policies"),
        *("install-environments", "trial-load", "admit", "activate", "done"),
    ]
    return value


@pytest.fixture(scope="module")
def served(host: HostFolder, imported: dict[str, Any]) -> HostFolder:
    assert imported["generation"] == 1
    key = value_of(host.run("key", "create", "--team", "claims", "--json"))
    host.key = key["key"]
    return host


def ask(client: OpenAI, model: str, **headers: str) -> str:
    answer = client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": QUESTION}],
        temperature=0,
        max_tokens=48,
        extra_headers=headers,
    )
    return answer.choices[0].message.content or ""


def denied_by(call: Callable[[], object]) -> list[str]:
    with pytest.raises(PermissionDeniedError) as caught:
        call()
    policies: list[str] = caught.value.response.json()["error"]["policy_ids"]
    return policies


def test_a_bundle_goes_the_whole_way(
    publisher: Publisher,
    served: HostFolder,
    imported: dict[str, Any],
    tmp_path: Path,
) -> None:
    host = served
    assert imported["environments"] == ["tools"]
    (trial,) = host.records("bundle.loaded")
    # They are loaded in the order of their digests.
    assert sorted(trial["loaded"]) == ["demo", "parts"]

    # It is served, by what was imported and under its policy.
    with serving(host):
        client = host.client()
        assert {model.id for model in client.models.list()} == {"demo", "parts"}
        assert ask(client, "demo") == ANSWER
        assert ask(client, "parts")
        labelled = {"X-Data-Class": "phi"}
        assert "site-no-phi" in denied_by(lambda: ask(client, "demo", **labelled))

    # What is stored is whole, the team's tool runs, and an officer gets receipts.
    verified = value_of(host.run("model", "verify", "--json"))
    assert {each["name"]: each["intact"] for each in verified["models"]} == {
        "demo": True,
        "parts": True,
    }
    tools = host.run("environment", "path", "tools").stdout.strip()
    tool = subprocess.run([f"{tools}/bin/claims"], capture_output=True, check=True)
    assert tool.stdout == b"42\n"
    check_receipts(host, tmp_path / "receipts")

    second_version_and_back(publisher, host)


def check_receipts(host: HostFolder, out: Path) -> None:
    """Export the receipts, and check them as an officer does, by themselves."""
    key = host.run("audit", "key").stdout.strip()
    assert host.run("receipts", "export", "--out", str(out)).returncode == 0
    command = [sys.executable, "-I", str(out / "verify_receipt.py"), str(out)]
    done = subprocess.run(
        [*command, "--key", key], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    (receipt,) = host.records("bundle.imported")
    page = (out / "receipts.txt").read_text()
    assert receipt["manifest_sha256"] in page
    assert "  environments         tools\n" in page


def second_version_and_back(publisher: Publisher, host: HostFolder) -> None:
    """Bring another policy in a bundle that holds little else, and take it back."""
    build_in_rooms(publisher, "--since", "bundle-1", version=2)
    small = publisher.folder / "bundle-2"
    sizes = {
        folder: sum(
            path.stat().st_size for path in (folder / "c").rglob("*") if path.is_file()
        )
        for folder in (small, publisher.folder / "bundle-1")
    }
    assert sizes[small] * 20 < sizes[publisher.folder / "bundle-1"]
    value = value_of(host.run("bundle", "import", str(small), "--json"))
    assert value["generation"] == 2
    (receipt,) = host.records("bundle.imported")[1:]
    assert receipt["copied_bytes"] == sizes[small]

    with serving(host):
        client = host.client()
        assert ask(client, "demo") == ANSWER
        labelled = {"X-Data-Class": "pci"}
        assert "site-no-pci" in denied_by(lambda: ask(client, "demo", **labelled))
        trusted = value_of(host.run("trust", "show", "--json"))
        back = value_of(host.run("generations", "rollback", "--yes", "--json"))
        assert back["generation"] == 1
        assert value_of(host.run("trust", "show", "--json")) == trusted
        # The running server follows.
        labelled = {"X-Data-Class": "phi"}
        assert "site-no-phi" in denied_by(lambda: ask(client, "demo", **labelled))
    assert value_of(host.run("store", "fsck", "--json"))["damaged"] is False
    assert list((host.home / "staging").iterdir()) == []
