"""The transfer sheet as text of 80 columns, for any printer."""

from collections.abc import Iterator
from typing import Final

from bundler.sheet.transfer_sheet import Sheet

WIDTH: Final = 80
"""Characters of a line; longer ones are folded. A page has 66 lines."""

_DIGITS_A_LINE: Final = 8 * 5
_BLANK: Final = "_" * 18


def sheet_text(sheet: Sheet) -> str:
    """Return ``sheet`` as lines of text."""
    return "".join(f"{line.rstrip()}\n" for line in _lines(sheet))


def _lines(sheet: Sheet) -> Iterator[str]:
    yield f"SALLYPORT TRANSFER SHEET{sheet.title:>{WIDTH - 24}}"
    yield "=" * WIDTH
    for name, value in sheet.facts:
        yield from _folded(f"{name:<13} ", value)
    yield from _heading("compare these by eye; never with a copy from the medium")
    for name, meaning, digits in sheet.compared:
        yield f"{name:<13} {meaning}"
        for start in range(0, len(digits), _DIGITS_A_LINE):
            yield f"{'':<13} {digits[start : start + _DIGITS_A_LINE]}"
    yield from _heading("contents")
    for kind, name, size, digest in sheet.contents:
        yield f"{kind:<13} {_cut(name, 36):<36} {size:>10}  {digest}"
    if sheet.more:
        yield f"{'':<13} {sheet.more}"
    yield from _heading("volumes")
    for volume in sheet.volumes:
        yield from _folded(f"{'':<13} ", volume)
    yield from _heading("signed by")
    yield from (_signer(*signer) for signer in sheet.signers)
    yield from _heading("on the host, with MEDIUM for the folder of the volume")
    for number, (command, meaning) in enumerate(sheet.commands, start=1):
        yield f"{number}. {command}"
        yield f"   ({meaning})"
    yield from _heading("released and received")
    for person in ("first person", "second person"):
        yield f"{person:<13} name {_BLANK}  signature {_BLANK[:14]}  date {_BLANK[:8]}"
        yield ""


def _signer(role: str, key_id: str, kind: str, holder: str) -> str:
    if not holder:
        return f"{role:<13} {key_id[:48]}… {_cut(kind, 16)}"
    return f"{role:<13} {key_id[:24]}… {_cut(kind, 11):<11} {_cut(holder, 28)}"


def _heading(text: str) -> Iterator[str]:
    yield ""
    yield f"-- {text} ".ljust(WIDTH, "-")


def _folded(first: str, text: str) -> Iterator[str]:
    room = WIDTH - len(first)
    for start in range(0, max(1, len(text)), room):
        yield f"{first if start == 0 else ' ' * len(first)}{text[start : start + room]}"


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
