"""The structures that a phantom is made of: what geometry draws, what tissue gives HU to (science §3.1).

Geometry (procedural or from a real label map) ends in one volume of these ids; tissue reads only ids.
The two never meet otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Anatomy", "CLASS_OF", "KIDNEY_SIDE_OF", "Structure", "kidneys_of", "truth_of"]


class Structure(IntEnum):
    """What a voxel of a phantom is. Left and right are the patient's."""

    AIR = 0
    BED = 1
    SKIN = 2
    SUBCUTANEOUS_FAT = 3
    VISCERAL_FAT = 4
    MUSCLE = 5
    PSOAS = 6
    BONE_CORTICAL = 7
    BONE_SPONGY = 8
    DISC = 9
    CARTILAGE = 10
    SPINAL_FLUID = 11
    SPINAL_CORD = 12
    LUNG = 13
    LIVER = 14
    SPLEEN = 15
    PANCREAS = 16
    GALLBLADDER = 17
    ADRENAL = 18
    BOWEL_WALL = 19
    BOWEL_FLUID = 20
    BOWEL_STOOL = 21
    BOWEL_GAS = 22
    BOWEL_CONTRAST = 23
    BOWEL_CHYME = 24  # even content of 40–130 HU, which networks mistake for vein
    BLADDER = 25
    PROSTATE_UTERUS = 26
    CORTEX_LEFT = 30
    CORTEX_RIGHT = 31
    MEDULLA_LEFT = 32
    MEDULLA_RIGHT = 33
    SINUS_FAT_LEFT = 34
    SINUS_FAT_RIGHT = 35
    CYST = 36
    TUMOUR = 37
    STONE = 38
    PLAQUE = 39
    AORTA = 40
    RENAL_ARTERY_LEFT = 41
    RENAL_ARTERY_RIGHT = 42
    OTHER_ARTERY = 43  # coeliac, mesenteric, iliac, lumbar …: present and unlabelled
    VENA_CAVA = 50
    RENAL_VEIN_LEFT = 51
    RENAL_VEIN_RIGHT = 52
    PORTAL_VEIN = 53
    OTHER_VEIN = 54  # hepatic, iliac, gonadal, lumbar …: present and unlabelled
    COLLECTING_LEFT = 60  # renal pelvis and calyces
    COLLECTING_RIGHT = 61
    URETER_LEFT = 62
    URETER_RIGHT = 63


_S = Structure

CLASS_OF: Final = np.zeros(256, np.uint8)
"""Look-up table from structure id to class id (see ``napari_kidnet.classes``)."""
CLASS_OF[[_S.AORTA, _S.RENAL_ARTERY_LEFT, _S.RENAL_ARTERY_RIGHT, _S.PLAQUE]] = 1
CLASS_OF[[_S.VENA_CAVA, _S.RENAL_VEIN_LEFT, _S.RENAL_VEIN_RIGHT]] = 2
CLASS_OF[[_S.COLLECTING_LEFT, _S.COLLECTING_RIGHT, _S.URETER_LEFT, _S.URETER_RIGHT, _S.STONE]] = 3

KIDNEY_SIDE_OF: Final = np.zeros(256, np.uint8)
"""Look-up table from structure id to kidney: 0 none, 1 left, 2 right (parenchyma, sinus, cyst excluded)."""
KIDNEY_SIDE_OF[[_S.CORTEX_LEFT, _S.MEDULLA_LEFT, _S.SINUS_FAT_LEFT]] = 1
KIDNEY_SIDE_OF[[_S.CORTEX_RIGHT, _S.MEDULLA_RIGHT, _S.SINUS_FAT_RIGHT]] = 2


@dataclass(frozen=True, slots=True)
class Anatomy:
    """A phantom's geometry: which structure every voxel is.

    Attributes
    ----------
    structures : uint8 array (z, y, x), LPS
        Ids of ``Structure``. Increasing z is towards the head, y towards the back, x to the patient's left.
    spacing : tuple of float
        Voxel size (z, y, x) in mm.
    source : str
        Where the geometry came from, for the case's record: ``procedural`` or the label map's name.
    """

    structures: NDArray[np.uint8]
    spacing: tuple[float, float, float]
    source: str


def truth_of(anatomy: Anatomy) -> NDArray[np.uint8]:
    """Return the complete truth: the class id of each voxel, uint8 (z, y, x)."""
    truth: NDArray[np.uint8] = CLASS_OF[anatomy.structures]
    return truth


def kidneys_of(anatomy: Anatomy) -> NDArray[np.uint8]:
    """Return the kidneys: 1 left, 2 right, 0 elsewhere, uint8 (z, y, x)."""
    kidneys: NDArray[np.uint8] = KIDNEY_SIDE_OF[anatomy.structures]
    return kidneys
