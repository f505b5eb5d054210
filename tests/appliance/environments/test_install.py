"""Environments on the host: what is refused, what a crash leaves, what is installed."""

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.environments.install import EnvironmentInstaller
from appliance.environments.place import (
    MARK,
    environment_folder,
    is_installed,
    make_removable,
)
from bundleformat.artifact import Environment
from bundleformat.digest import Sha256, sha256_of
from bundleformat.errors import (
    LimitExceededError,
    MalformedError,
    MissingError,
    RefusalError,
    StorageFaultError,
)
from bundleformat.manifest import Manifest, encode_manifest
from tests.support.publish_wheels import (
    THIS_PYTHON,
    Delivery,
    environment_of,
    pip_wheel,
    publish_artifacts,
    quick_pip,
    tiny_wheel,
)
from tests.support.small_disk import filled, small_disk


class Host:
    """A folder of environments, and the files of one bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "environments"
        self.wheels = folder / "wheels"
        self.count = 0

    def deliver(self, *deliveries: Delivery) -> tuple[Manifest, dict[Sha256, Path]]:
        """Return a manifest of ``deliveries`` and where their bytes lie."""
        self.count += 1
        bundle = publish_artifacts(
            self.folder / f"bundle-{self.count}", deliveries, chunk_bytes=2**30
        )
        files = {
            each.sha256: self._store(each.sha256, bundle.folder)
            for each in bundle.manifest.artifacts
        }
        return bundle.manifest, files

    def install(
        self, manifest: Manifest, files: Mapping[Sha256, Path], **options: float
    ) -> Path:
        """Install and return the folder of the first environment."""
        installer = EnvironmentInstaller(self.root, **options)
        return installer.install(manifest, files)[0].folder

    def refuses(
        self, kind: type[RefusalError], *deliveries: Delivery, **options: float
    ) -> RefusalError:
        """Install, expect a refusal, and check that nothing is left."""
        manifest, files = self.deliver(*deliveries)
        with pytest.raises(kind) as caught:
            self.install(manifest, files, **options)
        assert type(caught.value) is kind
        assert caught.value.exit_status == 3
        assert not self.root.exists()
        return caught.value

    def _store(self, sha256: Sha256, medium: Path) -> Path:
        place = self.folder / "store" / sha256
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            place.write_bytes((medium / "c" / sha256[:2] / sha256).read_bytes())
            place.chmod(0o444)
        return place


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    make_removable(made.root)


@pytest.fixture
def tool(host: Host) -> Callable[..., tuple[Delivery, ...]]:
    """Return a maker of an environment ``tools`` with one more wheel in it."""

    def make(*wheels: Path, **target: str) -> tuple[Delivery, ...]:
        chosen = (quick_pip(host.wheels), *wheels)
        return environment_of("tools", chosen, **target)

    return make


Tool = Callable[..., tuple[Delivery, ...]]


def test_an_environment_for_another_python_is_refused(host: Host, tool: Tool) -> None:
    host.refuses(MissingError, *tool(python="3.99"))


def test_an_environment_without_pip_is_refused(host: Host) -> None:
    wheels = (tiny_wheel(host.wheels, "helper"),)
    error = host.refuses(MissingError, *environment_of("tools", wheels))
    assert error.where == "locks/pylock.tools.toml"


def test_an_environment_whose_wheel_is_not_there_is_refused(
    host: Host, tool: Tool
) -> None:
    deliveries = tool(tiny_wheel(host.wheels, "helper"))
    kept = [each for each in deliveries if not each.name.startswith("helper")]
    host.refuses(MissingError, *kept)


def test_a_wheel_with_another_digest_than_signed_is_refused(
    host: Host, tool: Tool
) -> None:
    manifest, files = host.deliver(*tool(tiny_wheel(host.wheels, "helper")))
    (sha256,) = (a.sha256 for a in manifest.artifacts if a.name.startswith("helper"))
    other = tiny_wheel(host.folder / "other", "helper", contents={"x.py": b"evil\n"})
    with pytest.raises(MalformedError):
        host.install(manifest, {**files, sha256: other})
    assert not host.root.exists()


def test_a_missing_requirement_is_refused(host: Host, tool: Tool) -> None:
    needy = tiny_wheel(host.wheels, "needy", requires=["absent>=2"])
    host.refuses(MalformedError, *tool(needy))


@pytest.mark.parametrize("tag", ["cp39-cp39-win_amd64", "py2-none-any"])
def test_a_wheel_for_another_machine_is_refused(
    host: Host, tool: Tool, tag: str
) -> None:
    host.refuses(MalformedError, *tool(tiny_wheel(host.wheels, "other", tag=tag)))


def test_nothing_is_ever_built(host: Host, tool: Tool) -> None:
    proof = host.folder / "built"
    setup = f"open({str(proof)!r}, 'w')\n".encode()
    source = tiny_wheel(host.wheels, "other", tag="src", contents={"setup.py": setup})
    host.refuses(MalformedError, *tool(source))
    assert not proof.exists()


@pytest.mark.parametrize(
    "member",
    [
        "evil.pth",
        "bad-1.0.data/purelib/EVIL.PTH",
        "bad-1.0.data/data/x.pth",
        "sitecustomize.py",
        "usercustomize/__init__.py",
    ],
)
def test_what_would_run_at_every_start_is_refused(
    host: Host, tool: Tool, member: str
) -> None:
    proof = host.folder / "ran"
    code = f"import os; open({str(proof)!r}, 'w')\n".encode()
    member = member.replace("data/x", f"data/lib/python{THIS_PYTHON}/site-packages/x")
    bad = tiny_wheel(host.wheels, "bad", contents={member: code})
    host.refuses(MalformedError, *tool(bad))
    assert not proof.exists()


@pytest.mark.parametrize("name", ["pyvenv.cfg", "bin/python", MARK])
def test_a_wheel_that_replaces_what_is_the_environments_is_refused(
    host: Host, tool: Tool, name: str
) -> None:
    bad = tiny_wheel(
        host.wheels, "bad", contents={f"bad-1.0.data/data/{name}": b"home = /evil\n"}
    )
    host.refuses(MalformedError, *tool(bad))


def test_a_file_that_no_record_lists_is_refused(host: Host, tool: Tool) -> None:
    bad = tiny_wheel(host.wheels, "bad", unrecorded={"hidden.py": b"evil = 1\n"})
    error = host.refuses(MalformedError, *tool(bad))
    assert error.where.endswith("site-packages/hidden.py")


def test_two_wheels_that_claim_one_file_are_refused(host: Host, tool: Tool) -> None:
    first = tiny_wheel(host.wheels, "first", contents={"same.py": b"one = 1\n"})
    second = tiny_wheel(host.wheels, "second", contents={"same.py": b"two = 2\n"})
    manifest, files = host.deliver(*tool(first, second))
    with pytest.raises(RefusalError):
        host.install(manifest, files)
    assert not host.root.exists()


def test_an_installation_that_takes_too_long_is_killed(host: Host, tool: Tool) -> None:
    host.refuses(LimitExceededError, *tool(), timeout_s=0.05)


def test_one_that_is_refused_takes_the_others_of_the_bundle_with_it(
    host: Host, tool: Tool
) -> None:
    needy = tiny_wheel(host.wheels, "needy", requires=["absent"])
    wheels = (quick_pip(host.wheels), needy)
    host.refuses(MalformedError, *tool(), *environment_of("worse", wheels))


def test_a_disk_that_refuses_is_a_fault(host: Host, tool: Tool) -> None:
    manifest, files = host.deliver(*tool())
    host.root.write_bytes(b"a file in the place of the folder")
    with pytest.raises(StorageFaultError):
        host.install(manifest, files)
    host.root.unlink()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, which is soon full."""
    with small_disk(tmp_path / "small", size="4m") as place:
        yield place


