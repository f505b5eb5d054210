"""Tiny wheels made on the spot, and bundles of any artifacts at all."""

import base64
import datetime as dt
import hashlib
import io
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from bundleformat.artifact import (
    Artifact,
    Chunk,
    Environment,
    Kind,
    ModelTerms,
    WheelSizes,
)
from bundleformat.digest import sha256_of
from bundleformat.errors import RefusalError
from bundleformat.layout import chunk_path
from bundleformat.manifest import FORMAT, Manifest
from bundleformat.paths import Name, parse_name, parse_path
from bundleformat.wheel_lint import lint_wheel
from tests.support.publisher import (
    BUNDLE_EXPIRES,
    NOW,
    Keys,
    Published,
    make_root,
    new_keys,
    write_metadata,
)

THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

SALLYPORT = {"sallyport_stub.py": b"def main():\n    print('a stub of sallyport')\n"}
"""Stands for Sallyport where only its installation matters."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """An artifact to be, and its bytes."""

    kind: Kind
    name: str
    path: str
    data: bytes
    model: ModelTerms | None = None
    environment: Environment | None = None
    wheel: WheelSizes | None = None


def pip_wheel() -> Path:
    """Return the wheel of pip that every Python carries for ``ensurepip``."""
    (wheel,) = Path(str(files("ensurepip"))).glob("_bundled/pip-*.whl")
    return wheel


def quick_pip(folder: Path) -> Path:
    """Write a wheel that works as pip does and, unlike pip's, is quick to install."""
    main = (
        f"import sys\nsys.path.insert(0, {str(pip_wheel())!r})\n"
        "from pip._internal.cli.main import main\nsys.exit(main())\n"
    )
    contents = {"pip/__init__.py": b"", "pip/__main__.py": main.encode()}
    return tiny_wheel(folder, "pip", version="99.0", contents=contents)


def tiny_wheel(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    tag: str = "py3-none-any",
    contents: Mapping[str, bytes] | None = None,
    requires: Sequence[str] = (),
    scripts: Mapping[str, str] | None = None,
    unrecorded: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a wheel of pure Python with its RECORD and return its path.

    ``scripts`` are console scripts, ``unrecorded`` members that RECORD leaves out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    members = dict(contents or {f"{name}.py": f"NAME = {name!r}\n".encode()})
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode()
    )
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n"
    ).encode()
    if scripts:
        lines = "".join(f"{key} = {value}\n" for key, value in scripts.items())
        members[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}".encode()
    record = "".join(f"{path},{_hash(data)}\n" for path, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = folder / f"{name}-{version}-{tag}.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**members, **(unrecorded or {})}.items():
            member = zipfile.ZipInfo(path)
            mode = 0o100755 if ".data/scripts/" in path else 0o100644
            member.external_attr = mode << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, data)
    return wheel


def sallyport_stub(folder: Path) -> Path:
    """Write a wheel whose command is called ``sallyport``."""
    return tiny_wheel(
        folder,
        "sallyport",
        contents=SALLYPORT,
        scripts={"sallyport": "sallyport_stub:main"},
    )


def environment_of(
    name: str,
    wheels: Iterable[Path],
    *,
    python: str = THIS_PYTHON,
    platform: str = "linux_x86_64",
    glibc: str = "2.17",
    cpu: str = "x86-64",
    role: str = "team",
) -> tuple[Delivery, ...]:
    """Return what a bundle delivers of an environment: wheels, lock, requirements."""
    held = {wheel.name: wheel.read_bytes() for wheel in sorted(wheels)}
    names = sorted(file_name.lower().removesuffix(".whl") for file_name in held)
    environment = Environment(
        python=python,
        platform=platform,
        glibc=glibc,
        cpu=cpu,  # type: ignore[arg-type]  # a test may say anything
        role=role,  # type: ignore[arg-type]
        wheels=tuple(Name(each) for each in names),
    )
    pins = "".join(
        f"{'=='.join(file_name.split('-')[:2])} --hash=sha256:{sha256_of(data)}\n"
        for file_name, data in held.items()
    ).encode()
    return (
        *(
            Delivery(
                kind="wheel",
                name=file_name.lower().removesuffix(".whl"),
                path=f"wheels/{file_name}",
                data=data,
                wheel=_sizes(data, file_name),
            )
            for file_name, data in held.items()
        ),
        Delivery(
            kind="lock",
            name=name,
            path=f"locks/pylock.{name}.toml",
            data=f"# {name}, {environment}\n".encode() + pins,
            environment=environment,
        ),
        Delivery(
            kind="requirements",
            name=name,
            path=f"locks/{name}.requirements.txt",
            data=pins,
        ),
    )


def publish_artifacts(
    folder: Path,
    deliveries: Iterable[Delivery],
    *,
    keys: Keys | None = None,
    roots: Sequence[bytes] = (),
    version: int = 1,
    channel: str = "main",
    chunk_bytes: int = 2**20,
    created: dt.datetime = NOW,
    expires: dt.datetime = BUNDLE_EXPIRES,
) -> Published:
    """Write a signed bundle of ``deliveries`` to ``folder`` and return it.

    The same path twice is delivered once.
    """
    chosen = keys or new_keys()
    unique = {each.path: each for each in deliveries}
    manifest = Manifest(
        format=FORMAT,
        channel=parse_name(channel),
        version=version,
        created=created,
        artifacts=tuple(
            _store(folder, unique[path], chunk_bytes=chunk_bytes)
            for path in sorted(unique, key=str.lower)
        ),
    )
    bundle = Published(
        folder=folder,
        keys=chosen,
        roots=tuple(roots) or (make_root(chosen, channel=channel),),
        manifest=manifest,
    )
    write_metadata(bundle, expires=expires)
    return bundle


def _sizes(data: bytes, file_name: str) -> WheelSizes | None:
    """Return what a publisher signs of a wheel; of one that is none, nothing."""
    try:
        facts = lint_wheel(io.BytesIO(data), filename=file_name, size_bytes=len(data))
    except RefusalError:
        return None
    return facts.sizes


def _store(folder: Path, delivery: Delivery, *, chunk_bytes: int) -> Artifact:
    data = delivery.data
    chunks = []
    for start in range(0, len(data), chunk_bytes):
        block = data[start : start + chunk_bytes]
        chunk = Chunk(sha256=sha256_of(block), size_bytes=len(block))
        path = folder / chunk_path(chunk.sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(block)
        chunks.append(chunk)
    return Artifact(
        kind=delivery.kind,
        name=Name(delivery.name),
        path=parse_path(delivery.path),
        size_bytes=len(data),
        sha256=sha256_of(data),
        chunks=tuple(chunks),
        model=delivery.model,
        environment=delivery.environment,
        wheel=delivery.wheel,
    )


def _hash(data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=")
    return f"sha256={digest.decode()},{len(data)}"
