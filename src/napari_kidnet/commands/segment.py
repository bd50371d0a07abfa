"""``kidnet segment``: scans in, labels out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, explain, write_json
from napari_kidnet.commands.options import (
    add_engine_options,
    add_overwrite,
    add_quiet,
    add_scan_options,
    json_target,
    reading_options,
)
from napari_kidnet.commands.outputs import (
    case_name,
    check_folder,
    is_volume_name,
    make_folder,
    need_space,
    refuse_existing,
    refuse_inputs,
    writable_folder,
)

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.network import Checkpoint
    from napari_kidnet.scans import Scan
    from napari_kidnet.segmentation import Prediction, SegmentSettings

__all__ = ["declare", "volumes_by_class"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "segment",
        help="label artery, vein and collecting system in scans",
        description="Segment scans. Labels are written on each scan's own grid.",
    )
    verb.add_argument(
        "scans", nargs="+", type=Path, metavar="SCAN", help="NIfTI, TIFF stack, or folder with a DICOM series"
    )
    verb.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="PATH",
        help="one SCAN: a file (.nii.gz, .nii) or a folder; several: a folder, for NAME_labels.nii.gz each",
    )
    add_engine_options(
        verb, "the active one of your checkpoints, else the shipped one; shipped names that one"
    )
    verb.add_argument("--sensitivity", type=float, metavar="S", help="0 (few, sure vessels) to 1 (all)")
    verb.add_argument(
        "--probabilities", type=Path, metavar="PATH", help="write the classes' probabilities, too (as --out)"
    )
    verb.add_argument(
        "--box", nargs=6, type=int, metavar=("z0", "z1", "y0", "y1", "x0", "x1"), help="only these voxels"
    )
    add_scan_options(verb)
    verb.add_argument("--json", type=json_target, metavar="F", help="a summary (- for standard output)")
    add_overwrite(verb)
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


@dataclass(frozen=True, slots=True)
class _Task:
    scan: Path
    labels: Path
    probabilities: Path | None

    @property
    def outputs(self) -> list[Path]:
        return [self.labels] if self.probabilities is None else [self.labels, self.probabilities]


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    if options.series is not None and len(options.scans) > 1:
        options.usage_error("--series names one series: give one SCAN with it")
    tasks = _tasks(options)

    from napari_kidnet.labelling.in_use import SHIPPED, checkpoint_named
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.segmentation import SegmentSettings

    settings = SegmentSettings(
        device=options.device,
        engine=options.engine,
        sensitivity=options.sensitivity,
        box=None if options.box is None else tuple(options.box),
        threads=options.threads,
        keep_probabilities=options.probabilities is not None,
    )
    named = checkpoint_named(options.checkpoint)
    if options.checkpoint is None and named is not None:
        console.remark(f"Network: {named}, the active one; --checkpoint {SHIPPED} takes the one shipped.")
    checkpoint = load_checkpoint(named)
    reports: list[dict[str, Any]] = []
    for task in tasks:
        try:
            report = _segment_one(task, checkpoint, settings, options, console)
        except Exception as error:
            if len(tasks) == 1:
                raise
            sentence = explain(error)  # the rest of the batch goes on
            console.warn(sentence if task.scan.name in sentence else f"{task.scan}: {sentence}")
            report = {"scan": str(task.scan), "error": sentence}
        else:
            (console.remark if options.json == "-" else console.say)(_in_words(report))
        reports.append(report)
    failed = [each["scan"] for each in reports if each["error"] is not None]
    if options.json is not None:
        write_json(options.json, {"scans": reports})
    if failed:
        done = len(tasks) - len(failed)
        console.warn(f"{done} of {len(tasks)} scans were segmented; these were not: {', '.join(failed)}.")
    return 1 if failed else 0


def _tasks(options: argparse.Namespace) -> list[_Task]:
    """Decide every output's name, and refuse what can be refused before any work."""
    several = len(options.scans) > 1
    tasks = []
    for scan in options.scans:
        labels = _place(options.out, "--out", scan, "labels", several)
        kept = options.probabilities
        probabilities = None
        if kept is not None:
            probabilities = _place(kept, "--probabilities", scan, "probabilities", several)
        tasks.append(_Task(scan, labels, probabilities))
    owner: dict[Path, Path] = {}
    for task in tasks:
        for output in task.outputs:
            if output in owner:
                options.usage_error(
                    f"{owner[output]} and {task.scan} would both be written to {output}: rename one, or "
                    "give them apart"
                )
            owner[output] = task.scan
    refuse_inputs(owner, options.scans)
    refuse_existing(owner, options.overwrite)
    if options.json not in (None, "-"):
        writable_folder(Path(options.json).parent, "--json")
    return tasks


