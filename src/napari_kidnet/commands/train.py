"""``kidnet train``: cases in, a checkpoint out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console
from napari_kidnet.commands.learning import add_reviewed, labelled_cases, told
from napari_kidnet.commands.options import add_overwrite, add_quiet, fraction, millimetres, positive
from napari_kidnet.commands.outputs import need_space, refuse_existing, writable_folder

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.training import TrainProgress, TrainSettings

__all__ = ["declare"]

_SETTINGS = (
    *("schema", "strict", "steps", "batch", "patch_voxels", "spacing", "learning_rate", "ema", "dice"),
    *("skeleton_recall", "deep_supervision", "free_share", "device", "seed", "validate_every", "threads"),
)
"""Options that are settings of the training, of the same name; those not given keep its defaults."""


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
    add_reviewed(verb)
    verb.add_argument("--out", required=True, type=Path, metavar="F", help="the checkpoint (.safetensors)")
    verb.add_argument(
        "--validation", nargs="+", type=Path, metavar="DIR", default=[], help="other cases, to choose by"
    )
    verb.add_argument("--validate-every", type=positive, metavar="N", help="steps (default: at the end)")
    verb.add_argument("--initial", type=Path, metavar="F", help="start from this checkpoint's weights")
    verb.add_argument("--restart", action="store_true", help="forget an interrupted training")
    verb.add_argument(
        "--schema", choices=["none", "dw", "rs", "dw+rs"], help="weighting and sampling (default dw+rs)"
    )
    verb.add_argument("--strict", action="store_true", default=None, help="the published schema, exactly")
    verb.add_argument(
        "--preset", choices=["tiny", "lite", "default", "large"], help="size of the network (default lite)"
    )
    verb.add_argument("--steps", type=positive, metavar="N", help="of the optimiser")
    verb.add_argument("--seed", type=int, metavar="S", help="the same seed gives the same weights")
    verb.add_argument("--batch", type=positive, metavar="N", help="patches in a step")
    verb.add_argument("--patch-voxels", type=positive, metavar="N", help="edge of a patch")
    verb.add_argument(
        "--spacing", nargs=3, type=millimetres, metavar=("Z", "Y", "X"), help="bring all cases to this grid"
    )
    verb.add_argument("--learning-rate", type=fraction, metavar="R", help="after warm-up")
    verb.add_argument("--ema", type=fraction, metavar="D", help="decay of averaged weights")
    for loss in ("dice", "skeleton-recall", "deep-supervision"):
        verb.add_argument(f"--{loss}", type=float, metavar="W", help="weight of this further loss")
    verb.add_argument("--free-share", type=fraction, metavar="P", help="part of patches without vessels")
    verb.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to run")
    verb.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all)")
    add_overwrite(verb)
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    if options.out.suffix != ".safetensors":
        options.usage_error("--out must end in .safetensors")
    writable_folder(options.out.parent, "--out")
    refuse_existing([options.out], options.overwrite)
    need_space(options.out.parent, 200)
    cases = labelled_cases(options.cases, options.reviewed)
    validation = labelled_cases(options.validation, options.reviewed)

    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.training import TrainInputs, train_steps

    settings = _settings(options)
    initial = None
    if options.initial is not None:
        initial = load_checkpoint(options.initial)
        settings = replace(settings, network=initial.network)
    inputs = TrainInputs(cases, validation, initial)
    steps = train_steps(inputs, options.out, settings, resume=not options.restart)
    checkpoint = console.follow(told(steps, console, _measured), "Training")
    console.say(f"{options.out}: trained on {len(cases)} cases (hash {checkpoint.hash[:12]})")
    return 0


def _settings(options: argparse.Namespace) -> TrainSettings:
    from napari_kidnet.network import PRESETS
    from napari_kidnet.training import TrainSettings

    given = {name: getattr(options, name) for name in _SETTINGS}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.spacing is not None:
        chosen["spacing"] = tuple(options.spacing)
    if options.preset is not None:
        chosen["network"] = PRESETS[options.preset]
    return TrainSettings(**chosen)


def _measured(step: TrainProgress) -> str | None:
    if step.validation is None:
        return None
    scores = ", ".join(f"{name} {value:.3f}" for name, value in step.validation.f1.items())
    return f"Validation after step {step.done}: F1 {scores}"
