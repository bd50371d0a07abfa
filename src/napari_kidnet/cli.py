"""``kidnet``: the plugin's verbs without a window.

Exit status: 0 done; 1 the input or the work failed, with one sentence on standard error; 2 wrong
usage; 130 interrupted from the keyboard. ``KIDNET_DEBUG=1`` shows tracebacks.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from napari_kidnet.commands import (
    checkpoint,
    demo,
    evaluate,
    finetune,
    islands,
    open_scan,
    phantom,
    prefer,
    segment,
    train,
    worklist,
)
from napari_kidnet.commands.console import explain, is_debugging, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["build_parser", "main"]

_VERBS = (demo, open_scan, prefer, segment, worklist, phantom, train, finetune, evaluate, islands, checkpoint)
"""In the order in which a newcomer meets them."""

_CHATTY = ("nibabel", "nibabel.global", "pydicom", "tifffile", "openvino")
"""Loggers that would put lines of their own between ours."""


class _Parser(argparse.ArgumentParser):
    """Wrong usage is said in one sentence; the usage is one ``--help`` away."""

    def error(self, message: str) -> Any:
        self.exit(2, f"kidnet: {one_line(message)} (see {self.prog} --help).\n")


class _ShowVersion(argparse.Action):
    """Look the version up when it is asked for: it costs a walk over all installed packages."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib.metadata import version

        print(f"kidnet {version('napari-kidnet')}")
        parser.exit(0)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all verbs; it loads no room of the package."""
    parser = _Parser(
        prog="kidnet",
        description="Kidney artery, vein and collecting system from contrast CT. Not a medical device.",
        epilog="kidnet VERB --help shows a verb's options. Exit status: 0 done, 1 failed, 2 wrong usage.",
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and stop")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True, parser_class=_Parser)
    for verb in _VERBS:
        verb.declare(verbs)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after ``kidnet``; None takes the process's own.

    Returns
    -------
    int
        The exit status.
    """
    if argv is None:
        # A polite kill clears unfinished files away, as an error does.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        arguments = build_parser().parse_args(argv)
    except SystemExit as stop:  # argparse's way to say "shown" (0) and "wrong usage" (2)
        return int(stop.code or 0)
    try:
        with _quiet_libraries():
            status: int = arguments.run(arguments)
            return status
    except SystemExit as stop:  # a combination of options that argparse cannot know, or a polite kill
        return int(stop.code or 0)
    except KeyboardInterrupt:
        print("kidnet: interrupted.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `kidnet … | head`: whoever read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:  # noqa: BLE001 - the outer rim: a person is told, whatever it was
        print(f"kidnet: {one_line(explain(error))}", file=sys.stderr)
        return 1


@contextmanager
def _quiet_libraries() -> Iterator[None]:
    if is_debugging():
        yield
        return
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [each.level for each in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for each in loggers:
            each.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for each, level in zip(loggers, levels, strict=True):
                each.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
