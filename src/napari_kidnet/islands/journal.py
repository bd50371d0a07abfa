"""The journal: every edit on disk before the next one begins, so that a crash costs at most one action.

The file lies beside the scan and only ever grows::

    header   magic, then a record: which labels it starts from
    record   length | crc32 | kind | payload        one edit, undo, redo, snapshot or note
    …

A record counts when all of it is there and its checksum is right; the first that does not ends the journal.
So a file that was cut at any byte is a shorter journal, never a broken one. Compaction writes a new file
that starts with a snapshot and takes the old one's place in one step.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

import numpy as np

from napari_kidnet.errors import LabelsError, OutputError
from napari_kidnet.islands.history import Change, Edit, History
from napari_kidnet.islands.lock import SessionLock

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

__all__ = ["Journal", "Restored", "replay"]

_MAGIC: Final = b"KIDNETJ1"
_FRAME: Final = struct.Struct("<IIB")  # length of the payload, crc32 of kind and payload, kind
_HEADER, _EDIT, _UNDO, _REDO, _SNAPSHOT, _NOTE = range(6)
# Level 1: an edit of 10,000 voxels takes a millisecond, and fsync takes longer.
_ZIP_LEVEL: Final = 1


@dataclass(slots=True)
class Restored:
    """What a journal holds.

    Attributes
    ----------
    labels, states : ndarray, (z, y, x)
        After the last whole record.
    history : History
        Undo and redo as they were.
    notes : dict
        The last value noted under each name, such as the flagged islands.
    actions : int
        Edits, undos, redos, and 1 for a snapshot of other labels; 0 means that nothing is unsaved.
    whole_bytes : int
        Where the last whole record ends.
    """

    labels: NDArray[np.integer]
    states: NDArray[np.uint8]
    history: History
    notes: dict[str, Any] = field(default_factory=dict)
    actions: int = 0
    whole_bytes: int = 0


class Journal:
    """The journal of one session; use it as a context, or close it.

    Parameters
    ----------
    path : Path
        Of the journal; a lock is kept beside it.
    labels : ndarray, (z, y, x)
        As they are on disk: what the edits start from.
    states : ndarray of uint8, (z, y, x), optional
        The reviewed mask on disk. A new journal holds it; an older one may start from it without holding it.

    Attributes
    ----------
    restored : Restored
        What the journal holds: where its ``actions`` are not 0, an earlier session ended without saving. Take
        its labels, or call :meth:`compact` with others to let it go.

    Raises
    ------
    OutputError
        The folder cannot be written to, or another session has the scan open.
    LabelsError
        The journal holds unsaved work on other labels.
    """

    def __init__(
        self, path: Path, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None
    ) -> None:
        self.path = Path(path)
        self._file: BinaryIO | None = None
        self._lock = SessionLock(self.path.with_name(self.path.name + ".lock"))
        try:
            self.restored = self._open(labels, states)
        except BaseException:
            self.close()
            raise

    def _open(self, labels: NDArray[np.integer], states: NDArray[np.uint8] | None) -> Restored:
        data = self.path.read_bytes() if self.path.exists() else b""
        if not _whole_header(data) or (_header_in(data) != _header_of(labels) and not _unsaved(data)):
            if states is not None and states.any():
                self.compact(labels, states)  # else no edit of a reviewed voxel could be replayed
                return Restored(labels.copy(), states.copy(), History())
            self._replace(_MAGIC + _record(_HEADER, _header_of(labels)))
            return Restored(labels.copy(), np.zeros(labels.shape, np.uint8), History())
        try:
            restored = replay(data, labels, states)
        except LabelsError:
            # The mask was saved after this journal began; so it does not start from it.
            restored = replay(data, labels)
        try:
            self._file = self.path.open("r+b")
            # What a crash left half written must not stand between the next records.
            self._file.truncate(restored.whole_bytes)
            self._file.seek(restored.whole_bytes)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        return restored

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def do(self, edit: Edit) -> None:
        """Record an edit that was done; returns when it is on the disk."""
        self._append(_EDIT, _pack_edit(edit))

    def undo(self, edit: Edit) -> None:
        """Record that the latest step was undone; its edit may be older than the last snapshot."""
        self._append(_UNDO, _pack_edit(edit))

    def redo(self, edit: Edit) -> None:
        """Record that the latest undone step was done again."""
        self._append(_REDO, _pack_edit(edit))

    def note(self, name: str, value: Any) -> None:
        """Record a value that JSON can hold, such as the flagged islands."""
        self._append(_NOTE, json.dumps([name, value]).encode())

    def compact(
        self, labels: NDArray[np.integer], states: NDArray[np.uint8], base: NDArray[np.integer] | None = None
    ) -> None:
        """Start over from a snapshot; the steps before can no longer be undone after a crash.

        Parameters
        ----------
        labels, states : ndarray, (z, y, x)
            As they are now.
        base : ndarray, optional
            What the labels' file holds, for the next opening to be compared with; `labels` by default, which
            is right after they were saved.
        """
        # Piece by piece: a copy of both would be made while no other thread can run.
        packer = zlib.compressobj(_ZIP_LEVEL)
        parts = [packer.compress(np.ascontiguousarray(each).data) for each in (labels, states)]
        snapshot = b"".join([*parts, packer.flush()])
        self._replace(
            _MAGIC
            + _record(_HEADER, _header_of(labels if base is None else base))
            + _record(_SNAPSHOT, snapshot)
        )

    def close(self) -> None:
        """Close the file and let another session in; the journal stays."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.release()

    def delete(self) -> None:
        """Close and remove the journal: labels and reviewed mask are saved."""
        self.close()
        self.path.unlink(missing_ok=True)

    def _append(self, kind: int, payload: bytes) -> None:
        if self._file is None:
            raise OutputError(
                f"the journal {self.path.name} is closed; open the scan again to go on editing."
            )
        try:
            self._file.write(_record(kind, payload))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def _replace(self, content: bytes) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(fresh, self.path)
            _sync_folder(self.path.parent)
            self._file = self.path.open("ab")
        except OSError as error:
            raise _cannot_write(self.path, error) from error


