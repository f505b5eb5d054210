"""The transfer sheet as one HTML page that prints on one sheet of A4.

It loads nothing and runs nothing: its policy for content allows only the style in
it. Every text is escaped here, whatever it was before.
"""

from collections.abc import Iterable
from html import escape
from typing import Final

from bundler.sheet.transfer_sheet import Sheet

_STYLE: Final = """
@page { size: A4; margin: 10mm 14mm; }
* { box-sizing: border-box; }
body { font: 9pt/1.2 sans-serif; color: #000; background: #fff; margin: 0 auto;
  max-width: 182mm; padding: 3mm 0; }
@media print { body { padding: 0; } }
header { display: flex; justify-content: space-between; align-items: baseline;
  border-bottom: 1.5pt solid #000; }
h1 { font-size: 15pt; margin: 0; }
header p { font-size: 11pt; font-weight: bold; margin: 0; }
h2 { font-size: 9.5pt; margin: 2.2mm 0 .6mm; border-bottom: .5pt solid #888; }
table { width: 100%; border-collapse: collapse; table-layout: fixed; }
td { padding: .2mm 1.5mm .2mm 0; vertical-align: top; overflow-wrap: anywhere; }
td.name { width: 26mm; }
td.size { width: 24mm; text-align: right; }
td.digest { width: 44mm; }
code, .digits { font-family: monospace; }
.digits { font-size: 12pt; line-height: 1.25; letter-spacing: .02em; }
.note { font-size: 8.5pt; }
ol { margin: 0; padding-left: 5mm; }
.people td { height: 10mm; vertical-align: bottom; border-bottom: .5pt solid #000; }
"""


def sheet_html(sheet: Sheet) -> str:
    """Return ``sheet`` as a page of HTML."""
    body = "\n".join(
        (
            f"<header><h1>Transfer sheet</h1><p>{escape(sheet.title)}</p></header>",
            _table(
                f'<td class="name">{escape(name)}</td><td>{escape(value)}</td>'
                for name, value in sheet.facts
            ),
            "<h2>Compare by eye; never with a copy from the medium</h2>",
            _table(
                f'<td class="name">{escape(name)}</td><td>{escape(meaning)}<br>'
                f'<span class="digits">{_digits(digits)}</span></td>'
                for name, meaning, digits in sheet.compared
            ),
            "<h2>Contents</h2>",
            _contents(sheet),
            "<h2>Volumes</h2>",
            _table(f"<td>{escape(volume)}</td>" for volume in sheet.volumes),
            "<h2>Signed by</h2>",
            _table(
                f'<td class="name">{escape(role)}</td><td class="note">'
                f"<code>{escape(key_id)}</code> {escape(kind)} {escape(holder)}</td>"
                for role, key_id, kind, holder in sheet.signers
            ),
            "<h2>On the host, with MEDIUM for the folder of the volume</h2>",
            _commands(sheet),
            "<h2>Released and received</h2>",
            '<table class="people">',
            *(
                f"<tr><td>{person}: name</td><td>signature</td><td>date</td></tr>"
                for person in ("First person", "Second person")
            ),
            "</table>",
        )
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>Transfer sheet: {escape(sheet.title)}</title>\n"
        f"<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _digits(digits: str) -> str:
    """Return digits on lines of equal length, so that the eye keeps its place."""
    groups = digits.split()
    lines = (groups[start : start + 8] for start in range(0, len(groups), 8))
    return "<br>".join(escape(" ".join(line)) for line in lines)


def _table(rows: Iterable[str]) -> str:
    lines = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>\n{lines}\n</table>"


def _contents(sheet: Sheet) -> str:
    rows = [
        f'<td class="name">{escape(kind)}</td><td>{escape(name)}</td>'
        f'<td class="size">{escape(size)}</td>'
        f'<td class="digest"><code>{escape(digest)}</code></td>'
        for kind, name, size, digest in sheet.contents
    ]
    if sheet.more:
        rows.append(f'<td class="name"></td><td colspan="3">{escape(sheet.more)}</td>')
    return _table(rows)


def _commands(sheet: Sheet) -> str:
    items = "\n".join(
        f'<li><code>{escape(command)}</code> <span class="note">'
        f"({escape(meaning)})</span></li>"
        for command, meaning in sheet.commands
    )
    return f"<ol>\n{items}\n</ol>"
