"""A fine-tuning that a person steers: pause, stop and keep the best, and a look at what it says by now."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.labelling.in_use import prepared_folder
from napari_kidnet.labelling.predicting import Report
from napari_kidnet.labelling.session import Box, Tile
from napari_kidnet.labelling.tuning.giving_way import giving_way_steps
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from napari_kidnet.labelling.tuning.lessons import Lesson
    from napari_kidnet.network import Checkpoint
    from napari_kidnet.scans import Scan
    from napari_kidnet.training.finetune_run import FinetuneProgress, FinetuneResult
    from napari_kidnet.training.finetune_settings import FinetuneSettings

__all__ = ["Reins", "TuneReport", "TuneRequest", "give_back_memory", "steps_kept", "tune_steps"]

DEFAULT_MINUTES: Final = 3.0

_WAIT_S: Final = 0.1
"""Between two reports of a run that is paused: so long does cancelling it take."""


@dataclass(frozen=True, slots=True)
class TuneRequest:
    """What to learn, from where, and to which file.

    Attributes
    ----------
    parent : Path
        The checkpoint to start from.
    out : Path
        The new one; a file of this name must not be there.
    lessons : tuple of Lesson
        What is learned from.
    schema : str, optional
        "none", "dw", "rs", "dw+rs"; None is the checkpoint's own.
    strict : bool
        As published, without caps.
    mode : {"whole", "decoder"}
        What learns.
    minutes : float
        The time for all of it.
    steps : int, optional
        So many steps, however long they take, in the place of ``minutes``.
    replay : Path or str
        "beside": what is kept beside the checkpoints; "none"; or a folder with earlier cases.
    device : str
        As in ``SegmentSettings``.
    resume : bool
        Go on with an interrupted run of the same name; False begins anew.
    """

    parent: Path
    out: Path
    lessons: tuple[Lesson, ...]
    schema: str | None = None
    strict: bool = False
    mode: str = "whole"
    minutes: float = DEFAULT_MINUTES
    steps: int | None = None
    replay: Path | str = "beside"
    device: str = "auto"
    resume: bool = True

    def settings(self) -> FinetuneSettings:
        """Return what the training is told."""
        from napari_kidnet.training.finetune_settings import FinetuneSettings

        values: dict[str, Any] = {"schema": self.schema, "strict": self.strict, "mode": self.mode}
        return FinetuneSettings(steps=self.steps, minutes=self.minutes, device=self.device, **values)


class Reins:
    """How a run is steered from another thread; all of it may be set at any time.

    Attributes
    ----------
    preview_every_s : float
        Seconds of training between two looks; 0 takes none.
    preview : tuple of Scan and Box, optional
        What to look at: the part of a scan that a person sees.
    """

    def __init__(self) -> None:
        self.preview_every_s = 0.0
        self.preview: tuple[Scan, Box] | None = None
        self._go = threading.Event()
        self._go.set()
        self.stopping = self.cancelling = False

    @property
    def paused(self) -> bool:
        """Whether the run waits after the step that it is at."""
        return not self._go.is_set()

    def pause(self) -> None:
        """Wait after the step that it is at; the time is not counted."""
        self._go.clear()

    def resume(self) -> None:
        """Go on."""
        self._go.set()

    def stop(self) -> None:
        """End after the step that it is at, and keep the best so far."""
        self.stopping = True
        self._go.set()

    def cancel(self) -> None:
        """End after the step that it is at, without a new checkpoint; the state is kept."""
        self.cancelling = True
        self._go.set()

    def wait(self, seconds: float) -> None:
        """Wait so long, or until the run goes on."""
        self._go.wait(seconds)


@dataclass(frozen=True, slots=True, eq=False)
class TuneReport(Report):
    """One step.

    Attributes
    ----------
    step : FinetuneProgress, optional
        Loss, weights and figures; without the weights of the network.
    paused : bool
        Whether it waits.
    tile : Tile, optional
        A preview: what the network says at this step.
    """

    step: FinetuneProgress | None = None
    paused: bool = False


def tune_steps(request: TuneRequest, reins: Reins) -> Generator[TuneReport, None, FinetuneResult | None]:
    """Fine-tune; closing this keeps the state, from which the same request goes on.

    To cancel by the reins rather than by closing lets the state be written where the work is done, and not in
    the thread that closes; the result is then None.

    Yields
    ------
    TuneReport
        First one before PyTorch is loaded, then one for each step.

    Raises
    ------
    KidnetError
        Nothing can be learned from these scans, or the file cannot be written.
    """
    yield TuneReport(Progress(0, 0, "Getting ready"))
    folder = prepared_folder(request.out.parent)
    from napari_kidnet.training.finetuning import finetune_steps

    cases = []
    for each in request.lessons:
        yield TuneReport(Progress(0, 0, f"Copying {each.name}"))
        if reins.cancelling:
            return None
        cases.append(each.correction())
    out, replay = folder / request.out.name, _replay_of(request.replay)
    steps = giving_way_steps(
        finetune_steps(request.parent, cases, out, request.settings(), replay, request.resume)
    )
    del cases
    try:
        return (yield from _steered(steps, reins, request.device))
    finally:
        steps.close()
        del steps
        give_back_memory()


def give_back_memory() -> None:
    """Hand memory that is free to the system, where the C library keeps it (glibc): 500 MB after a run."""
    trim = None
    with contextlib.suppress(OSError, AttributeError, TypeError):  # other systems do so by themselves
        trim = ctypes.CDLL(None).malloc_trim
    if trim is not None:
        trim(0)


def steps_kept(candidate: Path) -> int:
    """Return after how many steps a fine-tuned checkpoint was taken: the best need not be the last."""
    from napari_kidnet.network import read_checkpoint_header

    return int(read_checkpoint_header(candidate)["record"]["finetuning"]["steps"])


def _steered(
    steps: Generator[FinetuneProgress, object, FinetuneResult], reins: Reins, device: str
) -> Generator[TuneReport, None, FinetuneResult | None]:
    looked = time.monotonic()
    asked: str | None = None
    while True:
        try:
            step = steps.send(asked) if asked else next(steps)
        except StopIteration as stop:
            result: FinetuneResult = stop.value
            return result
        told = Progress(step.done, step.total, step.what)
        plain = replace(step, checkpoint=None)
        tile = None
        seen = reins.preview
        if step.checkpoint is not None and reins.preview_every_s and seen is not None:
            if time.monotonic() - looked >= reins.preview_every_s:
                yield TuneReport(told, step=plain)
                told, plain = Progress(step.done, step.total, "Looking at what it says"), step_without(plain)
                tile = yield from _look(step.checkpoint(), seen, device, told)
                looked = time.monotonic()
        yield TuneReport(told, tile, step=plain)
        while reins.paused and not reins.cancelling:
            yield TuneReport(replace(told, what="Paused"), step=step_without(plain), paused=True)
            since = time.monotonic()
            reins.wait(_WAIT_S)
            looked += time.monotonic() - since
        if reins.cancelling:
            return None
        asked = "stop" if reins.stopping else None


def step_without(step: FinetuneProgress) -> FinetuneProgress:
    """Return the step as told already: its loss and figures are not counted twice."""
    return replace(step, loss=float("nan"), figures=None)


def _look(
    checkpoint: Checkpoint, seen: tuple[Scan, Box], device: str, told: Progress
) -> Generator[TuneReport, None, Tile | None]:
    from napari_kidnet.errors import SettingsError
    from napari_kidnet.segmentation import SegmentSettings, segment_steps
    from napari_kidnet.training.finetune_settings import all_cores_but_one

    scan, box = seen
    z, y, x = box
    settings = SegmentSettings(
        device=device,
        engine="torch",  # OpenVINO would compile the network anew for each look
        box=(z.start, z.stop, y.start, y.stop, x.start, x.stop),
        threads=all_cores_but_one(),
    )
    steps = segment_steps(scan, checkpoint, settings)
    try:
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return Tile(box, stop.value.labels[box].copy())
            yield TuneReport(told)
    except SettingsError:
        return None  # a box that lies wholly in air
    finally:
        steps.close()


def _replay_of(wish: Path | str) -> Any:
    if wish == "beside":
        return "beside"
    if wish == "none":
        return None
    from napari_kidnet.errors import ScanError
    from napari_kidnet.scans import list_cases

    cases = [each for each in list_cases(wish) if each.labels is not None]
    if not cases:
        raise ScanError(f"{wish} holds no earlier cases: NAME_ct.nii.gz with NAME_labels.nii.gz.")
    return cases
