"""``kidnet phantom``: scans of nobody, with their complete truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console
from napari_kidnet.commands.options import add_overwrite, add_quiet, millimetres, positive
from napari_kidnet.commands.outputs import check_folder, make_folder, refuse_existing

if TYPE_CHECKING:
    import argparse

__all__ = ["declare"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "phantom",
        help="make simulated scans with their truth",
        description="Make phantom scans: CT, complete truth, human-like annotation, kidneys, and a record.",
    )
    verb.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the cases")
    verb.add_argument("--cases", type=positive, default=1, metavar="N", help="how many (default 1)")
    verb.add_argument("--seed", type=int, default=0, metavar="S", help="the first case's seed (default 0)")
    verb.add_argument(
        "--phase",
        choices=["unenhanced", "arterial", "venous", "excretory"],
        default="arterial",
        help="when the contrast was seen (default arterial)",
    )
    verb.add_argument(
        "--field", choices=["crop", "full"], default="crop", help="about one kidney, or the whole abdomen"
    )
    verb.add_argument(
        "--spacing",
        nargs=3,
        type=millimetres,
        metavar=("Z", "Y", "X"),
        help="mm (default: drawn)",
    )
    verb.add_argument(
        "--variety",
        choices=["typical", "wide"],
        default="typical",
        help="HU, noise and blur as in the literature, or far beyond, to train on",
    )
    verb.add_argument("--anatomy", type=Path, metavar="LABELS", help="deform this label map of a real person")
    verb.add_argument("--names", type=Path, metavar="JSON", help="which structure each label is")
    add_overwrite(verb)
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    if (options.anatomy is None) != (options.names is None):
        options.usage_error("--anatomy and --names go together")
    if options.seed < 0:
        options.usage_error("--seed must be 0 or more")
    check_folder(options.out, "--out")

    from napari_kidnet.phantom import PhantomSettings, load_label_map, phantom_steps

    anatomy = None if options.anatomy is None else load_label_map(options.anatomy, options.names)
    settings = PhantomSettings(
        phase=options.phase,
        field=options.field,
        spacing=None if options.spacing is None else tuple(options.spacing),
        label_map=anatomy,
        variety=options.variety,
    )
    seeds = range(options.seed, options.seed + options.cases)
    names = [f"phantom-{seed:04d}-{options.phase}_ct.nii.gz" for seed in seeds]
    refuse_existing([options.out / name for name in names], options.overwrite)
    make_folder(options.out)
    console.follow(phantom_steps(options.out, options.cases, options.seed, settings), "Phantoms")
    console.say(f"{options.out}: {options.cases} phantom case{'s' if options.cases > 1 else ''}")
    return 0