def _place(target: Path, option: str, scan: Path, what: str, several: bool) -> Path:
    if is_volume_name(target) and not several and not target.is_dir():
        writable_folder(target.parent, option)
        return target
    check_folder(target, option)
    return target / f"{case_name(scan)}_{what}.nii.gz"


def _segment_one(
    task: _Task,
    checkpoint: Checkpoint,
    settings: SegmentSettings,
    options: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    from napari_kidnet.scans import read_scan, write_labels
    from napari_kidnet.segmentation import segment_steps

    began = time.monotonic()
    scan = read_scan(task.scan, **reading_options(options))
    for note in scan.notes:
        console.remark(f"{task.scan.name}: {note}")
    _check_space(task, scan)
    prediction = console.follow(segment_steps(scan, checkpoint, settings), task.scan.name)
    for output in task.outputs:
        make_folder(output.parent)
    if task.probabilities is not None:
        _write_probabilities(task.probabilities, prediction, scan)
    write_labels(task.labels, prediction.labels, scan, predicted=True)  # last: where it is, all is
    device, _, engine = prediction.where.partition(";")[0].partition(", ")
    voxels, ml = volumes_by_class(prediction.labels, scan.spacing)
    return {
        "scan": str(task.scan),
        "error": None,
        "labels": str(task.labels),
        "probabilities": None if task.probabilities is None else str(task.probabilities),
        "seconds": round(time.monotonic() - began, 2),
        "device": device,
        "engine": engine,
        "ran_on": prediction.where,
        "notes": list(scan.notes),
        "sensitivity": round(float(prediction.sensitivity), 4),
        "voxels": voxels,
        "ml": ml,
    }


def _check_space(task: _Task, scan: Scan) -> None:
    voxels = scan.hu.size
    # Labels compress to less than a tenth of a byte a voxel, smooth probabilities (float32, four
    # classes) to about a third; an uncompressed file is as large as it is.
    label_bytes = 1.0 if task.labels.suffix == ".nii" else 0.1
    need_space(task.labels.parent, voxels * label_bytes / 1e6 + 1)
    if task.probabilities is not None:
        need_space(task.probabilities.parent, voxels * 16 / 1e6 + 1)


def _write_probabilities(path: Path, prediction: Prediction, scan: Scan) -> None:
    import numpy as np

    from napari_kidnet.scans import write_probabilities

    if prediction.log_probabilities is not None:
        probabilities = np.exp(prediction.log_probabilities, dtype=np.float32)
        decided = (prediction.class_weights.tolist(), prediction.sensitivity)
        write_probabilities(path, probabilities, scan, decided)


def volumes_by_class(
    labels: Any, spacing: tuple[float, float, float]
) -> tuple[dict[str, int], dict[str, float]]:
    """Return voxels and mL of each vessel class in labels, uint8 (z, y, x), of this spacing (mm)."""
    import numpy as np

    from napari_kidnet.classes import VESSELS

    counts = np.bincount(labels.reshape(-1), minlength=4)
    ml_per_voxel = float(np.prod(spacing)) / 1000
    voxels = {each.name: int(counts[each.id]) for each in VESSELS}
    return voxels, {name: round(count * ml_per_voxel, 3) for name, count in voxels.items()}


def _in_words(report: dict[str, Any]) -> str:
    from napari_kidnet.classes import VESSELS

    volumes = ", ".join(f"{each.title.lower()} {report['ml'][each.name]:.1f} mL" for each in VESSELS)
    return f"{report['labels']}: {volumes} ({report['seconds']:.0f} s, {report['ran_on']})"
