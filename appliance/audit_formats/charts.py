"""Charts as inline SVG: bars that a printer renders as the screen does.

Nothing is drawn but rectangles, lines and escaped text; there is no script, no
style sheet and no reference to anything outside of the text that is returned.
"""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

WIDTH: Final = 356
HEIGHT: Final = 190
TOP: Final = 20
INK: Final = "#1b2733"
FAINT: Final = "#6b7785"
RULE: Final = "#d5dbe1"
COLOURS: Final = ("#2f6690", "#e08e45")
"""Of the first and the second series; apart in grey as well."""

MAX_NAME: Final = 26
"""Characters of a name beside a bar."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One bar: its name and the value of each series, stacked."""

    name: str
    values: tuple[int, ...]

    @property
    def total(self) -> int:
        """The length of the whole bar."""
        return sum(self.values)


def columns_chart(title: str, bars: Sequence[Bar], *, series: Sequence[str]) -> str:
    """Return upright bars, named where there is room, with the highest value marked."""
    floor, left = HEIGHT - 18, 44
    most = max((bar.total for bar in bars), default=0)
    parts = [_axis(most, floor=floor, left=left)] if most else [_nothing()]
    step = (WIDTH - left - 4) / max(1, len(bars))
    every = max(1, -(-len(bars) * 34 // (WIDTH - left)))
    for place, bar in enumerate(bars if most else ()):
        x, base = left + place * step, float(floor)
        for value, colour in zip(bar.values, COLOURS, strict=False):
            height = value / most * (floor - TOP - 14)
            base -= height
            parts.append(_box(x + step * 0.12, base, step * 0.76, height, colour))
        if place % every == 0:
            parts.append(_text(x + step / 2, HEIGHT - 5, bar.name, anchor="middle"))
    return _chart(title, parts, series=series)


def rows_chart(title: str, bars: Sequence[Bar]) -> str:
    """Return lying bars, each with its name and its number."""
    left, right = 150, 52
    most = max((bar.total for bar in bars), default=0)
    step = min(22.0, (HEIGHT - TOP - 4) / max(1, len(bars)))
    parts = [] if most else [_nothing()]
    for place, bar in enumerate(bars if most else ()):
        y = TOP + 4 + place * step
        length = bar.total / most * (WIDTH - left - right)
        parts.append(_text(left - 6, y + step * 0.68, _short(bar.name), anchor="end"))
        parts.append(_box(left, y + step * 0.14, length, step * 0.72, COLOURS[0]))
        parts.append(_text(left + length + 4, y + step * 0.68, number(bar.total)))
    return _chart(title, parts, series=())


def number(value: int) -> str:
    """Return a number for reading, with thin spaces between thousands."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _chart(title: str, parts: Sequence[str], *, series: Sequence[str]) -> str:
    legend = "".join(
        _box(WIDTH - 90 * (len(series) - place), 4, 8, 8, COLOURS[place])
        + _text(WIDTH - 90 * (len(series) - place) + 12, 12, name)
        for place, name in enumerate(series)
    )
    heading = (
        f'<text x="0" y="12" font-size="11" font-weight="bold" fill="{INK}">'
        f"{html.escape(title)}</text>"
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(title)}">{heading}{legend}{"".join(parts)}</svg>'
    )


def _axis(most: int, *, floor: int, left: int) -> str:
    top = TOP + 14
    return (
        f'<path d="M{left} {floor}H{WIDTH - 4}M{left} {top}H{WIDTH - 4}" '
        f'stroke="{RULE}" stroke-width="1"/>'
        + _text(left - 5, floor, "0", anchor="end")
        + _text(left - 5, top + 4, number(most), anchor="end")
    )


def _nothing() -> str:
    return _text(WIDTH / 2, HEIGHT / 2, "none in these records", anchor="middle")


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="9" text-anchor="{anchor}" '
        f'fill="{FAINT}">{html.escape(text)}</text>'
    )


def _short(name: str) -> str:
    return name if len(name) <= MAX_NAME else name[: MAX_NAME - 1] + "…"
