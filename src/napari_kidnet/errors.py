"""What a user is told when an input is not what it seems.

Every message is one sentence that names the file (or the option), what was found, and what to do.
Nothing here derives from ``RuntimeError``: a ``RuntimeError`` inside a generator worker of napari
vanishes without a trace, and these must never vanish.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "DeviceError",
    "KidnetError",
    "LabelsError",
    "OutputError",
    "ScanError",
    "SettingsError",
    "WorklistError",
]


class KidnetError(Exception):
    """The input or the work failed, and the text says why and what to do."""


class ScanError(KidnetError):
    """A scan cannot be read, or it is not a CT volume."""


class LabelsError(KidnetError):
    """A label volume cannot be read, or does not belong to its scan."""


class CheckpointError(KidnetError):
    """A checkpoint is foreign, damaged, or for another network."""


class OutputError(KidnetError):
    """A result cannot be written where it was asked for."""


class DeviceError(KidnetError):
    """The device or engine that was asked for is not there, or its memory is too small."""


class SettingsError(KidnetError):
    """A setting is outside of what it may be, or two settings contradict each other."""


class WorklistError(KidnetError):
    """A folder cannot be worked on scan by scan, or what was written down about it cannot be read."""
