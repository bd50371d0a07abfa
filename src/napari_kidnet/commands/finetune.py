"""``kidnet finetune``: corrected scans in, a better checkpoint out, and never a worse one in use."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands.console import Console, table, write_json
from napari_kidnet.commands.learning import add_reviewed, labelled_cases, told
from napari_kidnet.commands.options import add_quiet, fraction, json_target, positive
from napari_kidnet.commands.outputs import need_space, writable_folder

if TYPE_CHECKING:
    import argparse

    from napari_kidnet.training.finetune_run import FinetuneProgress, FinetuneResult, Replay
    from napari_kidnet.training.finetune_settings import FinetuneSettings

__all__ = ["declare"]

_SETTINGS = (
    *("steps", "minutes", "learning_rate", "mode", "schema", "strict", "batch", "patch_voxels"),
    *("replay_share", "largest_drop", "validations", "device", "seed", "threads"),
)
"""Options that are settings of the fine-tuning, of the same name; those not given keep its defaults."""


def declare(verbs: Any) -> None:
    """Add the verb to the parser."""
    verb: argparse.ArgumentParser = verbs.add_parser(
        "finetune",
        help="learn from corrected scans, without forgetting the earlier ones",
        description="Fine-tune a checkpoint on corrected cases (NAME_ct.nii.gz, NAME_labels.nii.gz, and "
        "NAME_reviewed.nii.gz where not all was looked at). The old checkpoint stays in use if the new one "
        "is worse on scans that nothing is learned from. An interrupted run goes on when the same command "
        "is given again.",
    )
    verb.add_argument(
        "--checkpoint",
        type=Path,
        metavar="F",
        help="where to start, or: shipped (default: the active one beside --out)",
    )
    verb.add_argument(
        "--cases", required=True, nargs="+", type=Path, metavar="DIR", help="folders with corrected cases"
    )
    add_reviewed(verb)
    verb.add_argument(
        "--out", type=Path, metavar="F2", help="the new one (default: a new .safetensors among your own)"
    )
    replay = verb.add_mutually_exclusive_group()
    replay.add_argument("--replay", nargs="+", type=Path, metavar="DIR", help="folders with earlier cases")
    replay.add_argument(
        "--no-replay", action="store_true", help="keep no patches; hold to the old opinion instead"
    )
    verb.add_argument("--minutes", type=float, metavar="M", help="time for all of it (default 3)")
    verb.add_argument("--steps", type=positive, metavar="N", help="so many steps, however long they take")
    verb.add_argument("--mode", choices=["whole", "decoder"], help="what learns (default whole)")
    verb.add_argument("--schema", choices=["none", "dw", "rs", "dw+rs"], help="default: the checkpoint's")
    verb.add_argument("--strict", action="store_true", default=None, help="no caps on weights, as published")
    verb.add_argument(
        "--learning-rate",
        type=fraction,
        metavar="R",
        help="after warm-up (default 0.0003; a checkpoint that has seen few scans needs 0.001)",
    )
    verb.add_argument("--replay-share", type=fraction, metavar="P", help="of the patches (default 0.5)")
    verb.add_argument(
        "--largest-drop", type=fraction, metavar="D", help="of the mean F1 that is accepted (default 0.02)"
    )
    verb.add_argument("--validations", type=positive, metavar="N", help="measurements (default 2)")
    verb.add_argument("--batch", type=positive, metavar="N", help="patches in a step")
    verb.add_argument("--patch-voxels", type=positive, metavar="N", help="edge (default: the checkpoint's)")
    verb.add_argument("--seed", type=int, metavar="S", help="the same seed and steps give the same weights")
    verb.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="where to run")
    verb.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default: all but one)")
    verb.add_argument("--restart", action="store_true", help="forget an interrupted run")
    verb.add_argument("--json", type=json_target, metavar="F", help="the result as JSON, - for the screen")
    add_quiet(verb)
    verb.set_defaults(run=_run, usage_error=verb.error)


def _run(options: argparse.Namespace) -> int:
    console = Console(options.quiet)
    if options.out is not None and options.out.suffix != ".safetensors":
        options.usage_error("--out must end in .safetensors")
    if options.steps is not None and options.minutes is not None:
        options.usage_error("--steps and --minutes exclude each other")

    from napari_kidnet.labelling.in_use import checkpoint_named, next_name, own_folder, prepared_folder
    from napari_kidnet.network.header import default_checkpoint_path

    out: Path | None = options.out
    if out is None:
        own = prepared_folder(own_folder())
        out = own / f"{next_name(own)}.safetensors"
        console.remark(f"The new checkpoint: {out}")
    writable_folder(out.parent, "--out")
    need_space(out.parent, 500)
    cases = labelled_cases(options.cases, options.reviewed)
    earlier = labelled_cases(options.replay, options.reviewed) if options.replay else None

    from napari_kidnet.training.finetuning import finetune_steps

    settings = _settings(options)
    replay: Replay = "beside" if earlier is None else earlier
    if options.no_replay:
        replay = None
    start: Path | None = options.checkpoint
    if start is not None:
        start = checkpoint_named(start) or default_checkpoint_path()
    steps = finetune_steps(start, cases, out, settings, replay, resume=not options.restart)
    result = console.follow(told(steps, console, _measured), "Fine-tuning")
    _note(options.cases, result)
    if options.json:
        write_json(options.json, {**asdict(result), "candidate": str(result.candidate)})
    if options.json != "-":
        console.say(_in_words(result))
    return 0


def _note(folders: list[Path], result: FinetuneResult) -> None:
    """Mark the fine-tuning in the worklists of the folders that it learned from."""
    from napari_kidnet.labelling.worklist import LIST_FILE, Worklist

    for folder in folders:
        if (folder / LIST_FILE).is_file():
            Worklist(folder).note_finetuning(result.candidate.name, result.activated)


def _settings(options: argparse.Namespace) -> FinetuneSettings:
    from napari_kidnet.training.finetune_settings import FinetuneSettings

    given = {name: getattr(options, name) for name in _SETTINGS}
    return FinetuneSettings(**{name: value for name, value in given.items() if value is not None})


def _in_words(result: FinetuneResult) -> str:
    rows = [["", "before", "after"]]
    before, after = result.before, result.after
    for name in after.f1:
        rows.append([f"F1 {name}", _figure(before.f1.get(name)), _figure(after.f1[name])])
    rows.append(["mean F1, earlier scans", _figure(before.old), _figure(after.old)])
    rows.append(["mean F1, corrected scans held out", _figure(before.new), _figure(after.new)])
    rows.append(["islands to delete", str(before.islands_to_delete), str(after.islands_to_delete)])
    used = "in use now" if result.activated else "not in use"
    return f"{table(rows)}\n{result.reason}\n{result.candidate}: {used}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _measured(step: FinetuneProgress) -> str | None:
    if step.figures is None:
        return None
    return f"Measured after step {step.done}: mean F1 {step.figures.mean_f1:.3f}"
