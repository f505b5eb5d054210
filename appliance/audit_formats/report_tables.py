"""The tables of the report: who used what with which data, and what was refused.

Every cell is escaped; a table is bounded as its survey is, and says what it left out.
"""

import html
from collections.abc import Iterable, Sequence
from typing import Final

from appliance.audit_formats.calls import Calls, Refusal
from appliance.audit_formats.charts import number
from appliance.audit_formats.record import EVIDENCE

DIGEST_CHARACTERS: Final = 12
"""How much is shown of the digest of a model's name that this host does not know."""

NONE: Final = "none"
"""What stands where a record names nothing."""

TABLE_STYLE: Final = """
h2{font-size:12pt;margin:5mm 0 1mm}
section{break-before:page}
table{border-collapse:collapse;width:100%;font-size:8pt}
thead{display:table-header-group}
tr{break-inside:avoid}
th,td{text-align:left;vertical-align:top;padding:.6mm 1.5mm .6mm 0;
border-bottom:1px solid #d5dbe1;overflow-wrap:anywhere}
th{color:#6b7785;font-weight:normal}
"""


def tables(calls: Calls) -> str:
    """Return both tables, each under its heading, or nothing where both are empty."""
    parts = (*_uses(calls), *_refusals(calls))
    return f"<section>\n{''.join(parts)}</section>\n" if parts else ""


def _uses(calls: Calls) -> tuple[str, ...]:
    if not calls.uses:
        return ()
    rows = (
        (
            *(name or NONE for name in used),
            number(usage.calls),
            number(usage.prompt_tokens),
            number(usage.completion_tokens),
            _moment(usage.first),
            _moment(usage.last),
        )
        for used, usage in sorted(calls.uses.items())
    )
    return (
        "<h2>Calls by team, model and class of data</h2>\n",
        f'<p class="small">{_USES_SAID}</p>\n',
        _table(_USED, rows),
    )


def _refusals(calls: Calls) -> tuple[str, ...]:
    if not calls.listed:
        return ()
    return (
        "<h2>Refusals</h2>\n",
        f'<p class="small">{_stand(calls)}</p>\n',
        _table(_REFUSED, map(_refusal, calls.listed)),
    )


def _stand(calls: Calls) -> str:
    said = (
        "In their order, times in UTC. Of a flood one record stands for several calls."
    )
    if not calls.unlisted:
        return said
    counts = ", ".join(
        f"{number(count)} {code}" for code, count in sorted(calls.unlisted.items())
    )
    more = number(calls.unlisted.total())
    return html.escape(
        f"{said} {more} more are not listed here ({counts}): they are in {EVIDENCE}, "
        "event llm.refused."
    )


def _refusal(refusal: Refusal) -> tuple[str, ...]:
    unknown = refusal.unknown_sha256[:DIGEST_CHARACTERS]
    model = refusal.model or (f"unknown, SHA-256 {unknown}…" if unknown else NONE)
    more = (f"and {refusal.more_policies} more",) if refusal.more_policies else ()
    return (
        str(refusal.seq),
        _moment(refusal.ts),
        refusal.team or NONE,
        refusal.key_id or NONE,
        model,
        refusal.data_class or NONE,
        refusal.code,
        " ".join((*refusal.policies, *more)) or NONE,
        number(refusal.calls),
    )


_USES_SAID: Final = (
    "Requests begun, the tokens of those that ended, first and last time in UTC."
)
_USED: Final = (
    *("team", "model", "class", "calls", "prompt tokens", "answer tokens"),
    *("first", "last"),
)
_REFUSED: Final = (
    *("record", "time", "team", "key", "model", "class", "code", "policies"),
    "calls",
)


def _moment(ts: str) -> str:
    return ts[:19].replace("T", " ")


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in rows
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>\n"
