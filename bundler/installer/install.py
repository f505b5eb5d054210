"""Sets Sallyport up on a host that has only Python 3.11, from the medium this is on.

BEFORE you run it, `sha256sum install.py` must print the digest on the transfer
sheet. Then you type the manifest's digest from the same sheet, and from there on:

1. The manifest on the medium has the digest you typed.
2. It lists an environment for Sallyport that fits this machine.
3. The wheels are copied while they are hashed; every digest is the manifest's.
4. The pip among them installs the copies, by hash, without a network, and
   without building or running anything of theirs.
5. PREFIX/current changes to the new environment in one step.

Nothing counts before step 5; what a failure left is removed. Exit statuses: 0 done,
2 called wrongly, 3 refused, 4 the host failed, 5 another volume is wanted.
"""

import sys

# Python looks for modules beside the script first. Only this file's digest was
# compared, so nothing else on the medium may be imported: not even a `json.py`.
if __name__ == "__main__" and not sys.flags.safe_path:
    del sys.path[0]

import argparse
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import stat
import subprocess
import sysconfig
import tempfile
import venv
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TextIO

Json = dict[str, Any]
Facts = dict[str, str]

MAX_MANIFEST_BYTES = 8 * 2**20
BLOCK_BYTES = 2**20
PIP_TIMEOUT_S = 1_800
INSTALL = (
    "install --no-index --find-links . --require-hashes --only-binary :all: --no-deps "
    "--no-cache-dir --no-warn-script-location --quiet -r requirements.txt"
)
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, RecursionError)
QUESTION = "Digest of the manifest, from the transfer sheet: "
MARK = "sallyport-installed.json"
"""Written last into an environment; one without it does not count."""

CPU_FLAGS = {
    "x86-64": "",
    "x86-64-v2": "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3",
    "x86-64-v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe xsave",
    "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
}
"""What each level adds, as Linux names it. Source: x86-64 psABI, section 3.1.1."""


class InstallError(Exception):
    """Nothing was installed. ``status`` is the exit status."""

    def __init__(self, problem: str, hint: str = "", *, status: int = 3) -> None:
        super().__init__(problem)
        self.hint = hint
        self.status = status


