"""The checkpoint that segments, chosen in the window: every widget of every viewer follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_kidnet.labelling.in_use import own_folder, prepared_folder
from napari_kidnet.plugin.settings import remember

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["IN_USE", "use_checkpoint"]


class _InUse:
    changed = Signal()
    """Another checkpoint is in use; `preferences` says which."""


IN_USE = _InUse()


def use_checkpoint(path: Path | None) -> None:
    """Put a checkpoint in use from now on, here and for ``kidnet segment``; None is the shipped one.

    Outside of the person's own folder it is named on the Preferences page, which the command line does not
    read; inside, that entry is emptied, since it would go before.

    Raises
    ------
    CheckpointError
        It cannot be read.
    OutputError
        The choice cannot be written.
    """
    from napari_kidnet.network import read_checkpoint_header
    from napari_kidnet.training.lineage import activate

    own = own_folder()
    if path is None or path.resolve().parent == own.resolve():
        activate(path, prepared_folder(own))
        remember(checkpoint="")
    else:
        read_checkpoint_header(path)
        remember(checkpoint=str(path))
    IN_USE.changed.emit()
