"""What a verb says: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from napari_kidnet.errors import KidnetError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence

    from rich.progress import Progress as Bar

    from napari_kidnet.progress import Progress

__all__ = ["Console", "explain", "is_debugging", "one_line", "table", "write_json", "write_text"]

T = TypeVar("T")

_PLAIN_SECONDS = 10.0
"""Without a terminal, a line at most this often: a log stays readable after an hour's training."""


class Console:
    """Where a verb says things.

    Parameters
    ----------
    quiet : bool
        Say nothing on standard error but what went wrong.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """Print a result."""
        print(text, flush=True)

    def remark(self, text: str) -> None:
        """Print what a person wants to know and a program does not."""
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Print what went wrong, in one line, while the work goes on."""
        print(f"kidnet: {one_line(text)}", file=sys.stderr, flush=True)

    def follow(self, steps: Generator[Progress, None, T], title: str) -> T:
        """Run work to its end, show how far it is, and return its result.

        However it ends, an interrupt from the keyboard included, the work is closed, so that it
        can clear away what it began.
        """
        try:
            if self.quiet:
                return _drain(steps)
            if sys.stderr.isatty():
                return self._follow_with_bar(steps, title)
            return self._follow_with_lines(steps, title)
        finally:
            steps.close()

    def _follow_with_bar(self, steps: Generator[Progress, None, T], title: str) -> T:
        bar = _bar()
        with bar:
            task = bar.add_task(title, total=None)
            while True:
                try:
                    step = next(steps)
                except StopIteration as stop:
                    result: T = stop.value
                    return result
                what = f"{title}: {step.what}" if step.what else title
                bar.update(task, completed=step.done, total=step.total or None, description=what)

    def _follow_with_lines(self, steps: Generator[Progress, None, T], title: str) -> T:
        began = last = time.monotonic()
        self.remark(f"{title} ...")
        while True:
            try:
                step = next(steps)
            except StopIteration as stop:
                result: T = stop.value
                return result
            now = time.monotonic()
            if now - last >= _PLAIN_SECONDS and 0 < step.done < step.total:
                last = now
                left = (now - began) / step.done * (step.total - step.done)
                self.remark(
                    f"{title}: {step.done} of {step.total}, {step.what}, about {_duration(left)} left"
                )


def _drain(steps: Generator[Progress, None, T]) -> T:
    from napari_kidnet.progress import drain

    return drain(steps)


def _bar() -> Bar:
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}", markup=False),  # a file may be called "a[b].nii"
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=RichConsole(stderr=True),
        transient=True,
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def is_debugging() -> bool:
    """Return whether ``KIDNET_DEBUG=1`` asks for tracebacks and the libraries' warnings."""
    return os.environ.get("KIDNET_DEBUG", "") not in ("", "0")


def explain(error: Exception) -> str:
    """Return the sentence that a person is told about an error."""
    if is_debugging():
        traceback.print_exception(error)
    if isinstance(error, KidnetError):
        return str(error)
    if isinstance(error, MemoryError):
        return "the memory of this machine is too small for this: close other programs, or use --box."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    return (
        f"something went wrong that should not have ({type(error).__name__}: {error}); "
        "KIDNET_DEBUG=1 shows where."
    )


def one_line(text: object) -> str:
    r"""Return a message without line breaks, so that a program can read it as one line.

    Examples
    --------
    >>> one_line("no such\n  file")
    'no such file'
    """
    return " ".join(str(text).split())


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows as text: the first column flush left, the others flush right.

    Examples
    --------
    >>> print(table([["class", "mL"], ["artery", "12.5"]]))
    class     mL
    artery  12.5
    """
    cells = [list(row) for row in rows]
    widths = [max(len(row[at]) for row in cells) for at in range(len(cells[0]))]
    lines = []
    for first, *others in cells:
        right = [text.rjust(width) for text, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *right]).rstrip())
    return "\n".join(lines)


def write_json(target: str, content: dict[str, Any]) -> None:
    """Write ``--json``'s content to a file, or to standard output where the target is ``-``."""
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    if target == "-":
        print(text, flush=True)
    else:
        write_text(Path(target), text + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    from napari_kidnet.scans import write_atomically

    with write_atomically(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
