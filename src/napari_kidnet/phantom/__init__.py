"""Phantoms: synthetic contrast CT of kidneys whose vessels are known, drawn or from real people's label maps.

Three things make a phantom, and none knows the others: geometry says what each voxel is (``geometry`` draws,
``anatomy_map`` deforms a real label map), ``tissue`` gives it Hounsfield units, ``physics`` scans it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_kidnet.phantom.anatomy_map import LabelMap, deformed_anatomy, load_label_map
    from napari_kidnet.phantom.annotation import human_annotation
    from napari_kidnet.phantom.cases import (
        PhantomCase,
        PhantomSettings,
        make_case,
        make_renderings,
        phantom_steps,
        write_case,
    )
    from napari_kidnet.phantom.structures import Anatomy, Structure, kidneys_of, truth_of
    from napari_kidnet.phantom.tissue import PHASES

__all__ = [
    "PHASES",
    "Anatomy",
    "LabelMap",
    "PhantomCase",
    "PhantomSettings",
    "Structure",
    "deformed_anatomy",
    "human_annotation",
    "kidneys_of",
    "load_label_map",
    "make_case",
    "make_renderings",
    "phantom_steps",
    "truth_of",
    "write_case",
]

_HOME = {
    "PHASES": "tissue",
    "Anatomy": "structures",
    "LabelMap": "anatomy_map",
    "PhantomCase": "cases",
    "PhantomSettings": "cases",
    "Structure": "structures",
    "deformed_anatomy": "anatomy_map",
    "human_annotation": "annotation",
    "kidneys_of": "structures",
    "load_label_map": "anatomy_map",
    "make_case": "cases",
    "make_renderings": "cases",
    "phantom_steps": "cases",
    "truth_of": "structures",
    "write_case": "cases",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: scipy and cc3d stay out of ``import napari_kidnet``."""
    if name in _HOME:
        return getattr(import_module(f"napari_kidnet.phantom.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
