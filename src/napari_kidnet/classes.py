"""The four classes of Kid-Net, their colours, and the window a CT is shown in (paper §2, R4, R5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["CLASSES", "SOFT_TISSUE_WINDOW", "VESSELS", "VesselClass", "Window", "class_named"]


@dataclass(frozen=True, slots=True)
class VesselClass:
    """One class of the segmentation.

    Attributes
    ----------
    id : int
        The value in a label volume.
    name : str
        The name in files, tables and ``--json`` keys.
    title : str
        The name as a person reads it.
    colour : tuple of float
        Red, green, blue, alpha in 0…1; background is transparent.
    """

    id: int
    name: str
    title: str
    colour: tuple[float, float, float, float]


CLASSES: Final = (
    VesselClass(0, "background", "Background", (0.0, 0.0, 0.0, 0.0)),
    VesselClass(1, "artery", "Artery", (0.90, 0.10, 0.12, 1.0)),
    VesselClass(2, "vein", "Vein", (0.16, 0.38, 0.95, 1.0)),
    VesselClass(3, "collecting_system", "Collecting system", (1.0, 0.60, 0.05, 1.0)),
)
"""Every class, in the order of its id."""

VESSELS: Final = CLASSES[1:]
"""The three foreground classes."""


def class_named(name: str) -> VesselClass:
    """Return the class with this name.

    Raises
    ------
    KeyError
        There is no such class.
    """
    for each in CLASSES:
        if each.name == name:
            return each
    raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Window:
    """A CT window.

    Attributes
    ----------
    low, high : float
        The HU values shown black and white.
    """

    low: float
    high: float

    @property
    def limits(self) -> tuple[float, float]:
        """Both ends, in HU, as napari's contrast limits."""
        return (self.low, self.high)


SOFT_TISSUE_WINDOW: Final = Window(-160.0, 240.0)
"""Level 40, width 400 HU: the window of the paper (§3)."""
