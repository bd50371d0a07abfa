"""File > Open Sample: a synthetic kidney, which says that it is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from napari_kidnet.labelling.predicting import Report
from napari_kidnet.plugin.jobs import result_of, start_job
from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import preferences
from napari_kidnet.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari_kidnet.phantom import PhantomCase

__all__ = ["kidney_phantom"]

# A seed of the range that no checkpoint was trained or tuned on.
_SEED: Final = 1000
_SPACING: Final = (1.5, 1.0, 1.0)
"""(z, y, x) in mm: as many a clinical scan, and made in seconds."""


def kidney_phantom() -> list[tuple[Any, ...]]:
    """Return one phantom: a crop about a kidney in the arterial phase.

    napari wants the layer itself; the seconds that it takes are spent in a worker, while the window
    goes on living.
    """
    from napari.viewer import current_viewer

    viewer = current_viewer()
    if viewer is not None:
        from napari_kidnet.plugin.controller import Controller

        Controller.of(viewer)
    case = result_of(start_job(_phantom_steps(), "Making a kidney phantom"))
    keywords = scan_keywords(case.scan, segment_on_arrival=preferences().auto_segment == "always")
    keywords["name"] = "kidney phantom (synthetic)"
    return [(case.scan.hu, keywords, "image")]


def _phantom_steps() -> Generator[Report, None, PhantomCase]:
    yield Report(Progress(0, 0, "Making a kidney phantom"))
    from napari_kidnet.phantom import PhantomSettings, make_case

    return make_case(_SEED, PhantomSettings(phase="arterial", field="crop", spacing=_SPACING))