def fill_up(small: Path, host: Host, *, rooms: Iterable[int]) -> None:
    """Install where there is so much room and no more, then where there is enough."""
    big = tiny_wheel(host.wheels, "big", contents={"big.py": b"#" * 200_000})
    wheels = (quick_pip(host.wheels), big)
    manifest, files = host.deliver(*environment_of("tools", wheels))
    host.root = small / "environments"
    for room_bytes in rooms:
        with filled(small, room_bytes=room_bytes), pytest.raises(StorageFaultError):
            host.install(manifest, files)
        assert not host.root.exists() or list(host.root.iterdir()) == []
    assert is_installed(host.install(manifest, files))


def test_a_disk_that_is_full_for_pip_is_a_fault_and_not_the_bundles(
    small: Path, host: Host
) -> None:
    fill_up(small, host, rooms=[200_000])


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_a_disk_that_is_full_at_any_moment_of_an_installation_is_a_fault(
    small: Path, host: Host
) -> None:
    fill_up(small, host, rooms=range(0, 500_000, 20_480))


def test_the_pip_of_a_bundle_reaches_no_network_and_starts_nothing(host: Host) -> None:
    # What stands for pip here tries, and says how each attempt ended.
    program = (
        "import os, socket, sys\n"
        "said = []\n"
        "for family in (socket.AF_INET, socket.AF_UNIX):\n"
        "    try:\n"
        "        socket.socket(family)\n"
        "        said.append('a socket')\n"
        "    except PermissionError:\n"
        "        pass\n"
        "try:\n"
        "    os.fork()\n"
        "    said.append('a process')\n"
        "except PermissionError:\n"
        "    pass\n"
        "said += [name for name in os.environ if name.startswith('PIP_')\n"
        "         and name != 'PIP_CONFIG_FILE']\n"
        "print('said', said, os.environ.get('SECRET'))\n"
        "sys.exit(1)\n"
    )
    contents = {"pip/__init__.py": b"", "pip/__main__.py": program.encode()}
    wheel = tiny_wheel(host.wheels, "pip", version="99.0", contents=contents)
    os.environ["SECRET"], os.environ["PIP_INDEX_URL"] = "told", "http://example.org"
    try:
        error = host.refuses(MalformedError, *environment_of("tools", (wheel,)))
    finally:
        del os.environ["SECRET"], os.environ["PIP_INDEX_URL"]
    assert error.actual == "said [] None"
    assert socket.AF_INET