def replay(data: bytes, labels: NDArray[np.integer], states: NDArray[np.uint8] | None = None) -> Restored:
    """Return the state that a journal's bytes lead to, up to its last whole record.

    Parameters
    ----------
    data : bytes
        Of a journal with a whole header.
    labels : ndarray, (z, y, x)
        What the journal starts from; not changed.
    states : ndarray of uint8, (z, y, x), optional
        The reviewed mask that it starts from, if it holds none; zeros by default. Not changed.

    Raises
    ------
    LabelsError
        The journal holds unsaved work on other labels.
    """
    if _header_in(data) != _header_of(labels):
        raise LabelsError(
            "the journal beside the scan belongs to other labels than the file holds now;"
            " move the journal away, or bring the labels back."
        )
    mask = np.zeros(labels.shape, np.uint8) if states is None else states.copy()
    _, _, place = _next_record(data, len(_MAGIC)) or (None, b"", 0)
    restored = Restored(labels.copy(), mask, History(), whole_bytes=place)
    while (found := _next_record(data, place)) is not None:
        kind, payload, place = found
        try:
            _replay_one(kind, payload, restored)
        except LabelsError as error:
            raise LabelsError(
                "the journal beside the scan holds unsaved work that does not fit the labels and the reviewed"
                " mask beside it; copy all three to another folder before you save over them."
            ) from error
        restored.whole_bytes = place
    return restored


def _replay_one(kind: int, payload: bytes, restored: Restored) -> None:
    labels, states, history = restored.labels, restored.states, restored.history
    restored.actions += kind in (_EDIT, _UNDO, _REDO)
    if kind == _EDIT:
        history.do(_unpack_edit(payload, labels), labels, states)
    elif kind == _UNDO:
        edit = _unpack_edit(payload, labels)
        edit.undo(labels, states)
        del history.done[-1:]
        history.undone.append(edit)
    elif kind == _REDO:
        edit = _unpack_edit(payload, labels)
        edit.apply(labels, states)
        del history.undone[-1:]
        history.done.append(edit)
    elif kind == _NOTE:
        name, value = json.loads(payload)
        restored.notes[name] = value
    elif kind == _SNAPSHOT:
        raw = zlib.decompress(payload)
        restored.labels = np.frombuffer(raw[: labels.nbytes], labels.dtype).reshape(labels.shape).copy()
        restored.actions += not np.array_equal(restored.labels, labels)
        restored.states = np.frombuffer(raw[labels.nbytes :], np.uint8).reshape(labels.shape).copy()


