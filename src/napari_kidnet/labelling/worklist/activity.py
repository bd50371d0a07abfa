"""The log of what was done when: minutes and actions of each scan, states, predictions, fine-tunings.

One file beside the scans that only ever grows, one JSON object a line. A line that a crash cut is not a
JSON object and is left out, and the next one begins on a line of its own: so a crash costs at most that
line. Each line has a number of its own, so that copies of the log that a synchronising folder left can be
read together. The states in it are enough to make the worklist again.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.errors import OutputError
from napari_kidnet.labelling.worklist.records import PARTS, Record, now, part_from

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["IDLE_S", "LOG_FILE", "Activity", "ActivityLog", "Tuning", "WorkClock", "read_activity"]

LOG_FILE: Final = "kidnet-activity.jsonl"
IDLE_S: Final = 60.0
"""A pause between two inputs that is longer than this is not work, and none of it counts."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A fine-tuning: when, to which checkpoint, and whether it came into use."""

    at: str
    checkpoint: str
    activated: bool


@dataclass(slots=True)
class Activity:
    """What logs add up to.

    Attributes
    ----------
    seconds, actions : dict
        By scan.
    tunings : list of Tuning
        In the order of time.
    records : dict of Record
        What the states, predictions and reviews in it say, by scan.
    broken : int
        Lines that cannot be read.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    tunings: list[Tuning] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)
    broken: int = 0

    def add_work(self, scan: str, seconds: float, actions: int) -> None:
        """Count some work on a scan."""
        self.seconds[scan] = self.seconds.get(scan, 0.0) + seconds
        self.actions[scan] = self.actions.get(scan, 0) + actions


class ActivityLog:
    """Appends to the log of a folder.

    Parameters
    ----------
    path : Path
        The log; it is made when the first line is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._session = secrets.token_hex(6)
        self._number = 0
        self._lock = threading.Lock()

    def write(self, event: str, at: str | None = None, **values: Any) -> None:
        """Append one line; it is on the disk when this returns.

        Raises
        ------
        OutputError
            It cannot be written there.
        """
        with self._lock:
            self._number += 1
            line = {"at": at or now(), "id": f"{self._session}-{self._number}", "event": event, **values}
            text = json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n"
            try:
                self._append(text.encode("utf-8"))
            except OSError as error:
                raise OutputError(
                    f"{self.path} was not written to ({error.strerror or error}); minutes and actions are "
                    "not kept."
                ) from error

    def _append(self, data: bytes) -> None:
        # O_APPEND and one write: two programs on one disk cannot write into each other's lines.
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
        descriptor = os.open(self.path, flags, 0o666)
        try:
            size = os.fstat(descriptor).st_size
            if size:
                os.lseek(descriptor, size - 1, os.SEEK_SET)
                if os.read(descriptor, 1) != b"\n":
                    data = b"\n" + data  # a crash, or a full disk, left half a line
            os.write(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def read_activity(paths: Iterable[Path]) -> Activity:
    """Read logs together: each line once, whatever is broken left out.

    Raises
    ------
    OSError
        A file cannot be read at all.
    """
    found = Activity()
    seen: set[str] = set()
    for path in paths:
        for line in path.read_bytes().splitlines():
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                name = str(entry["id"])
                if name not in seen:
                    _take(found, entry)
                    seen.add(name)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                found.broken += 1
    found.tunings.sort(key=lambda each: each.at)
    return found


def _take(found: Activity, entry: dict[str, Any]) -> None:
    event = entry["event"]
    if event == "work":
        seconds, actions = float(entry["seconds"]), int(entry["actions"])
        if not 0 <= seconds < math.inf or actions < 0:
            raise ValueError("work is not a number from 0 on")
        found.add_work(str(entry["scan"]), seconds, actions)
    elif event in PARTS:
        record = Record(**{event: part_from(event, entry)})
        scan = str(entry["scan"])
        found.records[scan] = found.records.get(scan, Record()).merged(record)
    elif event == "finetuning":
        found.tunings.append(Tuning(str(entry["at"]), str(entry["checkpoint"]), bool(entry["activated"])))


class WorkClock:
    """Adds up the time between inputs; longer pauses than `IDLE_S` do not count.

    Examples
    --------
    >>> clock = WorkClock()
    >>> for second in (0, 10, 30, 500, 505):
    ...     clock.touch(second)
    >>> clock.take(), clock.take()
    (35.0, 0.0)
    """

    def __init__(self, idle_s: float = IDLE_S) -> None:
        self.idle_s = idle_s
        self._last: float | None = None
        self._seconds = 0.0

    def touch(self, at: float) -> None:
        """Note an input, at a time in seconds that only grows."""
        if self._last is not None and 0 <= at - self._last <= self.idle_s:
            self._seconds += at - self._last
        self._last = at

    def pause(self) -> None:
        """Let the time until the next input not count, however short."""
        self._last = None

    def take(self) -> float:
        """Return the seconds since this was last asked, and start from 0."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds
