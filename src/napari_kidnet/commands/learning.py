"""What ``kidnet train`` and ``kidnet finetune`` have in common: their cases, and how they are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

from napari_kidnet.errors import ScanError
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Generator
    from pathlib import Path

    from napari_kidnet.commands.console import Console
    from napari_kidnet.scans import Case

__all__ = ["add_reviewed", "labelled_cases", "told"]


class _Step(Protocol):
    @property
    def done(self) -> int: ...
    @property
    def total(self) -> int: ...
    @property
    def what(self) -> str: ...
    @property
    def loss(self) -> float: ...


S = TypeVar("S", bound=_Step)
T = TypeVar("T")


def add_reviewed(verb: argparse.ArgumentParser) -> None:
    """Add the option by which a person vouches for labels that are marked as a prediction."""
    verb.add_argument(
        "--reviewed",
        choices=["all"],
        help="all: labels without a NAME_reviewed file were looked at as a whole, also where they are marked "
        "as a prediction",
    )


def labelled_cases(folders: list[Path], reviewed: str | None = None) -> list[Case]:
    """Return the cases of all folders that have labels.

    Parameters
    ----------
    folders : list of Path
        Where to look.
    reviewed : str, optional
        "all" takes predictions without a mask of what was reviewed for looked at as a whole.

    Raises
    ------
    ScanError
        A folder holds no such case.
    LabelsError
        Labels are a prediction that nobody has reviewed.
    """
    from dataclasses import replace

    from napari_kidnet.scans import list_cases

    cases: list[Case] = []
    for folder in folders:
        labelled = [case for case in list_cases(folder) if case.labels is not None]
        found = [replace(case, all_reviewed=reviewed == "all") for case in labelled]
        if not found:
            raise ScanError(
                f"{folder} holds no labelled case; put NAME_ct.nii.gz and NAME_labels.nii.gz into it."
            )
        cases += found
    for case in cases:
        case.check_reviewed()
    return cases


def told(
    steps: Generator[S, None, T], console: Console, measured: Callable[[S], str | None]
) -> Generator[Progress, None, T]:
    """Add the loss to what is being done, and say on a line of its own what was measured.

    Parameters
    ----------
    steps : generator
        Of a training or fine-tuning; it is closed with this one.
    console : Console
        Where remarks go.
    measured : callable
        Gives what was measured after a step in words, or None.
    """
    try:
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if words := measured(step):
                console.remark(words)
            loss = "" if step.loss != step.loss else f", loss {step.loss:.3f}"
            yield Progress(step.done, step.total, f"{step.what}{loss}")
    finally:
        steps.close()
