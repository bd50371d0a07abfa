"""The worklist as one HTML file: the list, and minutes and actions against scans done, drawn as SVG."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_kidnet.labelling.worklist import Curve, Row

__all__ = ["page_of"]

_WIDTH: Final = 640
_HEIGHT: Final = 180
_LEFT: Final = 48
_BOTTOM: Final = 28
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } thead th { background: var(--soft); }
small { color: #c0503c; } svg { width: 100%; max-width: 40rem; display: block; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
"""


def page_of(folder: str, rows: Sequence[Row], curve: Curve) -> str:
    """Return the page as text; it needs no network and runs no script."""
    title = f"Worklist of {folder}"
    head = "".join(
        f"<th>{name}</th>" for name in ("Scan", "State", "Judged", "Left", "Doubt, mL", "Minutes", "Actions")
    )
    plots = ""
    if curve.scans:
        plots = _plot("minutes", curve.minutes, curve, "#2f8f9d") + _plot(
            "actions", [float(each) for each in curve.actions], curve, "#8e5bb5"
        )
    return "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1><p>{escape(curve.in_words)}</p>{plots}",
            f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(map(_line, rows))}</tbody></table>",
            "<p>Minutes are those with input; pauses of more than 60 s do not count. A dashed line is a "
            "fine-tuning.</p></body></html>\n",
        ]
    )


def _line(row: Row) -> str:
    problem = f"<br><small>{escape(row.problem)}</small>" if row.problem else ""
    cells = (
        row.state.value,
        "–" if row.reviewed is None else f"{100 * row.reviewed:.0f} %",
        "–" if row.islands_left is None else f"{row.islands_left} of {row.islands}",
        "–" if row.benefit_ml is None else f"{row.benefit_ml:.1f}",
        f"{row.minutes:.1f}",
        str(row.actions),
    )
    return f"<tr><td>{escape(row.key)}{problem}</td>{''.join(f'<td>{each}</td>' for each in cells)}</tr>"


def _plot(title: str, values: Sequence[float], curve: Curve, colour: str) -> str:
    top = max([*values, 1.0])

    def x(place: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 12) * (place - 0.5) / max(len(values), 2)

    def y(value: float) -> float:
        return (_HEIGHT - _BOTTOM) - (_HEIGHT - _BOTTOM - 22) * value / top

    points = [(x(place), y(value)) for place, value in enumerate(values, 1)]
    marks = "".join(
        f'<line x1="{x(each.after + 0.5):.1f}" x2="{x(each.after + 0.5):.1f}" y1="16" y2="{y(0):.1f}" '
        f'stroke="#b8862b" stroke-dasharray="5 4"><title>{escape(each.checkpoint)}</title></line>'
        for each in curve.tunings
    )
    dots = "".join(
        f'<circle cx="{at:.1f}" cy="{height:.1f}" r="4" fill="{colour}">'
        f"<title>{escape(scan)}</title></circle>"
        for (at, height), scan in zip(points, curve.scans, strict=True)
    )
    line = " ".join(f"{at:.1f},{height:.1f}" for at, height in points)
    numbers = "".join(
        f'<text x="{x(place):.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{place}</text>'
        for place in range(1, len(values) + 1)
        if len(values) <= 12 or place % 5 == 0
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img"><title>{title} of each finished scan</title>'
        f'<text x="{_LEFT}" y="12">{title}</text><text x="{_LEFT - 6}" y="{y(top) + 4:.1f}" '
        f'text-anchor="end">{top:.0f}</text><text x="{_LEFT - 6}" y="{y(0):.1f}" text-anchor="end">0</text>'
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y(0):.1f}" y2="{y(0):.1f}" stroke="currentColor" '
        f'stroke-opacity=".4"/>{marks}<polyline points="{line}" fill="none" stroke="{colour}" '
        f'stroke-width="2"/>{dots}{numbers}</svg>'
    )
