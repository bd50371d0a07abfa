"""``kidnet demo``: the main job from end to end, with nothing but the package."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.commands.console import Console, write_json
from napari_kidnet.commands.evaluate import results_in_words
from napari_kidnet.commands.options import add_engine_options, add_overwrite, add_quiet
from napari_kidnet.commands.outputs import check_folder, make_folder, need_space, refuse_existing

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.phantom import PhantomCase
    from napari_kidnet.segmentation import Prediction

__all__ = ["declare"]

_FIRST_TEST_SEED: Final = 1000
"""Seeds below are trained and validated on; a demonstration on those would flatter."""

_FILES: Final = {
    "scan.nii.gz": "the CT scan: a phantom, not a person",
    "truth.nii.gz": "what every voxel of it is",
    "kidneys.nii.gz": "its kidneys, for the kidney box",
    "labels.nii.gz": "what Kid-Net makes of it",
    "evaluation.json": "how well they agree",
    "report.html": "all of it with pictures: open this one",
}


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "demo",
        help="make a phantom scan, segment it, and report with pictures",
        description="Make a phantom scan, segment it, compare with the truth, write a report with pictures.",
    )
    verb.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="folder (default: demo)")
    verb.add_argument(
        "--seed",
        type=int,
        default=_FIRST_TEST_SEED,
        metavar="S",
        help=f"another phantom; from {_FIRST_TEST_SEED} on, as lower ones were trained on",
    )
    add_engine_options(verb)
    add_overwrite(verb)
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    began = time.monotonic()
    if options.seed < _FIRST_TEST_SEED:
        options.usage_error(f"--seed must be {_FIRST_TEST_SEED} or more: lower ones were trained on")
    folder: Path = options.out
    check_folder(folder, "--out")
    refuse_existing([folder / name for name in _FILES], options.overwrite)
    need_space(folder, 100)

    from napari_kidnet.evaluation import evaluate
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.phantom import PhantomSettings, make_case
    from napari_kidnet.scans import write_labels, write_scan
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    checkpoint = load_checkpoint(options.checkpoint)
    console.remark("Making a phantom scan ...")
    case = make_case(options.seed, PhantomSettings(phase="arterial", field="crop"))
    scan = case.scan
    make_folder(folder)
    write_scan(folder / "scan.nii.gz", scan)
    write_labels(folder / "truth.nii.gz", case.truth, scan)
    write_labels(folder / "kidneys.nii.gz", case.kidneys, scan)
    settings = SegmentSettings(device=options.device, engine=options.engine, threads=options.threads)
    prediction = console.follow(segment_steps(scan, checkpoint, settings), "Segmenting it")
    write_labels(folder / "labels.nii.gz", prediction.labels, scan, predicted=True)
    console.remark("Comparing it with the truth ...")
    results = evaluate(prediction.labels, case.truth, scan.spacing, case.kidneys)
    write_json(str(folder / "evaluation.json"), results)
    _write_report(folder / "report.html", case, prediction, results)

    console.say(results_in_words(results))
    console.say("")
    for name, what in _FILES.items():
        console.say(f"{folder / name}  {what}")
    console.say(f"\nDone in {time.monotonic() - began:.0f} s ({prediction.where}).")
    return 0


def _write_report(path: Path, case: PhantomCase, prediction: Prediction, results: dict[str, Any]) -> None:
    from napari_kidnet.evaluation import draw_pictures, write_html

    scan = case.scan
    size = " × ".join(str(voxels) for voxels in scan.shape)
    spacing = " × ".join(f"{mm:.2f}" for mm in scan.spacing)
    notes = [
        "The scan is a phantom: simulated, of nobody. It was not among those that the network learned from.",
        f"{size} voxels of {spacing} mm (z, y, x), arterial phase; ran on {prediction.where}.",
        "Kid-Net is a research tool and not a medical device.",
    ]
    pictures = draw_pictures(scan.hu, prediction.labels, scan.spacing, case.truth)
    write_html(path, results, pictures, title="Kid-Net on a phantom scan", notes=notes)
