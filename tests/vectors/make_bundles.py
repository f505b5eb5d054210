"""Writes the corpus of bundles: ``python -m tests.vectors.make_bundles``.

The hosts of this corpus trust one publisher and have version 2 of its channel. The
good bundle is version 3, and every hostile one pretends to be the next, or is an
older one. ``accept/bundle`` holds the good bundle in several forms, and what is odd
and has to be taken all the same; ``reject/bundle`` what has to be refused:

- ``CLASS/NAME.vector``: how a bundle differs from the good one, with the code, the
  step and the place of its refusal in its first lines (``bundles/vector.py``);
- ``single-file/NAME.mbundle``: whole files, beside their ``expect.toml``;
- ``README.md``: every case there is, by class. What cannot be committed (links,
  devices, sparse files, media that change while they are read, signatures that
  differ each time) is made by ``bundles/CLASS.py`` when it is tested, and so is what
  would be large.

Keys come from their names, so running this again changes nothing.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.vectors.bundles.accepted import accepted
from tests.vectors.bundles.case import Case
from tests.vectors.bundles.corpus import CLASSES, corpus
from tests.vectors.bundles.vector import encode

FOLDER: Final = Path(__file__).parent
ACCEPT: Final = Path("accept/bundle")
REJECT: Final = Path("reject/bundle")
TABLE: Final = REJECT / "README.md"


def write_vectors(folder: Path) -> None:
    """Write every committed bundle and the table below ``folder``."""
    for part in (ACCEPT, REJECT):
        shutil.rmtree(folder / part, ignore_errors=True)
        (folder / part).mkdir(parents=True)
    for good in accepted():
        if good.data is not None:
            path = folder / ACCEPT / f"{good.name}{good.suffix}"
            path.write_bytes(good.data())
    for name, cases in corpus().items():
        _write_class(folder / REJECT / name, cases)
    (folder / TABLE).write_text(table(), encoding="utf-8")


def committed(name: str, case: Case) -> Path | None:
    """Return where the file of ``case``, of class ``name``, lies, or None."""
    if case.files is not None:
        return REJECT / name / f"{case.name}.vector"
    if case.data is not None:
        return REJECT / name / f"{case.name}.mbundle"
    return None


def table() -> str:
    """Return the page that lists every case."""
    total = sum(len(cases) for cases in corpus().values())
    return "\n".join(
        [
            "# Hostile bundles",
            "",
            "Written by `tests/vectors/make_bundles.py`, which says how to read this.",
            f"{total} cases; each is refused with its code at its step. *file* are",
            "those that lie here, *slow* those that `make test-slow` runs.",
            "",
            *(line for name, cases in corpus().items() for line in _rows(name, cases)),
            "",
        ]
    )


def _rows(name: str, cases: tuple[Case, ...]) -> Iterator[str]:
    about = (CLASSES[name].__doc__ or "").split("\n\n")[0].replace("\n", " ")
    yield f"## {name}: {len(cases)}"
    yield ""
    yield about
    yield ""
    yield "| case | code | step | |"
    yield "|---|---|---|---|"
    for case in cases:
        marks = ["file"] if committed(name, case) else []
        marks += ["slow"] if case.slow else []
        yield f"| {case.name} | `{case.code}` | {case.step} | {', '.join(marks)} |"
    yield ""


def _write_class(folder: Path, cases: tuple[Case, ...]) -> None:
    index = []
    for case in cases:
        if case.files is not None:
            folder.mkdir(exist_ok=True)
            data = encode(case, case.files())
            (folder / f"{case.name}.vector").write_bytes(data)
        elif case.data is not None:
            folder.mkdir(exist_ok=True)
            (folder / f"{case.name}.mbundle").write_bytes(case.data())
            index += [
                f'["{case.name}.mbundle"]',
                f'expect = "{case.code}"',
                f'where = "{case.where}"',
                "",
            ]
    if index:
        head = "# Written by tests/vectors/make_bundles.py.\n\n"
        text = head + "\n".join(index)
        (folder / "expect.toml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_vectors(FOLDER)