def this_machine() -> Facts:
    """Return what the wheels of an environment must fit."""
    described = Path("/proc/cpuinfo").read_text("ascii", "replace")
    found = re.search(r"^flags\s*:(.*)$", described, re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    cpu = "none"
    for level, wanted in CPU_FLAGS.items():
        if platform.machine() != "x86_64" or not flags.issuperset(wanted.split()):
            break
        cpu = level
    library, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return {
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "platform": re.sub("[-.]", "_", sysconfig.get_platform()),
        "glibc": version if library == "glibc" else "none",
        "cpu": cpu,
    }


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


class Media:
    """The volumes at hand. Nothing is named by them, and no link is followed."""

    def __init__(self, folders: list[Path], ask: Callable[[str], str] | None) -> None:
        self.folders = folders
        self._ask = ask

    def open(self, path: str) -> BinaryIO:
        """Return the file ``path`` of whichever volume has it."""
        while True:
            for folder in self.folders:
                with contextlib.suppress(FileNotFoundError):
                    return _open_regular(folder, path)
            question = f"{path} is on another volume. Its folder (empty: give up): "
            said = self._ask(question).strip() if self._ask else ""
            if not said:
                hint = "Name the volume that has it with one more --medium."
                raise InstallError(f"{path}: on no volume given", hint, status=5)
            self.folders.append(Path(said))


def _open_regular(folder: Path, path: str) -> BinaryIO:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in path.split("/"):
        above = place
        try:
            place = os.open(part, flags, dir_fd=above)
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                raise
            raise InstallError(f"{path}: no regular file on {folder}") from error
        finally:
            os.close(above)
    if not stat.S_ISREG(os.fstat(place).st_mode):
        os.close(place)
        raise InstallError(f"{path}: no regular file on {folder}")
    return os.fdopen(place, "rb")


def read_manifest(media: Media, typed: str) -> Json:
    """Return the manifest, whose digest is the one that was typed."""
    digits = re.sub(r"[\s:-]", "", typed).lower()
    if not re.fullmatch("[0-9a-f]{64}|[0-9a-f]{96}", digits):
        hint = "Type all of it as the transfer sheet has it; spaces do not matter."
        raise InstallError("no digest of 64 or 96 digits was typed", hint, status=2)
    name = "sha256" if len(digits) == 64 else "sha384"
    with media.open("targets/manifest.json") as file:
        data = file.read(MAX_MANIFEST_BYTES + 1)
    if hashlib.new(name, data).hexdigest() != digits:
        # Its true digest is not shown: somebody would compare it with itself.
        raise InstallError(
            "targets/manifest.json: not the manifest of the transfer sheet",
            "Compare what you typed with the sheet, and the sheet with the publisher. "
            "If they agree, this medium is not what the publisher made.",
        )
    manifest = json.loads(data.decode(), object_pairs_hook=_unique)
    if (manifest["format"], manifest["digest"]) != (1, name):
        hint = "Use the install.py that lies on the same medium."
        raise InstallError("targets/manifest.json: of another format or digest", hint)
    return dict(manifest)


def _unique(pairs: list[tuple[str, Any]]) -> Json:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("the same key twice")
    return dict(pairs)


def choose_environment(manifest: Json, machine: Facts) -> Json:
    """Return the environment for Sallyport that fits with the highest CPU level."""
    offered = {
        str(artifact["name"]): dict(artifact["environment"])
        for artifact in manifest["artifacts"]
        if artifact["kind"] == "lock" and artifact["environment"]["role"] == "appliance"
    }
    if not offered:
        hint = "Ask the publisher for the bundle that does."
        raise InstallError("this bundle does not carry Sallyport itself", hint)
    wrong = {name: misfits(each, machine) for name, each in offered.items()}
    fitting = [each for name, each in offered.items() if not wrong[name]]
    if not fitting:
        reasons = "; ".join(f"{name} {', '.join(wrong[name])}" for name in wrong)
        hint = "Use the Python it wants, or ask the publisher for other wheels."
        raise InstallError(f"nothing here fits this machine: {reasons}", hint)
    levels = list(CPU_FLAGS)
    return max(fitting, key=lambda e: (levels.index(e["cpu"]), _numbers(e["glibc"])))


def misfits(environment: Json, machine: Facts) -> list[str]:
    """Return what of ``environment`` does not fit ``machine``, for people."""
    levels = ["none", *CPU_FLAGS]
    fits = {
        "python": environment["python"] == machine["python"],
        "platform": environment["platform"] == machine["platform"],
        "glibc": _numbers(environment["glibc"]) <= _numbers(machine["glibc"]),
        "cpu": levels.index(environment["cpu"]) <= levels.index(machine["cpu"]),
    }
    return [
        f"wants {name} {environment[name]}, this machine has {machine[name]}"
        for name, fit in fits.items()
        if not fit
    ]


def wheels_of(manifest: Json, environment: Json) -> dict[str, Json]:
    """Return the wheels of ``environment`` by file name, one pip among them."""
    listed = {a["name"]: a for a in manifest["artifacts"] if a["kind"] == "wheel"}
    wheels = {
        str(listed[name]["path"]).removeprefix("wheels/"): dict(listed[name])
        for name in environment["wheels"]
    }
    shape = re.compile(r"[A-Za-z0-9][\w.+-]{0,190}\.whl", re.ASCII)
    pips = [name for name in wheels if name.startswith("pip-")]
    if len(pips) != 1 or not all(map(shape.fullmatch, wheels)):
        raise ValueError("not wheels with one pip among them")
    return wheels


def copy_wheel(media: Media, artifact: Json, target: Path) -> None:
    """Copy ``artifact`` to ``target``; its bytes there are the ones signed."""
    wholes = {n: hashlib.new(n) for n in ("sha256", "sha384") if n in artifact}
    with target.open("xb") as copy:
        for chunk in artifact["chunks"]:
            for block in _chunk(media, str(chunk["sha256"]), int(chunk["size_bytes"])):
                copy.write(block)
                for whole in wholes.values():
                    whole.update(block)
    if any(whole.hexdigest() != artifact[name] for name, whole in wholes.items()):
        raise InstallError(f"{artifact['path']}: not the artifact that was signed")
    _check_wheel(target)


def _chunk(media: Media, sha256: str, size_bytes: int) -> Iterator[bytes]:
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise ValueError("a chunk without a digest")
    path, state, rest = f"c/{sha256[:2]}/{sha256}", hashlib.sha256(), size_bytes
    with media.open(path) as source:
        while rest >= 0 and (block := source.read(min(BLOCK_BYTES, rest + 1))):
            rest -= len(block)
            state.update(block)
            yield block
    if rest or state.hexdigest() != sha256:
        hint = "Clean the medium, or copy it again. If it is refused again, report it."
        raise InstallError(f"{path}: not the bytes that were signed", hint)


def _check_wheel(wheel: Path) -> None:
    """Refuse a wheel that holds more than files for one folder."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    # The last two run at every start of Python; the others would leave the folder.
    startup = r"(.*\.data/(pure|plat)lib/)?(site|user)customize[./].*|.*\.pth"
    bad = re.compile(rf"(?is)(.*/)?\.\.(/.*)?|/.*|.*\\.*|{startup}")
    for name in filter(bad.fullmatch, names):
        raise InstallError(f"{wheel.name}: a file that is never installed: {name!a}")


def build_environment(folder: Path, scratch: Path, wheels: Facts) -> None:
    """Make ``folder`` an environment of exactly ``wheels``: file name to digest."""
    pins = {"==".join(name.split("-")[:2]): wheels[name] for name in wheels}
    lines = [f"{pin} --hash=sha256:{sha256}\n" for pin, sha256 in pins.items()]
    (scratch / "requirements.txt").write_text("".join(lines))
    (pip,) = (name for name in wheels if name.startswith("pip-"))
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    python = [str(folder / "bin/python"), "-I", f"{scratch / pip}/pip"]
    python += ["--isolated", "--disable-pip-version-check"]
    clean = {"PATH": os.defpath, "PIP_CONFIG_FILE": os.devnull}
    clean |= dict.fromkeys(("HOME", "TMPDIR"), str(scratch))
    for step in (INSTALL, "check"):
        done = subprocess.run(
            [*python, *step.split()],
            env=clean,
            cwd=scratch,
            input=b"",
            capture_output=True,
            timeout=PIP_TIMEOUT_S,
            check=False,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).decode("utf-8", "replace")[-1_500:]
            raise InstallError(f"pip {step.split()[0]} refused: {said}")
    if not (folder / "bin" / "sallyport").is_file():
        raise InstallError("the environment has no command `sallyport`")


@contextlib.contextmanager
def locked(prefix: Path) -> Iterator[None]:
    """Wait for ``prefix`` and hold it, without what an earlier run left there."""
    prefix.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(prefix, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for left in (*prefix.glob(".installing-*"), *prefix.glob("versions/*")):
            if not (left / MARK).is_file():
                shutil.rmtree(left)
        yield
    finally:
        os.close(descriptor)


def install(media: Media, prefix: Path, *, typed: str, machine: Facts) -> Path:
    """Install Sallyport below ``prefix``, unless it is there; return its command."""
    manifest = read_manifest(media, typed)
    wheels = wheels_of(manifest, choose_environment(manifest, machine))
    digests = {name: str(artifact["sha256"]) for name, artifact in wheels.items()}
    identity = hashlib.sha256("\n".join(sorted(digests.values())).encode()).hexdigest()
    folder = prefix / "versions" / identity[:16]
    say(f"bundle {manifest['version']} of channel {manifest['channel']}")
    with (
        locked(prefix),
        tempfile.TemporaryDirectory(prefix=".installing-", dir=prefix) as scratch,
    ):
        if not (folder / MARK).is_file():
            for name, artifact in wheels.items():
                copy_wheel(media, artifact, Path(scratch, name))
            say(f"{len(wheels)} wheels have their signed digests; installing them")
            try:
                # An environment holds its own path, so it is built where it stays.
                build_environment(folder, Path(scratch), digests)
                os.sync()
                (folder / MARK).write_text(json.dumps(digests, indent=1))
            finally:
                if not (folder / MARK).is_file():
                    shutil.rmtree(folder, ignore_errors=True)
        (prefix / "bin").mkdir(exist_ok=True)
        _point(prefix / "bin" / "sallyport", "../current/bin/sallyport")
        _point(prefix / "current", f"versions/{folder.name}")
    return prefix / "bin" / "sallyport"


def _point(link: Path, target: str) -> None:
    fresh = link.with_name(f".{link.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def commission(base: list[str], folders: list[Path], root: Path, print_: str) -> int:
    """Run what makes the installed program ready to serve, or say what that is."""
    trust = [*base, "trust", "init", "--root", str(root), "--fingerprint", print_]
    take = [*base, "bundle", "import", *map(str, folders)]
    if not print_:
        say(f"installed. Next:\n  {' '.join(trust)} '…'\n  {' '.join(take)}")
        return 0
    steps = [take] if Path(base[-1], "sallyport.db").exists() else [trust, take]
    statuses = (subprocess.run(step, check=False).returncode for step in steps)
    return next(filter(None, statuses), 0)


def say(text: str, stream: TextIO = sys.stdout) -> None:
    """Print ``text``, without what a hostile text could tell a terminal."""
    shown = (c if c.isprintable() or c == "\n" else "?" for c in text)
    print("".join(shown), file=stream, flush=True)


def main(arguments: list[str] | None = None, *, machine: Facts | None = None) -> int:
    """Run the installer and return its exit status."""
    parser = argparse.ArgumentParser(description="Set Sallyport up from a medium.")
    add = parser.add_argument
    add("--medium", type=Path, action="append", help="folder of a volume; repeat it")
    add("--home", type=Path, default="/var/lib/sallyport", help="[%(default)s]")
    add("--prefix", type=Path, default="/opt/sallyport", help="[%(default)s]")
    add("--manifest-digest", help="from the transfer sheet; asked for otherwise")
    add("--root", type=Path, help="root file; default: the newest on the medium")
    add("--fingerprint", default="", help="the root's: trust it and import, too")
    options = parser.parse_args(arguments)
    ask = input if sys.stdin.isatty() else None
    folders = [each.resolve() for each in options.medium or [Path(__file__).parent]]
    media = Media(folders, ask)
    typed = options.manifest_digest or (ask(QUESTION) if ask else "")
    os.umask(0o022)
    try:
        prefix, facts = options.prefix.absolute(), machine or this_machine()
        command = install(media, prefix, typed=typed, machine=facts)
        base = [str(command), "--home", str(options.home.absolute())]
        found = [*folders[0].glob("metadata/*.root.json"), Path("0.root.json")]
        root = options.root or max(found, key=lambda path: _numbers(path.name))
        return commission(base, folders, root, options.fingerprint)
    except InstallError as error:
        status, hint, kind = error.status, error.hint, str(error)
    except (*MALFORMED, zipfile.BadZipFile) as error:
        status, hint, kind = 3, "Report this bundle.", f"malformed: {error!r}"
    except (OSError, subprocess.SubprocessError) as error:
        status, hint, kind = 4, "Repair it and run this again.", str(error)
    word = {2: "usage", 4: "fault"}.get(status, "refused")
    say(f"install.py: {word}: {kind}\n{hint and 'hint: '}{hint}", sys.stderr)
    return status


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except (KeyboardInterrupt, EOFError):
        say("install.py: interrupted; nothing was installed", sys.stderr)
        sys.exit(130)
