"""The training loop: batches, weighted loss, Adam, saved states, validation, the checkpoint at the end.

Beside the checkpoint ``NAME.safetensors`` a run keeps a folder ``NAME.training``::

    patches/             the presliced store
    state.safetensors    the run after some steps; it goes on from there
    latest.safetensors   a checkpoint at the last validation (or saved state, without validation cases)
    best.safetensors     the checkpoint with the best validation so far

The checkpoint itself appears at the end, at once. A run that was broken off at any moment and is started
again with the same settings reaches the same weights as an unbroken one, bit by bit on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_kidnet.classes import VESSELS
from napari_kidnet.errors import OutputError, SettingsError
from napari_kidnet.network.checkpoint import Checkpoint, save_checkpoint
from napari_kidnet.progress import Progress
from napari_kidnet.scans.writing import ensure_writable
from napari_kidnet.training.patches import PatchStore
from napari_kidnet.training.run import Run
from napari_kidnet.training.validation import Validation, Validator

if TYPE_CHECKING:
    from napari_kidnet.scans import Case
    from napari_kidnet.training.settings import TrainSettings

__all__ = ["TrainInputs", "TrainProgress", "train", "train_steps"]


@dataclass(frozen=True, slots=True)
class TrainInputs:
    """What is trained on.

    Attributes
    ----------
    cases : sequence of Case, or PatchStore
        With labels.
    validation : sequence of Case
        Other cases, with labels; the best checkpoint and its sensitivity are chosen by them.
    initial : Checkpoint, optional
        Weights to start from, of the same network.
    """

    cases: Sequence[Case] | PatchStore
    validation: Sequence[Case] = ()
    initial: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class TrainProgress(Progress):
    """Progress of a run.

    Attributes
    ----------
    loss : float
        Of this step's batch; NaN before the first.
    f1 : tuple of float or None
        Of this step's patches, for each vessel class; None where it was neither there nor found.
    class_weights : tuple of float
        CW after this batch.
    validation : Validation, optional
        On whole scans, when it was made after this step.
    """

    loss: float = math.nan
    f1: tuple[float | None, ...] = (None,) * len(VESSELS)
    class_weights: tuple[float, ...] = ()
    validation: Validation | None = None


TrainSteps = Generator[TrainProgress, None, Checkpoint]


def train_steps(
    inputs: TrainInputs | Sequence[Case] | PatchStore,
    out: Path | str,
    settings: TrainSettings,
    resume: bool = True,
) -> TrainSteps:
    """Train a network, reporting each step.

    Closing the generator saves the state, from which a later call goes on.

    Parameters
    ----------
    inputs : TrainInputs, or the cases alone
        What is trained on.
    out : Path or str
        The checkpoint to write.
    settings : TrainSettings
        Everything else.
    resume : bool
        Go on from a saved state of the same settings; False begins anew.

    Yields
    ------
    TrainProgress
        One for each case that is made ready, one for each step.

    Returns
    -------
    Checkpoint
        The best by validation, or the last one where there are no validation cases.
    """
    given = inputs if isinstance(inputs, TrainInputs) else TrainInputs(inputs)
    out = Path(out)
    ensure_writable(out)
    folder = out.with_name(f"{out.stem}.training")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror or error}); choose another place."
        ) from error
    validator = Validator(given.validation, settings.device, settings.threads)
    store = yield from _ready(given.cases, folder / "patches", settings)
    store.check(settings.strict)
    run = Run(store, given.initial, folder, settings)
    if resume:
        run.resume()
    else:
        run.forget()
    with closing(run.batches()) as batches:
        try:
            for batch in batches:
                loss, f1 = run.step(batch)
                found = (
                    run.validate(validator) if run.due(settings.validate_every) and len(validator) else None
                )
                if run.due(settings.save_every) or found is not None:
                    run.save()
                what = f"Training on {len(store)} cases ({run.where})"
                weights = tuple(float(each) for each in run.weighting_after(batch))
                yield TrainProgress(run.done, settings.steps, what, loss, f1, weights, found)
        finally:
            run.save()
    if len(validator) and not run.validated:
        run.validate(validator)
        run.save()
    result = run.result()
    save_checkpoint(out, result)
    return result


def train(
    inputs: TrainInputs | Sequence[Case] | PatchStore,
    out: Path | str,
    settings: TrainSettings,
    resume: bool = True,
) -> Checkpoint:
    """Train a network and return its checkpoint; see `train_steps`."""
    from napari_kidnet.progress import drain

    return drain(train_steps(inputs, out, settings, resume))


def _ready(
    cases: Sequence[Case] | PatchStore, folder: Path, settings: TrainSettings
) -> Generator[TrainProgress, None, PatchStore]:
    if isinstance(cases, PatchStore):
        if (cases.patch_voxels, cases.spacing) != (settings.patch_voxels, settings.spacing):
            raise SettingsError(
                f"The stored patches have {cases.patch_voxels} voxels on a grid of {cases.spacing}, "
                f"the training asks for {settings.patch_voxels} on {settings.spacing}; make them alike."
            )
        return cases
    store = PatchStore(folder, settings.patch_voxels, settings.spacing)
    for number, case in enumerate(cases, start=1):
        store.add_files(case)
        yield TrainProgress(0, settings.steps, f"Preparing case {number} of {len(cases)}")
    return store
