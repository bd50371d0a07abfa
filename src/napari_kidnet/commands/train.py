"""``kidnet train``: cases in, a checkpoint out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console
from napari_kidnet.commands.options import add_overwrite, add_quiet, positive
from napari_kidnet.commands.outputs import need_space, refuse_existing, writable_folder
from napari_kidnet.errors import ScanError

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.scans import Case

__all__ = ["declare", "labelled_cases"]


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "train",
        help="train a network on labelled cases",
        description="Train Kid-Net on cases (NAME_ct.nii.gz with NAME_labels.nii.gz beside it). An "
        "interrupted training goes on where it was when the same command is given again.",
    )
    verb.add_argument(
        "--cases", required=True, nargs="+", type=Path, metavar="DIR", help="folders with labelled cases"
    )
    verb.add_argument("--out", required=True, type=Path, metavar="F", help="the checkpoint (.safetensors)")
    verb.add_argument(
        "--schema", choices=["none", "dw", "rs", "dw+rs"], default="dw+rs", help="weighting and sampling"
    )
    verb.add_argument("--strict", action="store_true", help="the published schema, to the letter")
    verb.add_argument("--steps", type=positive, metavar="N", help="how long")
    verb.add_argument("--seed", type=int, default=0, metavar="S", help="the same seed gives the same weights")
    verb.add_argument("--preset", choices=["tiny", "lite", "default", "large"], help="size of the network")
    verb.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto", help="where to run")
    add_overwrite(verb)
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def labelled_cases(folders: list[Path]) -> list[Case]:
    """Return the cases of all folders that have labels.

    Raises
    ------
    ScanError
        A folder holds no such case.
    """
    from napari_kidnet.scans import list_cases

    cases: list[Case] = []
    for folder in folders:
        found = [case for case in list_cases(folder) if case.labels is not None]
        if not found:
            raise ScanError(
                f"{folder} holds no labelled case; put NAME_ct.nii.gz and NAME_labels.nii.gz into it."
            )
        cases += found
    return cases


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    if options.out.suffix != ".safetensors":
        options.usage_error("--out must end in .safetensors")
    writable_folder(options.out.parent, "--out")
    refuse_existing([options.out], options.overwrite)
    need_space(options.out.parent, 200)
    cases = labelled_cases(options.cases)

    from napari_kidnet.training import TrainSettings, train_steps

    settings = TrainSettings(**_chosen(options))
    checkpoint = console.follow(train_steps(cases, options.out, settings), "Training")
    console.say(f"{options.out}: trained on {len(cases)} cases (hash {checkpoint.hash[:12]})")
    return 0


def _chosen(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given; the others keep the defaults of ``TrainSettings``."""
    chosen: dict[str, Any] = {
        "schema": options.schema,
        "strict": options.strict,
        "seed": options.seed,
        "device": options.device,
    }
    if options.steps is not None:
        chosen["steps"] = options.steps
    if options.preset is not None:
        chosen["preset"] = options.preset
    return chosen
