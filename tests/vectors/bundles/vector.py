"""The file of one hostile bundle: what is expected of it, and what is wrong with it.

::

    expect: malformed
    step: verify
    where: metadata/timestamp.json
    without: metadata/3.snapshot.json
    file: metadata/timestamp.json 469

    {"signatures":…

It says how the bundle differs from the good one in ``accept/bundle``: files that are
not there, and files that are there instead or besides. Their bytes follow the first
empty line in the same order, each with a line end after it.
"""

from tests.vectors.bundles.case import Case
from tests.vectors.bundles.estate import Files, bundle


def encode(case: Case, files: Files) -> bytes:
    """Return the file of ``case``, whose medium holds ``files``."""
    good = bundle()
    changed = {path: data for path, data in files.items() if good.get(path) != data}
    lines = [
        f"expect: {case.code}",
        f"step: {case.step}",
        f"where: {case.where}",
        *(f"without: {path}" for path in good if path not in files),
        *(f"file: {path} {len(data)}" for path, data in changed.items()),
    ]
    head = "".join(f"{line}\n" for line in lines).encode()
    return head + b"\n" + b"".join(data + b"\n" for data in changed.values())


def decode(data: bytes) -> tuple[dict[str, str], Files]:
    """Return what a file expects, and the files of its medium."""
    head, _, rest = data.partition(b"\n\n")
    expected: dict[str, str] = {}
    files = bundle()
    for line in head.decode().splitlines():
        key, _, value = line.partition(": ")
        if key == "without":
            del files[value]
        elif key == "file":
            path, _, size = value.rpartition(" ")
            files[path], rest = rest[: int(size)], rest[int(size) + 1 :]
        else:
            expected[key] = value
    return expected, files
