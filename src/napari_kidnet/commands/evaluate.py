"""``kidnet evaluate``: labels against the truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, table, write_json
from napari_kidnet.commands.label_files import check_classes, grid_of
from napari_kidnet.commands.options import html_path, json_target
from napari_kidnet.commands.outputs import refuse_inputs, writable_folder

if TYPE_CHECKING:
    import argparse

__all__ = ["declare", "results_in_words"]

_REGIONS = {"whole_roi": "whole scan", "kidney_box": "kidney box"}
_SCORES = ("f1", "precision", "recall", "cldice")


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "evaluate",
        help="compare labels with the truth",
        description="Compare labels with the truth, per class and region, with and without the islands rule.",
    )
    verb.add_argument("--labels", required=True, type=Path, metavar="F", help="what is judged")
    verb.add_argument("--truth", required=True, type=Path, metavar="F", help="what it should be, same grid")
    verb.add_argument("--kidneys", type=Path, metavar="F", help="1 left, 2 right: adds the kidney box")
    verb.add_argument("--scan", type=Path, metavar="F", help="the CT, for the pictures of --html")
    verb.add_argument("--json", type=json_target, metavar="F", help="all figures (- for standard output)")
    verb.add_argument("--html", type=html_path, metavar="F", help="a report to look at")
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    if options.scan is not None and options.html is None:
        options.usage_error("--scan is for the pictures of --html: give both")
    for option, target in (("--json", options.json), ("--html", options.html)):
        if target not in (None, "-"):
            writable_folder(Path(target).parent, option)
            refuse_inputs([Path(target)], [options.labels, options.truth])

    from napari_kidnet.evaluation import draw_pictures, evaluate, write_html
    from napari_kidnet.scans import read_labels, read_scan

    grid = grid_of(options.truth)
    truth = read_labels(options.truth, grid)
    check_classes(truth, options.truth)
    labels = read_labels(options.labels, grid)
    check_classes(labels, options.labels)
    kidneys = None if options.kidneys is None else read_labels(options.kidneys, grid)
    pictures = []
    if options.scan is not None:
        scan = read_scan(options.scan)
        truth_there, labels_there = (read_labels(each, scan) for each in (options.truth, options.labels))
        pictures = draw_pictures(scan.hu, labels_there, scan.spacing, truth_there)
    results = evaluate(labels, truth, grid.spacing, kidneys)
    if options.html is not None:
        note = f"{options.labels} is compared with {options.truth}."
        write_html(options.html, results, pictures, notes=[note])
    if options.json is not None:
        write_json(options.json, results)
    if options.json != "-":
        Console().say(results_in_words(results))
    return 0


def results_in_words(results: dict[str, Any]) -> str:
    """Return the figures of `evaluate` as a table, one line for each class and region."""
    from napari_kidnet.classes import VESSELS

    rows = [["", "F1", "precision", "recall", "clDice", "F1 (islands rule)"]]
    for each in VESSELS:
        for region, title in _REGIONS.items():
            scores = results[each.name][region]
            if any(scores[name] is not None for name in _SCORES):
                ruled = scores["islands_rule"]["f1"]
                figures = [*(scores[name] for name in _SCORES), ruled]
                rows.append([f"{each.title}, {title}", *map(_score, figures)])
    return table(rows)


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
