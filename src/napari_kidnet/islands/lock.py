"""One session at a time: a lock that its owner's death releases."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from napari_kidnet.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SessionLock"]


class SessionLock:
    """An exclusive lock on a file, held until released or until the process ends, however it ends.

    Raises
    ------
    OutputError
        The file cannot be made, or another session holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        try:
            file = path.open("a+b")
        except OSError as error:
            raise OutputError(
                f"{path.parent} cannot be written to ({error.strerror}), so edits would not survive a crash;"
                " copy the scan to a folder that can be written to."
            ) from error
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            owner = file.read(32).decode(errors="replace").strip() or "unknown"
            file.close()
            raise OutputError(
                f"another session (process {owner}) has this scan open for editing, as {path.name} says;"
                " close it there first."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let another session in."""
        if self._file is None:
            return
        # Closing unlocks. The file stays: removing it would let two sessions lock two files of one name.
        self._file.close()
        self._file = None


if sys.platform == "win32":
    import msvcrt

    def _lock(file: BinaryIO) -> None:
        # Far behind the owner's number, which must stay readable while it is locked.
        file.seek(1024)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
