"""``kidnet islands``: the connected pieces of a label file, and which to look at first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, table, write_json
from napari_kidnet.commands.label_files import grid_of
from napari_kidnet.commands.options import json_target
from napari_kidnet.commands.outputs import writable_folder

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.islands import Context, IslandTable
    from napari_kidnet.scans import Scan

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "islands",
        help="list the connected pieces of labels",
        description="List the islands (26-connected pieces of one class) of a label file, and say in which "
        "order to review them.",
    )
    verb.add_argument("labels", type=Path, metavar="F", help="label file (.nii.gz, .nii, .tif)")
    verb.add_argument(
        "--probabilities",
        type=Path,
        metavar="P",
        help="what kidnet segment --probabilities wrote (default: NAME_probabilities beside NAME_labels)",
    )
    verb.add_argument("--json", type=json_target, metavar="F", help="the table (- for standard output)")
    verb.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if options.json not in (None, "-"):
        writable_folder(Path(options.json).parent, "--json")

    from napari_kidnet.islands import find_islands
    from napari_kidnet.scans import probabilities_beside, read_labels

    console = Console()
    grid = grid_of(options.labels)
    kept: Path | None = options.probabilities
    if kept is None and (kept := probabilities_beside(options.labels)) is not None:
        console.remark(f"Probabilities: {kept}")
    labels = read_labels(options.labels, grid)
    rows = _rows(find_islands(labels, _context(grid, kept)))
    if options.json is not None:
        content = {
            "labels": str(options.labels),
            "probabilities": None if kept is None else str(kept),
            "spacing_mm": list(grid.spacing),
            "islands": rows,
        }
        write_json(options.json, content)
    if options.json != "-":
        console.say(_in_words(rows))
    return 0


def _context(grid: Scan, kept: Path | None) -> Context:
    """Return what is known beside the labels: how sure the network was, if that was kept."""
    from napari_kidnet.islands import Context

    if kept is None:
        return Context(spacing=grid.spacing)

    from napari_kidnet.scans import read_probabilities
    from napari_kidnet.segmentation.uncertainty import entropy_where_asked

    found = read_probabilities(kept, grid)
    sensitivity = 1.0 if found.sensitivity is None else found.sensitivity
    uncertainty = entropy_where_asked(found.log, found.weights, sensitivity)
    return Context(spacing=grid.spacing, log_probabilities=found.log, uncertainty=uncertainty)


def _rows(islands: IslandTable) -> list[dict[str, Any]]:
    """Return the table with the order of review, by class and size."""
    from napari_kidnet.islands import review_order, table_rows

    review = review_order(islands)
    rows = table_rows(islands)
    for place, row in enumerate(review.rows.tolist(), start=1):
        rows[row] |= {
            "review": place,
            "chance_wrong": float(review.chance_wrong[row]),
            "expected_wrong_ml": float(review.score_ml[row]),
            "reasons": review.reasons[row],
        }
    rows.sort(key=lambda row: (row["class_id"], -row["voxels"]))
    return rows


def _in_words(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No islands: all is background."
    lines = [["class", "id", "mL", "voxels", "mm to the largest", "centre (z y x, mm)", "look"]]
    for row in rows:
        centre = " ".join(f"{mm:.0f}" for mm in row["centroid_mm"])
        distance = f"{row['distance_mm']:.1f}" if row["distance_mm"] is not None else ""
        about = [row["class"], str(row["id"]), f"{row['volume_ml']:.3f}", str(row["voxels"])]
        lines.append([*about, distance, centre, str(row["review"])])
    # a table's columns are set to the right, and words read from the left
    reasons = ["why", *(row["reasons"] for row in rows)]
    return "\n".join(f"{line}  {why}" for line, why in zip(table(lines).splitlines(), reasons, strict=True))
