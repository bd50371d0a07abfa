"""A report that a person opens in a browser: one file, pictures inside, no network, no script."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.classes import VESSELS
from napari_kidnet.evaluation.pictures import Picture, png_bytes
from napari_kidnet.evaluation.report import FIGURES, REGIONS
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["html_of", "write_html"]

TITLES = {
    "whole_roi": "Whole region of interest",
    "kidney_box": "Kidney box",
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "cldice": "clDice",
}

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } thead th { font-weight: 600; background: var(--soft); }
td.rule { opacity: .75; } .dot { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
margin-right: .5em; } .pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit,
minmax(20rem, 1fr)); } figure { margin: 0; } img { width: 100%; border-radius: 4px; background: #000; }
figcaption, p.note { font-size: .9rem; opacity: .8; }
"""


def write_html(
    path: str | Path,
    figures: Mapping[str, Any],
    pictures: Sequence[Picture] = (),
    *,
    title: str = "Kid-Net evaluation",
    notes: Sequence[str] = (),
) -> Path:
    """Write figures of `evaluate` and pictures as one HTML file.

    Parameters
    ----------
    path : str or Path
        The file; it is complete or not there.
    figures : mapping
        What `evaluate` returned.
    pictures : sequence of Picture
        Shown in this order.
    title : str
        The heading.
    notes : sequence of str
        Sentences under the heading, for example what was compared with what.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    target = Path(path)
    text = html_of(figures, pictures, title=title, notes=notes)
    with write_atomically(target) as partial:
        partial.write_text(text, encoding="utf-8")
    return target


def html_of(
    figures: Mapping[str, Any], pictures: Sequence[Picture] = (), *, title: str, notes: Sequence[str] = ()
) -> str:
    """Return the report as text."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="note">{escape(note)}</p>' for note in notes),
        *(_region_table(figures, region) for region in REGIONS if _known(figures, region)),
        '<p class="note">Islands rule: only predicted islands that touch the truth count. '
        " A dash stands where a figure has no meaning.</p>",
        _volume_table(figures),
    ]
    if pictures:
        parts.append(f'<h2>Pictures</h2><div class="pictures">{"".join(map(_figure, pictures))}</div>')
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _known(figures: Mapping[str, Any], region: str) -> bool:
    return any(figures[vessel.name][region][name] is not None for vessel in VESSELS for name in FIGURES)


def _region_table(figures: Mapping[str, Any], region: str) -> str:
    head = "".join(f"<th>{TITLES[name]}</th>" for name in FIGURES)
    rows = []
    for name, label in [*((vessel.name, _label(vessel.name)) for vessel in VESSELS), ("mean", "Mean")]:
        plain = figures[name][region]
        rows.append(f"<tr><td>{label}</td>{''.join(_cell(plain[each]) for each in FIGURES)}</tr>")
        under = "".join(_cell(plain["islands_rule"][each], "rule") for each in FIGURES)
        rows.append(f'<tr><td class="rule">&emsp;islands rule</td>{under}</tr>')
    return (
        f"<h2>{TITLES[region]}</h2><table><thead><tr><th>Class</th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _volume_table(figures: Mapping[str, Any]) -> str:
    rows = []
    for vessel in VESSELS:
        own = figures[vessel.name]
        rows.append(
            f"<tr><td>{_label(vessel.name)}</td>{_cell(own['false_positive_volume_ml'])}"
            f"<td>{own['islands']}</td><td>{own['truth_islands']}</td></tr>"
        )
    return (
        "<h2>False positives and islands</h2><table><thead><tr><th>Class</th>"
        "<th>False-positive volume, mL</th><th>Islands</th><th>Islands of the truth</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _label(name: str) -> str:
    vessel = next(each for each in VESSELS if each.name == name)
    red, green, blue = (round(255 * part) for part in vessel.colour[:3])
    dot = f'<span class="dot" style="background: rgb({red} {green} {blue})"></span>'
    return dot + escape(vessel.title)


def _cell(value: float | None, kind: str = "") -> str:
    text = "–" if value is None else f"{value:.3f}"
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def _figure(picture: Picture) -> str:
    data = b64encode(png_bytes(picture.pixels)).decode("ascii")
    words = f"<b>{escape(picture.title)}</b> {escape(picture.caption)}"
    image = f'<img alt="{escape(picture.title)}" src="data:image/png;base64,{data}">'
    return f"<figure>{image}<figcaption>{words}</figcaption></figure>"