def test_the_pip_of_a_bundle_reaches_no_file_but_its_own(host: Host) -> None:
    # What the account that installs could do anywhere, tried everywhere it matters.
    secret = host.folder / "keys" / "ledger.key"
    secret.parent.mkdir()
    secret.write_bytes(b"secret")
    _, files = host.deliver(*environment_of("other", (quick_pip(host.wheels),)))
    stored = next(iter(files.values()))
    before = _tree(host.folder)
    program = f"""
import os, sys
from pathlib import Path
said = []
def tried(name, deed, *arguments):
    try:
        deed(*arguments)
        said.append(name)
    except OSError:
        pass
home, secret, stored = map(Path, {[str(host.folder), str(secret), str(stored)]!r})
tried('read a key', secret.read_bytes)
tried('listed the home', os.listdir, home)
tried('read an account', Path('/etc/passwd').read_bytes)
for place in (home, home / 'store', home / 'environments', Path('/tmp'), Path('/')):
    tried(f'made a file in {{place}}', (place / 'made-by-pip').write_bytes, b'x')
tried('wrote a stored file', stored.write_bytes, b'x')
tried('removed a stored file', stored.unlink)
tried('moved a stored file', stored.rename, 'mine')
tried('linked a stored file', os.link, stored, 'mine')
Path('temporary').write_bytes(b'x')
Path(sys.prefix, 'allowed').write_bytes(b'x')
print('said', said)
sys.exit(1)
"""
    contents = {"pip/__init__.py": b"", "pip/__main__.py": program.encode()}
    wheel = tiny_wheel(host.folder / "bad", "pip", version="99.0", contents=contents)
    manifest, files = host.deliver(*environment_of("tools", (wheel,)))
    with pytest.raises(MalformedError) as caught:
        host.install(manifest, files)
    assert caught.value.actual == "said []"
    assert not host.root.exists()
    after = _tree(host.folder)
    assert {path: after[path] for path in before} == before
    assert not Path("/made-by-pip").exists()
    assert not Path("/tmp/made-by-pip").exists()  # noqa: S108 - what was tried


