"""How a command line reports an error of the tree; the same on both machines.

For reading: ``PROGRAM: refused: digest-mismatch: c/ab/…: …`` and then
``hint: …``. For machines: one JSON object with the error's fields.
"""

import json

from bundleformat.errors import Error, FaultError, RefusalError, UsageError


def error_lines(error: Error, *, program: str, as_json: bool) -> tuple[str, ...]:
    """Return the lines that report ``error`` on stderr."""
    kind = _kind(error)
    if as_json:
        value = {
            "kind": kind,
            "code": error.code,
            "message": error.text(),
            "where": error.where,
            "expected": error.expected,
            "actual": error.actual,
            "hint": error.hint,
        }
        return (json.dumps({"error": value}, ensure_ascii=False, sort_keys=True),)
    line = f"{program}: {kind}: {error.code}: {error.text()}"
    return (line, f"hint: {error.hint}") if error.hint else (line,)


def _kind(error: Error) -> str:
    if isinstance(error, UsageError):
        return "usage"
    if isinstance(error, RefusalError):
        return "refused"
    return "fault" if isinstance(error, FaultError) else "error"
