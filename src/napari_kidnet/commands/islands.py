"""``kidnet islands``: the connected pieces of a label file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, table, write_json
from napari_kidnet.commands.label_files import grid_of
from napari_kidnet.commands.options import json_target
from napari_kidnet.commands.outputs import writable_folder

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "islands",
        help="list the connected pieces of labels",
        description="List the islands (26-connected pieces of one class) of a label file.",
    )
    verb.add_argument("labels", type=Path, metavar="F", help="label file (.nii.gz, .nii, .tif)")
    verb.add_argument("--json", type=json_target, metavar="F", help="the table (- for standard output)")
    verb.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.json not in (None, "-"):
        writable_folder(Path(options.json).parent, "--json")

    from napari_kidnet.islands import Context, find_islands, table_rows
    from napari_kidnet.scans import read_labels

    grid = grid_of(options.labels)
    rows = table_rows(find_islands(read_labels(options.labels, grid), Context(spacing=grid.spacing)))
    rows.sort(key=lambda row: (row["class_id"], -row["voxels"]))
    if options.json is not None:
        content = {"labels": str(options.labels), "spacing_mm": list(grid.spacing), "islands": rows}
        write_json(options.json, content)
    if options.json != "-":
        Console().say(_in_words(rows))
    return 0


def _in_words(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No islands: all is background."
    lines = [["class", "id", "mL", "voxels", "mm to the largest", "centre (z y x, mm)"]]
    for row in rows:
        centre = " ".join(f"{mm:.0f}" for mm in row["centroid_mm"])
        distance = f"{row['distance_mm']:.1f}" if row["distance_mm"] is not None else ""
        lines.append(
            [row["class"], str(row["id"]), f"{row['volume_ml']:.3f}", str(row["voxels"]), distance, centre]
        )
    return table(lines)
