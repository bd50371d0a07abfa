"""``kidnet worklist``: how far the work on a folder of scans is, and what it cost."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, table, write_json, write_text
from napari_kidnet.commands.options import add_engine_options, add_quiet, html_path, json_target
from napari_kidnet.commands.outputs import writable_folder

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.labelling.worklist import Curve, Row, Worklist

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "worklist",
        help="show how far a folder of scans is, and predict the new ones",
        description="Show the worklist of a folder: state, share judged, islands left, doubt, minutes and "
        "actions of each scan, and which comes next. Without --predict and --mark nothing is written to it.",
    )
    verb.add_argument("folder", type=Path, metavar="FOLDER", help="the folder with the scans")
    verb.add_argument("--predict", action="store_true", help="segment every new scan first")
    add_engine_options(verb)
    verb.add_argument("--sensitivity", type=float, metavar="S", help="0 (few, sure vessels) to 1 (all)")
    verb.add_argument(
        "--mark",
        nargs=2,
        action="append",
        default=[],
        metavar=("SCAN", "STATE"),
        help="call a scan 'done' or 'in work'",
    )
    verb.add_argument("--json", type=json_target, metavar="F", help="the list (- for standard output)")
    verb.add_argument("--html", type=html_path, metavar="F", help="the list, and a plot of its cost")
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    for option, target in (("--json", options.json), ("--html", options.html)):
        if target not in (None, "-"):
            writable_folder(Path(target).parent, option)

    from napari_kidnet.labelling.worklist import Worklist, curve_of

    worklist = Worklist(options.folder)
    _mark(worklist, options)
    failed = options.predict and _predict(worklist, options, console)
    if worklist.warning:
        console.warn(worklist.warning)
    rows = worklist.rows
    curve = curve_of(rows, worklist.tunings)
    if options.json is not None:
        write_json(options.json, _content(worklist, rows, curve))
    if options.html is not None:
        from napari_kidnet.commands.worklist_page import page_of

        write_text(options.html, page_of(worklist.folder.resolve().name, rows, curve))
    if options.json != "-":
        console.say(_in_words(worklist, rows, curve))
    return 1 if failed else 0


def _mark(worklist: Worklist, options: argparse.Namespace) -> None:
    from napari_kidnet.labelling.worklist import WorkState

    known = {row.key for row in worklist.rows}
    for scan, state in options.mark:
        if state not in (WorkState.DONE, WorkState.IN_WORK):
            options.usage_error(f"--mark takes the states 'done' and 'in work', not {state!r}")
        if scan not in known:
            options.usage_error(f"--mark: {options.folder} holds no scan {scan!r}")
    for scan, state in options.mark:
        worklist.set_state(scan, WorkState(state))


def _predict(worklist: Worklist, options: argparse.Namespace, console: Console) -> bool:
    """Predict what is new; return whether a scan failed."""
    from napari_kidnet.labelling import PredictRequest
    from napari_kidnet.labelling.in_use import checkpoint_named
    from napari_kidnet.labelling.worklist import predict_new_steps
    from napari_kidnet.progress import Progress

    request = PredictRequest(
        checkpoint=checkpoint_named(options.checkpoint),
        device=options.device,
        engine=options.engine,
        sensitivity=options.sensitivity,
        threads=options.threads,
    )
    steps = predict_new_steps(worklist, request)

    def told() -> Any:
        try:
            while True:
                try:
                    step = next(steps)
                except StopIteration as stop:
                    return stop.value
                if step.problem:
                    console.warn(step.problem)
                yield Progress(step.progress.done, step.progress.total, step.progress.what)
        finally:
            steps.close()

    result = console.follow(told(), "Predicting")
    console.remark(result.in_words)
    return bool(result.failed)


def _content(worklist: Worklist, rows: tuple[Row, ...], curve: Curve) -> dict[str, Any]:
    return {
        "folder": str(worklist.folder),
        "next": worklist.next_scan(),
        "scans": [
            {
                "scan": row.key,
                "state": row.state.value,
                "problem": row.problem or None,
                "reviewed": row.reviewed,
                "islands": row.islands,
                "islands_left": row.islands_left,
                "expected_wrong_ml": row.expected_wrong_ml,
                "entropy": row.entropy,
                "minutes": round(row.minutes, 2),
                "actions": row.actions,
            }
            for row in rows
        ],
        "curve": {
            "scans": list(curve.scans),
            "minutes": [round(each, 2) for each in curve.minutes],
            "actions": list(curve.actions),
            "finetunings": [asdict(mark) for mark in curve.tunings],
        },
    }


def _in_words(worklist: Worklist, rows: tuple[Row, ...], curve: Curve) -> str:
    if not rows:
        return f"{worklist.folder} holds no scans; put NIfTI files, TIFF stacks or folders with DICOM there."
    lines = [["scan", "state", "judged", "left", "doubt mL", "min", "actions"]]
    for row in rows:
        lines.append(
            [
                row.key,
                row.state.value,
                "-" if row.reviewed is None else f"{100 * row.reviewed:.0f} %",
                "-" if row.islands_left is None else f"{row.islands_left} of {row.islands}",
                "-" if row.benefit_ml is None else f"{row.benefit_ml:.1f}",
                f"{row.minutes:.1f}" if row.minutes else "-",
                str(row.actions) if row.actions else "-",
            ]
        )
    problems = [row.problem for row in rows if row.problem]
    following = worklist.next_scan()
    last = "All scans are done." if following is None else f"Next: {following}"
    return "\n".join([table(lines), *problems, curve.in_words, last])
