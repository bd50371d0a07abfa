"""What a name in somebody's label map means: rules from names to structures.

The names of TotalSegmentator (``kidney_left``, ``vertebrae_L3``, ``autochthon_left``) and of the SPL
abdominal atlas (``left_kidney``, ``Lumbar3``, ``L3-L2-IntervertebralDisc``) are both understood, and so are
most names in between, because the rules look for words and not for whole names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from napari_kidnet.phantom.structures import Structure

__all__ = ["NamedStructure", "structure_of"]

_S = Structure

# The first rule that matches wins, so that the special comes before the general: a disc before a vertebra,
# the renal pelvis before the bony one. Bowel, kidney and bone are named by one of their parts here;
# anatomy_map.py divides them into wall and content, cortex and medulla, shell and inside.
_RULES: Final[tuple[tuple[str, Structure], ...]] = (
    (r"cyst", _S.CYST),
    (r"tumou?r|lesion|\bmass\b|metastas", _S.TUMOUR),
    (r"stone|calculus", _S.STONE),
    (r"plaque|calcif", _S.PLAQUE),
    (r"(renal|kidney).*(arter)", _S.RENAL_ARTERY_LEFT),
    (r"(renal|kidney).*(vein|vena|venous)", _S.RENAL_VEIN_LEFT),
    (r"(renal|kidney).*(pelvis|calyx|calyces|calices|collect)|collecting|calyces|pyelum", _S.COLLECTING_LEFT),
    (r"ureter", _S.URETER_LEFT),
    (r"(renal|kidney).*(medulla|pyramid)", _S.MEDULLA_LEFT),
    (r"(renal|kidney).*(sinus|fat)", _S.SINUS_FAT_LEFT),
    (r"kidney|renal cortex", _S.CORTEX_LEFT),
    (r"adrenal|suprarenal", _S.ADRENAL),
    (r"aorta", _S.AORTA),
    (r"vena cava|\bivc\b|postcava", _S.VENA_CAVA),
    (r"portal|splenic vein|mesenteric vein", _S.PORTAL_VEIN),
    (r"arter|trunk|subclavian|carotid", _S.OTHER_ARTERY),
    (r"vein|vena|venous", _S.OTHER_VEIN),
    (r"heart|atrium|atrial|ventricle|myocard", _S.OTHER_VEIN),
    (r"disc\b|disk\b|intervertebraldisc", _S.DISC),
    (r"cartilage", _S.CARTILAGE),
    (r"spinal (cord|canal)", _S.SPINAL_FLUID),
    (r"lung|lobe|trachea|bronch", _S.LUNG),
    (r"gall ?bladder", _S.GALLBLADDER),
    (r"bladder", _S.BLADDER),
    (r"prostate|uterus|ovar|vagina|seminal", _S.PROSTATE_UTERUS),
    (r"liver|hepatic", _S.LIVER),
    (r"spleen", _S.SPLEEN),
    (r"pancrea", _S.PANCREAS),
    (r"psoas", _S.PSOAS),
    (
        r"muscle|autochthon|gluteus|iliacus|oblique|erector|quadratus|abdominis|diaphragm|levator|trapezius",
        _S.MUSCLE,
    ),
    (
        r"stomach|duoden|bowel|colon|ileum|jejun|intestin|esophag|oesophag|rectum|sigmoid|caecum",
        _S.BOWEL_FLUID,
    ),
    (
        r"vertebra|sacrum|thoracic ?\d|lumbar ?\d|\brib|pelvis|\bhip|femur|sternum|scapula|humerus|clavic"
        r"|ilium|coccyx|skull|\bbone",
        _S.BONE_SPONGY,
    ),
    (r"skin", _S.SKIN),
    (r"subcutaneous", _S.SUBCUTANEOUS_FAT),
    (r"\bfat\b|adipose", _S.VISCERAL_FAT),
)

_RIGHT_OF: Final = {
    _S.CORTEX_LEFT: _S.CORTEX_RIGHT,
    _S.MEDULLA_LEFT: _S.MEDULLA_RIGHT,
    _S.SINUS_FAT_LEFT: _S.SINUS_FAT_RIGHT,
    _S.RENAL_ARTERY_LEFT: _S.RENAL_ARTERY_RIGHT,
    _S.RENAL_VEIN_LEFT: _S.RENAL_VEIN_RIGHT,
    _S.COLLECTING_LEFT: _S.COLLECTING_RIGHT,
    _S.URETER_LEFT: _S.URETER_RIGHT,
}


@dataclass(frozen=True, slots=True)
class NamedStructure:
    """What a name means.

    Attributes
    ----------
    structure : Structure
        The structure; of a paired one without a side in its name, the left.
    right : Structure or None
        The right partner, if the structure is paired and the name gives no side: the place decides.
    known : bool
        False if no rule knew the name, and soft tissue like muscle was taken for it.
    """

    structure: Structure
    right: Structure | None
    known: bool


def structure_of(name: str) -> NamedStructure:
    """Return what a name in a label map means.

    Examples
    --------
    >>> structure_of("right_renal_artery").structure.name
    'RENAL_ARTERY_RIGHT'
    >>> structure_of("Pelvis").structure.name
    'BONE_SPONGY'
    >>> structure_of("flux capacitor").known
    False
    """
    words = re.sub(r"[^a-z0-9]+", " ", name.lower()).strip()
    for pattern, structure in _RULES:
        if re.search(pattern, words):
            right = _RIGHT_OF.get(structure)
            if right is None:
                return NamedStructure(structure, None, True)
            if re.search(r"\b(right|r|dexter)\b", words):
                return NamedStructure(right, None, True)
            if re.search(r"\b(left|l|sinister)\b", words):
                return NamedStructure(structure, None, True)
            return NamedStructure(structure, right, True)
    return NamedStructure(_S.MUSCLE, None, False)
