"""Which checkpoint segments, where nobody names one: the rule, in one place.

1. the checkpoint that is set on the Preferences page (in napari) or named by ``--checkpoint``;
2. else the active one of the person's own folder, where fine-tuning from the widget writes;
3. else the one that comes with the package.

The folder is the system's place for a program's data of one person; ``KIDNET_CHECKPOINTS`` names another, for
one that a group shares. It is never inside of the package: an update would take it away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from napari_kidnet.errors import OutputError
from napari_kidnet.network.header import default_checkpoint_path

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ACTIVE_FILE",
    "SHIPPED",
    "checkpoint_in_use",
    "checkpoint_named",
    "next_name",
    "own_folder",
    "prepared_folder",
]

ACTIVE_FILE: Final = "active.json"
"""Beside the checkpoints; names the active one."""

VARIABLE: Final = "KIDNET_CHECKPOINTS"

SHIPPED: Final = "shipped"
"""The word for the checkpoint that comes with the package, where a file could be named."""


def own_folder() -> Path:
    """Return the folder of the person's own checkpoints; it need not be there."""
    named = os.environ.get(VARIABLE, "").strip()
    if named:
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("napari-kidnet", appauthor=False) / "checkpoints"


def prepared_folder(folder: Path) -> Path:
    """Return the folder, which is there now.

    Raises
    ------
    OutputError
        It cannot be made, or lies in the package.
    """
    package = default_checkpoint_path().parent.parent
    if folder.resolve().is_relative_to(package):
        raise OutputError(f"{folder} belongs to the program, whose next version replaces it; choose another.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be made ({error.strerror or error}); choose another folder for checkpoints."
        ) from error
    return folder


def checkpoint_in_use(preferred: Path | None = None, must_exist: bool = True) -> Path | None:
    """Return the checkpoint that segments; None is the one that comes with the package.

    Parameters
    ----------
    preferred : Path, optional
        What the person has set, if anything.
    must_exist : bool
        Refuse an active one whose file is gone; otherwise whoever reads it will.

    Raises
    ------
    CheckpointError
        The choice in the person's folder cannot be read, or its file is gone.
    """
    if preferred is not None:
        return preferred
    from napari_kidnet.training.lineage import active_checkpoint

    return active_checkpoint(own_folder(), must_exist)


def checkpoint_named(text: Path | str | None) -> Path | None:
    """Return what ``--checkpoint`` means: a file, the word "shipped" (None), or nothing, by the rule."""
    if text is None:
        return checkpoint_in_use()
    if str(text) == SHIPPED and not Path(text).is_file():
        return None
    return Path(text)


def next_name(folder: Path, taken: Iterable[str] = ()) -> str:
    """Return a free name for the next checkpoint of a folder, without its ending.

    Examples
    --------
    >>> next_name(Path("not there")), next_name(Path("not there"), ["tuned-001"])
    ('tuned-001', 'tuned-002')
    """
    used = {each.stem for each in folder.glob("*.safetensors")} | set(taken)
    number = 1
    while f"tuned-{number:03d}" in used:
        number += 1
    return f"tuned-{number:03d}"
