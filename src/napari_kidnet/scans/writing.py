"""Whole files or none: everything is written under a hidden name and takes its place in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING

from napari_kidnet.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ensure_writable", "write_atomically"]

STALE_AFTER_S = 24 * 3600.0
"""A partial file that nobody has touched for a day belongs to a process that was killed."""


@contextlib.contextmanager
def write_atomically(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give an empty temporary file beside ``path``, and put it in the place of ``path`` at the end.

    A failure, or the end of the process at any moment, leaves ``path`` as it was; after ``kill -9`` a
    hidden ``.NAME.xxxxxxxx.partial`` may remain, which a write of the same name removes a day later.
    The body should only write: an ``OSError`` out of it is told as a failure to write.

    Parameters
    ----------
    path : path-like
        The file to write; its folder must exist.

    Yields
    ------
    Path
        The temporary file, in the same folder, empty.

    Raises
    ------
    OutputError
        The folder is missing or read-only, the disk is full, or ``path`` is a folder.
    """
    final = Path(path)
    partial = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    try:
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _remove_stale(final)
        # not tempfile: its mode 0600 would hide results from the colleagues on a shared disk
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield partial
        _to_disk(partial)
        os.replace(partial, final)
    except OSError as error:
        raise OutputError(_sentence(final, error)) from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def ensure_writable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether ``path`` could be written at its end; nothing is left behind.

    Raises
    ------
    OutputError
        As ``write_atomically`` would.
    """
    final = Path(path)
    probe = final.with_name(f".{final.name}.{secrets.token_hex(4)}.partial")
    try:
        if final.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        probe.touch(exist_ok=False)
    except OSError as error:
        raise OutputError(_sentence(final, error)) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _to_disk(partial: Path) -> None:
    """Wait until the bytes are on the disk, so that a power cut cannot leave an empty final file."""
    descriptor = os.open(partial, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(final: Path) -> None:
    for left in final.parent.glob(f".{_literal(final.name)}.*.partial"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > STALE_AFTER_S:
                left.unlink()


def _literal(name: str) -> str:
    """Return a file name as a pattern that matches only itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _sentence(final: Path, error: OSError) -> str:
    folder = final.parent
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{final} was not written because the disk is full; free some space, or write elsewhere."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{final} was not written because the folder {folder} is read-only; choose another folder."
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return f"{final} was not written because the folder {folder} does not exist; create it first."
    if error.errno == errno.EISDIR:
        return f"{final} was not written because it is a folder; name a file."
    return f"{final} was not written: {error.strerror or error}; write it elsewhere."