def test_a_kernel_that_cannot_confine_an_installation_is_a_fault(
    host: Host, tool: Tool
) -> None:
    manifest, files = host.deliver(*tool())
    script = (
        "import errno, pickle, sys\n"
        "from appliance.containment.bpf import Refusal, install_filter\n"
        "from appliance.environments.install import EnvironmentInstaller\n"
        "from bundleformat.errors import InternalFaultError\n"
        "root, manifest, files = pickle.load(sys.stdin.buffer)\n"
        "absent = 'landlock_create_ruleset'\n"
        "install_filter([Refusal(call=absent, error=errno.ENOSYS)])\n"
        "try:\n"
        "    EnvironmentInstaller(root).install(manifest, files)\n"
        "except InternalFaultError as error:\n"
        "    print(error.where, error.hint[:21], list(root.glob('*')))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=pickle.dumps((host.root, manifest, files)),
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == "landlock This needs Linux 5.13 []\n"


def test_what_a_killed_installation_left_does_not_count(host: Host, tool: Tool) -> None:
    manifest, files = host.deliver(*tool(tiny_wheel(host.wheels, "helper")))
    folder = environment_folder(host.root, _sha256(manifest), "tools")
    script = (
        "import pickle, sys\n"
        "from appliance.environments.install import EnvironmentInstaller\n"
        "root, manifest, files = pickle.load(sys.stdin.buffer)\n"
        "EnvironmentInstaller(root).install(manifest, files)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, start_new_session=True
    ) as running:
        assert running.stdin is not None
        running.stdin.write(pickle.dumps((host.root, manifest, files)))
        running.stdin.close()
        deadline = time.monotonic() + 60
        while not (folder / "bin" / "python").exists():
            assert time.monotonic() < deadline
            assert running.poll() is None
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert folder.is_dir()
    assert not (folder / MARK).exists()

    installed = EnvironmentInstaller(host.root).install(manifest, files)
    assert [each.kept for each in installed] == [False]
    assert (folder / MARK).is_file()
    assert [each.name for each in host.root.iterdir()] == [_sha256(manifest)]


def test_a_team_runs_its_tool_in_the_environment(host: Host) -> None:
    helper = tiny_wheel(host.wheels, "helper", contents={"helper.py": b"ANSWER = 42\n"})
    tool = tiny_wheel(
        host.wheels,
        "tool",
        requires=["helper"],
        contents={
            "tool.py": b"import helper\ndef main():\n    print(helper.ANSWER)\n",
            "tool-1.0.data/scripts/old-way": b"#!python\nprint('by script')\n",
            "tool-1.0.data/data/share/tool/notes.txt": b"notes\n",
        },
        scripts={"tool": "tool:main"},
    )
    wheels = (pip_wheel(), helper, tool)
    manifest, files = host.deliver(*environment_of("tools", wheels))
    folder = host.install(manifest, files)
    assert folder == environment_folder(host.root, _sha256(manifest), "tools")
    for command, answer in (("tool", "42\n"), ("old-way", "by script\n")):
        assert _output(folder / "bin" / command) == answer
    assert _output(folder / "bin/python", "-c", "import tool; tool.main()") == "42\n"
    assert _output(folder / "bin/python", "-m", "pip", "--version").startswith("pip ")
    assert (folder / "share/tool/notes.txt").read_bytes() == b"notes\n"

    # Nobody may write to it, and nothing but it is there.
    writable = [
        path
        for path in (folder, *folder.rglob("*"))
        if not path.is_symlink() and path.stat().st_mode & 0o222
    ]
    assert writable == []
    assert [each.name for each in host.root.iterdir()] == [_sha256(manifest)]


def test_installing_again_keeps_what_is_whole(host: Host, tool: Tool) -> None:
    manifest, files = host.deliver(*tool(tiny_wheel(host.wheels, "helper")))
    folder = host.install(manifest, files)
    before = (folder / MARK).stat().st_mtime_ns
    again = EnvironmentInstaller(host.root).install(manifest, files)
    assert [each.kept for each in again] == [True]
    assert (folder / MARK).stat().st_mtime_ns == before


def test_installing_again_replaces_what_was_changed(host: Host, tool: Tool) -> None:
    manifest, files = host.deliver(*tool(tiny_wheel(host.wheels, "helper")))
    folder = host.install(manifest, files)
    module = folder / f"lib/python{THIS_PYTHON}/site-packages/helper.py"
    module.chmod(0o644)
    module.write_bytes(b"evil = 1\n")
    again = EnvironmentInstaller(host.root).install(manifest, files)
    assert [each.kept for each in again] == [False]
    assert module.read_bytes() == b"NAME = 'helper'\n"


def test_what_is_for_the_appliance_or_does_not_fit_is_left_out(
    host: Host, tool: Tool
) -> None:
    wheels = (quick_pip(host.wheels),)
    manifest, files = host.deliver(
        *tool(),
        *environment_of("self", wheels, role="appliance"),
        *environment_of("other", wheels, cpu="x86-64-v4"),
    )
    installer = EnvironmentInstaller(host.root)
    done = installer.install(manifest, files, unsuitable=frozenset({"other"}))
    assert [each.name for each in done] == ["tools"]
    (folder,) = host.root.iterdir()
    assert [each.name for each in folder.iterdir()] == ["tools"]

    installer.discard(manifest)
    assert list(host.root.iterdir()) == []


def test_a_bundle_without_wheels_touches_nothing(host: Host) -> None:
    policy = Delivery(
        kind="policy", name="site", path="policies/site.cedar", data=b"//\n"
    )
    manifest, files = host.deliver(policy)
    assert EnvironmentInstaller(host.root).install(manifest, files) == ()
    assert not host.root.exists()


def test_two_generations_have_environments_of_their_own(host: Host, tool: Tool) -> None:
    manifest, files = host.deliver(*tool())
    first = host.install(manifest, files)
    second = host.install(replace(manifest, version=2), files)
    assert first != second
    assert (first / MARK).is_file()
    assert (second / MARK).is_file()
    assert isinstance(manifest.artifacts[0].environment, Environment | None)


def _tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _sha256(manifest: Manifest) -> Sha256:
    return sha256_of(encode_manifest(manifest))


def _output(program: Path, *arguments: str) -> str:
    return subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=True
    ).stdout
