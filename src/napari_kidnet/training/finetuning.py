"""Fine-tuning in place: from corrected scans to a better checkpoint, and never to a worse one in use.

Beside the new checkpoint ``NAME.safetensors`` a run keeps a folder ``NAME.finetuning`` until it is done::

    patches/             the corrected scans, presliced
    state.safetensors    the run after some steps; it goes on from there
    best.safetensors     the best by the guard so far

The folder goes last: a checkpoint with such a folder beside it is that of a run which was killed after
writing it, and the same call does what is left to do.

The steps: read what was corrected; bring earlier scans to replay, or draw phantoms; measure the old
checkpoint; train; measure the new one; use it, or keep it as a candidate and say why.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from napari_kidnet.errors import KidnetError, OutputError
from napari_kidnet.network.checkpoint import Checkpoint, load_checkpoint
from napari_kidnet.network.header import read_checkpoint_header
from napari_kidnet.scans.writing import ensure_writable
from napari_kidnet.training.finetune_run import (
    FinetuneProgress,
    FinetuneResult,
    FinetuneRun,
    Replay,
    chance_of,
)
from napari_kidnet.training.finetune_settings import FinetuneSettings
from napari_kidnet.training.guard import Figures
from napari_kidnet.training.lineage import activate, active_checkpoint

if TYPE_CHECKING:
    from napari_kidnet.scans import Case
    from napari_kidnet.training.corrections import Correction

__all__ = ["FinetuneProgress", "FinetuneResult", "finetune", "finetune_steps"]

FinetuneSteps = Generator[FinetuneProgress, object, FinetuneResult]


def finetune_steps(
    checkpoint: Checkpoint | Path | str | None,
    cases: Sequence[Case | Correction],
    out: Path | str,
    settings: FinetuneSettings | None = None,
    replay: Replay = "beside",
    resume: bool = True,
) -> FinetuneSteps:
    """Fine-tune a checkpoint on corrected scans, reporting each step.

    Closing the generator saves the state, from which a later call goes on, and changes nothing else;
    sending ``"stop"`` into it ends the run early and keeps the best so far.

    Parameters
    ----------
    checkpoint : Checkpoint, Path, str or None
        Where to start; None takes the one in use beside ``out``, or the shipped one.
    cases : sequence of Case or Correction
        The corrected scans.
    out : Path or str
        The checkpoint to write; it must not be there yet.
    settings : FinetuneSettings, optional
        Time, learning rate, mode and so on.
    replay : "beside", sequence of Case, or None
        What is learned again: the scans kept beside ``out`` (phantoms at first), these earlier cases, or
        nothing; then the network is held to its old opinion where nobody has reviewed.
    resume : bool
        Go on from a saved state of the same settings and corrections; False begins anew.

    Yields
    ------
    FinetuneProgress
        One for each scan made ready, then one for each step.

    Returns
    -------
    FinetuneResult
        The new checkpoint, whether it is in use, and why.
    """
    settings = settings or FinetuneSettings()
    out = Path(out)
    work = out.with_name(f"{out.stem}.finetuning")
    if out.exists():
        return _finish(_result_of(out, work), work, checkpoint)
    ensure_writable(out)
    parent = _parent(checkpoint, out.parent)
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{work} cannot be made ({error.strerror or error}); choose another place."
        ) from error
    threads = torch.get_num_threads()
    torch.set_num_threads(settings.training(parent).threads or threads)
    run = FinetuneRun(parent, out, work, settings)
    try:
        yield from run.prepare(cases, replay)
        yield from run.train()
        result = run.conclude()
    except KidnetError:
        if not any(work.glob("*.safetensors")):
            shutil.rmtree(work, ignore_errors=True)  # refused before anything was learned
        raise
    finally:
        torch.set_num_threads(threads)
    for correction, role in run.to_keep:
        run.ring.add(correction, role, chance_of(correction))
    return _finish(result, work, checkpoint)


def finetune(
    checkpoint: Checkpoint | Path | str | None,
    cases: Sequence[Case | Correction],
    out: Path | str,
    settings: FinetuneSettings | None = None,
    replay: Replay = "beside",
) -> FinetuneResult:
    """Fine-tune a checkpoint on corrected scans; see `finetune_steps`."""
    from napari_kidnet.progress import drain

    return drain(finetune_steps(checkpoint, cases, out, settings, replay))


def _parent(checkpoint: Checkpoint | Path | str | None, folder: Path) -> Checkpoint:
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    return load_checkpoint(active_checkpoint(folder) if checkpoint is None else checkpoint)


def _result_of(out: Path, work: Path) -> FinetuneResult:
    """Return what a run had decided that was killed after it had written its checkpoint."""
    try:
        if not work.is_dir():
            raise ValueError("no run was broken off here")
        found = read_checkpoint_header(out)["record"]["finetuning"]
        before, after = Figures(**found["before"]), Figures(**found["after"])
        return FinetuneResult(out, bool(found["activated"]), before, after, str(found["reason"]))
    except (KidnetError, ValueError, KeyError, TypeError):
        raise OutputError(
            f"{out} is there already, and fine-tuning never writes over a checkpoint; give another name."
        ) from None


def _finish(result: FinetuneResult, work: Path, parent: Checkpoint | Path | str | None) -> FinetuneResult:
    """Do what comes last; it may be done twice."""
    if result.activated:
        activate(result.candidate)
    elif not isinstance(parent, Checkpoint | None):
        _stay(Path(parent), result.candidate.parent)
    shutil.rmtree(work, ignore_errors=True)
    return result


def _stay(checkpoint: Path, folder: Path) -> None:
    """Keep the checkpoint of a folder in use that was so without having been chosen."""
    if checkpoint.resolve().parent == folder.resolve() and active_checkpoint(folder) is None:
        activate(checkpoint)
