"""The Preferences page of the plugin, as one frozen value, and the choice of preferred reader."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from napari_kidnet.errors import CheckpointError, SettingsError
from napari_kidnet.labelling.in_use import ACTIVE_FILE, checkpoint_in_use, own_folder

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "AutoSegment",
    "Preferences",
    "is_preferred",
    "prefer_reader",
    "preferences",
    "release_reader",
    "remember",
]

PLUGIN: Final = "napari-kidnet"
AutoSegment: TypeAlias = Literal["always", "CT scans", "never"]

# Ours must come first: napari takes the first of the patterns that match equally well, and its own
# dialog stores "*.gz" where a person meant "*.nii.gz".
_PATTERNS: Final = ("*.nii.gz", "*.nii")


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person set on the Preferences page.

    Attributes
    ----------
    auto_segment : {"always", "CT scans", "never"}
        Which scans segment themselves when they are opened; "always" includes the sample phantom.
    device : {"auto", "cpu", "cuda", "mps"}
        Where the network runs.
    engine : {"auto", "torch", "openvino"}
        What runs it.
    checkpoint : Path or None
        The network's file, by the rule of `napari_kidnet.labelling.in_use`; None is the one that comes with
        the plugin.
    sensitivity : float or None
        0…1; None is the value that the checkpoint was tuned to.
    """

    auto_segment: AutoSegment = "CT scans"
    device: str = "auto"
    engine: str = "auto"
    checkpoint: Path | None = None
    sensitivity: float | None = None

    def __post_init__(self) -> None:
        if self.sensitivity is not None and not 0 <= self.sensitivity <= 1:
            raise SettingsError(f"The sensitivity is {self.sensitivity}: it must be between 0 and 1.")


def preferences() -> Preferences:
    """Read the Preferences page (the defaults, where napari has no page for plugins)."""
    page = _page()
    if page is None:
        return Preferences(checkpoint=_in_use(None))
    path = str(page.checkpoint).strip()
    return Preferences(
        auto_segment=page.auto_segment,
        device=page.device,
        engine=page.engine,
        checkpoint=_in_use(Path(path).expanduser() if path else None),
        sensitivity=None if page.tuned_sensitivity else float(page.sensitivity),
    )


def remember(**changes: Any) -> None:
    """Change entries of the Preferences page; napari saves it.

    Parameters
    ----------
    **changes
        Keys of the page, as in the manifest: ``auto_segment``, ``device``, ``engine``,
        ``checkpoint`` (text), ``tuned_sensitivity``, ``sensitivity``.
    """
    page = _page()
    if page is None:
        return
    for key, value in changes.items():
        setattr(page, key, value)


def _in_use(preferred: Path | None) -> Path | None:
    try:
        return checkpoint_in_use(preferred, must_exist=False)
    except CheckpointError:  # the choice is damaged: who loads this file says so, and nothing else fails
        return own_folder() / ACTIVE_FILE


def prefer_reader() -> None:
    """Make napari-kidnet the reader of NIfTI files, so that ``napari scan.nii.gz`` asks nothing."""
    others = _preferred_readers(without=_PATTERNS)
    _prefer({**dict.fromkeys(_PATTERNS, PLUGIN), **others})


def release_reader() -> None:
    """Let napari ask again about NIfTI files, where it would have asked nothing because of us."""
    chosen = _preferred_readers()
    _prefer(_preferred_readers(without=[each for each in _PATTERNS if chosen.get(each) == PLUGIN]))


def is_preferred() -> bool:
    """Whether NIfTI files open with napari-kidnet without a question."""
    chosen = _preferred_readers()
    return all(chosen.get(pattern) == PLUGIN for pattern in _PATTERNS)


def _preferred_readers(without: Collection[str] = ()) -> dict[str, str]:
    """Return napari's pairs of pattern and plugin, but for these patterns."""
    chosen = _napari_settings().plugins.extension2reader
    return {pattern: reader for pattern, reader in chosen.items() if pattern not in without}


def _prefer(readers: dict[str, str]) -> None:
    settings = _napari_settings()
    settings.plugins.extension2reader = readers
    settings.save()


def _napari_settings() -> Any:
    from napari.settings import get_settings

    return get_settings()


def _page() -> Any:
    try:
        from napari.settings import get_plugin_settings
    except ImportError:  # napari 0.8 has no pages for plugins
        return None
    try:
        return get_plugin_settings(PLUGIN).segmentation
    except (KeyError, AttributeError):  # the manifest is not registered (a test, a disabled plugin)
        return None
