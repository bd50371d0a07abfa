"""Options that several verbs share, and the checks of their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = [
    "add_engine_options",
    "add_overwrite",
    "add_quiet",
    "add_scan_options",
    "fraction",
    "html_path",
    "json_target",
    "millimetres",
    "positive",
    "reading_options",
]


def add_engine_options(verb: argparse.ArgumentParser, checkpoint: str = "the shipped one") -> None:
    """Add ``--checkpoint``, with what its default is, ``--device``, ``--engine`` and ``--threads``."""
    verb.add_argument("--checkpoint", type=Path, metavar="F", help=f"the network (default: {checkpoint})")
    verb.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="where to run")
    verb.add_argument(
        "--engine", choices=["auto", "torch", "openvino"], default="auto", help="what runs the network"
    )
    verb.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all)")


def add_scan_options(verb: argparse.ArgumentParser) -> None:
    """Add what a scan's file may leave open: the series, the zero of its intensities, its spacing."""
    verb.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    verb.add_argument(
        "--intensity-offset",
        type=float,
        metavar="HU",
        help="what to add to stored values to get HU (-1024 for HU + 1024)",
    )
    verb.add_argument(
        "--spacing",
        nargs=3,
        type=millimetres,
        metavar=("Z", "Y", "X"),
        help="voxel size in mm, for files that do not say",
    )


def reading_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return what `add_scan_options` took, as the keywords of ``read_scan``."""
    return {
        "series": options.series,
        "intensity_offset": options.intensity_offset,
        "spacing": None if options.spacing is None else tuple(options.spacing),
    }


def add_overwrite(verb: argparse.ArgumentParser) -> None:
    """Add ``--overwrite``."""
    verb.add_argument("--overwrite", action="store_true", help="replace files that are there already")


def add_quiet(verb: argparse.ArgumentParser) -> None:
    """Add ``--quiet``."""
    verb.add_argument("--quiet", action="store_true", help="no progress, only results and errors")


def json_target(text: str) -> str:
    """Check the argument of ``--json``: ``-``, or a file that cannot be mistaken for data (argparse type)."""
    if text != "-" and not text.lower().endswith(".json"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .json, or be - for standard output")
    return text


def html_path(text: str) -> Path:
    """Check the argument of ``--html`` (argparse type)."""
    if not text.lower().endswith((".html", ".htm")):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .html")
    return Path(text)


def positive(text: str) -> int:
    """Check a number of things (argparse type)."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 on")
    return int(text)


def fraction(text: str) -> float:
    """Check a number from 0 to 1 (argparse type)."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number from 0 to 1")
    return value


def millimetres(text: str) -> float:
    """Check a length in mm (argparse type)."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a length in mm, larger than 0")
    return value
