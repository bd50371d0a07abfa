"""File > Open Sample: a synthetic kidney, which says that it is one."""

from __future__ import annotations

from typing import Any, Final

from napari_kidnet.plugin.layers import scan_keywords
from napari_kidnet.plugin.settings import preferences

__all__ = ["kidney_phantom"]

# A seed of the range that no checkpoint was trained or tuned on.
_SEED: Final = 1000


def kidney_phantom() -> list[tuple[Any, ...]]:
    """Return one phantom: a crop about a kidney in the arterial phase."""
    from napari.viewer import current_viewer

    from napari_kidnet.phantom import PhantomSettings, make_case

    viewer = current_viewer()
    if viewer is not None:
        from napari_kidnet.plugin.controller import Controller

        Controller.of(viewer)
    case = make_case(_SEED, PhantomSettings(phase="arterial", field="crop"))
    keywords = scan_keywords(case.scan, segment_on_arrival=preferences().auto_segment == "always")
    keywords["name"] = "kidney phantom (synthetic, not a patient)"
    return [(case.scan.hu, keywords, "image")]