def _record(kind: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload, kind), kind) + payload


def _next_record(data: bytes, place: int) -> tuple[int, bytes, int] | None:
    """Return kind, payload and end of the record at a place; None where there is no whole one."""
    begin = place + _FRAME.size
    if begin > len(data):
        return None
    length, checksum, kind = _FRAME.unpack_from(data, place)
    payload = data[begin : begin + length]
    if len(payload) < length or zlib.crc32(payload, kind) != checksum or kind > _NOTE:
        return None
    return kind, payload, begin + length


def _whole_header(data: bytes) -> bool:
    return data.startswith(_MAGIC) and _next_record(data, len(_MAGIC)) is not None


def _header_in(data: bytes) -> bytes | None:
    kind, payload, _ = _next_record(data, len(_MAGIC)) or (None, b"", 0)
    return payload if data.startswith(_MAGIC) and kind == _HEADER else None


def _unsaved(data: bytes) -> bool:
    """Return whether a journal holds more than notes about the labels that it starts from."""
    header = json.loads(_header_in(data) or b"{}")
    place = len(_MAGIC)
    while (found := _next_record(data, place)) is not None:
        kind, payload, place = found
        if kind in (_EDIT, _UNDO, _REDO):
            return True
        if kind == _SNAPSHOT:
            size = int(np.prod(header["shape"])) * np.dtype(header["dtype"]).itemsize
            if zlib.crc32(zlib.decompress(payload)[:size]) != header["crc32"]:
                return True
    return False


def _header_of(labels: NDArray[np.integer]) -> bytes:
    values = {
        "shape": list(labels.shape),
        "dtype": labels.dtype.newbyteorder("<").str,
        "crc32": zlib.crc32(np.ascontiguousarray(labels).data),
    }
    return json.dumps(values).encode()


def _pack_edit(edit: Edit) -> bytes:
    parts = [_pack_change(edit.labels)] + ([] if edit.states is None else [_pack_change(edit.states)])
    head = json.dumps({"what": edit.what, "by": edit.by, "lengths": [len(part) for part in parts]}).encode()
    return zlib.compress(struct.pack("<I", len(head)) + head + b"".join(parts), _ZIP_LEVEL)


def _unpack_edit(payload: bytes, labels: NDArray[np.integer]) -> Edit:
    raw = zlib.decompress(payload)
    (size,) = struct.unpack_from("<I", raw)
    head = json.loads(raw[4 : 4 + size])
    by: Literal["person", "model"] = "model" if head["by"] == "model" else "person"
    changes, place = [], 4 + size
    dtypes: list[np.dtype[Any]] = [labels.dtype, np.dtype(np.uint8)]
    for length, dtype in zip(head["lengths"], dtypes, strict=False):
        changes.append(_unpack_change(raw[place : place + length], dtype))
        place += length
    shape = (labels.shape[0], labels.shape[1], labels.shape[2])
    return Edit(head["what"], shape, changes[0], changes[1] if len(changes) > 1 else None, by)


def _pack_change(change: Change) -> bytes:
    """Return a change as bytes: steps between sorted indices are mostly 1, which compresses well."""
    steps = np.diff(change.flat, prepend=0).astype("<i8")
    values = [
        np.asarray(each, each.dtype.newbyteorder("<")).tobytes() for each in (change.before, change.after)
    ]
    return steps.tobytes() + values[0] + values[1]


def _unpack_change(raw: bytes, dtype: np.dtype[Any]) -> Change:
    stored = dtype.newbyteorder("<")
    n = len(raw) // (8 + 2 * stored.itemsize)
    flat = np.cumsum(np.frombuffer(raw, "<i8", n)).astype(np.int64)
    values = np.frombuffer(raw, stored, 2 * n, offset=8 * n).astype(dtype)
    return Change(flat, values[:n], values[n:])


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; systems that cannot open a folder do it by themselves."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the journal {path.name} cannot be written in {path.parent} ({error.strerror}), so edits would not"
        " survive a crash; copy the scan to a folder that can be written to, or make room."
    )
