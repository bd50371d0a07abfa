"""A real person's label map, read once and made ready to be deformed many times.

Reading a map takes tens of seconds, deforming it one: all that does not depend on chance is done here. The
map is brought to a fine isotropic grid with smooth surfaces; every voxel gets its structure, the kidney it
lies in, and its depth under the surface of its own structure, from which anatomy_map.py makes cortex,
cortical bone and bowel wall of random thickness.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.phantom.splines import expand, linear_matrix
from napari_kidnet.phantom.structure_names import structure_of
from napari_kidnet.phantom.structures import CLASS_OF, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["DEPTH_STEP_MM", "HULL_SPACING_MM", "LabelMap", "load_label_map"]

_S = Structure

DEPTH_STEP_MM: Final = 0.2
"""Unit of the stored depth: uint8 reaches 51 mm."""

HULL_SPACING_MM: Final = 3.0
"""Grid of the body's hull; it is smooth, and a finer one would only cost time."""

_ADULT_KIDNEY_MM: Final = (104.0, 70.0, 66.0)
"""Extent (z, y, x) of an adult's kidney along the axes of a scan."""

_THIN: Final = frozenset({*np.flatnonzero(CLASS_OF).tolist(), _S.OTHER_ARTERY, _S.OTHER_VEIN, _S.PORTAL_VEIN})
"""Structures that smoothing would break: they win a voxel from a smaller share of it on."""

_KIDNEY: Final = (
    (1, _S.CORTEX_LEFT, _S.MEDULLA_LEFT, _S.SINUS_FAT_LEFT, _S.COLLECTING_LEFT),
    (2, _S.CORTEX_RIGHT, _S.MEDULLA_RIGHT, _S.SINUS_FAT_RIGHT, _S.COLLECTING_RIGHT),
)


@dataclass(frozen=True, slots=True)
class LabelMap:
    """A label map on a fine isotropic grid, ready for ``deformed_anatomy``.

    Attributes
    ----------
    voxels : uint16 array (z, y, x), LPS
        Bits 0–5 structure, bits 6–7 the kidney the voxel lies in (1 left, 2 right), bits 8–15 depth in
        ``DEPTH_STEP_MM``. Its outermost layer in y and x is empty.
    spacing : float
        Voxel edge in mm.
    hull : float32 array (z, y, x)
        Signed distance to the hull of all structures, mm, negative inside, at ``HULL_SPACING_MM``.
    name : str
        The file's name.
    size_factor : tuple of float
        What (z, y, x) were stretched by, because the stored spacing made the kidneys smaller than an adult's.
    unknown : tuple of str
        Names that no rule knew; taken for soft tissue like muscle.
    """

    voxels: NDArray[np.uint16]
    spacing: float
    hull: NDArray[np.float32]
    name: str
    size_factor: tuple[float, float, float] = (1.0, 1.0, 1.0)
    unknown: tuple[str, ...] = ()
    present: frozenset[int] = field(default_factory=frozenset)


def load_label_map(
    labels_path: str | Path,
    names_json: str | Path,
    *,
    fine_mm: float = 0.9,
    adult: bool = True,
    cache: str | Path | None = None,
) -> LabelMap:
    """Read a label map and its names.

    Parameters
    ----------
    labels_path : path-like
        NIfTI file of whole numbers, one per structure.
    names_json : path-like
        JSON object from number to name, or from name to number.
    fine_mm : float
        Edge of the grid that the map is brought to, in mm.
    adult : bool
        Stretch a map whose kidneys are smaller than three quarters of an adult's to an adult's size.
    cache : path-like, optional
        Folder in which the prepared map is kept for the next time.

    Raises
    ------
    LabelsError
        A file cannot be read, is no label map, or has no kidney, aorta or vena cava.
    """
    labels_path, names_json = Path(labels_path), Path(names_json)
    labels, spacing = _read_labels(labels_path)
    names = _read_names(names_json)
    kept = _cache_file(cache, labels_path, names_json, (fine_mm, float(adult)))
    if kept is not None and kept.exists():
        return _from_cache(kept)
    name = labels_path.name.removesuffix(".gz").removesuffix(".nii")
    structures, unknown = _structures_of(labels, names, labels_path)
    factor = _size_factor(labels, structures, spacing) if adult else (1.0, 1.0, 1.0)
    spacing = (spacing[0] * factor[0], spacing[1] * factor[1], spacing[2] * factor[2])
    codes, label_of = _upsample(labels, structures, spacing, fine_mm)
    from napari_kidnet.phantom.map_repairs import (
        add_canal_and_discs,
        add_lungs,
        body_hull,
        depths,
        kidney_sides,
    )

    add_canal_and_discs(codes, label_of, fine_mm)
    hull = body_hull(codes, fine_mm, HULL_SPACING_MM)
    add_lungs(codes, hull, fine_mm, HULL_SPACING_MM)
    sides = kidney_sides(codes, fine_mm, _KIDNEY)
    depth = depths(codes, label_of, sides, fine_mm)
    steps = np.minimum(np.rint(depth / DEPTH_STEP_MM), 255).astype(np.uint16)
    voxels = codes.astype(np.uint16) | sides.astype(np.uint16) << 6 | steps << 8
    voxels[:, [0, -1]] = 0
    voxels[:, :, [0, -1]] = 0
    present = frozenset(int(i) for i in np.unique(codes))
    made = LabelMap(voxels, fine_mm, hull, name, factor, tuple(unknown), present)
    if kept is not None:
        _to_cache(kept, made)
    return made


def _read_labels(path: Path) -> tuple[NDArray[np.int32], tuple[float, float, float]]:
    import nibabel
    from nibabel.filebasedimages import ImageFileError

    try:
        image: Any = nibabel.as_closest_canonical(nibabel.load(path))
        data = np.asarray(image.dataobj).squeeze()
    except FileNotFoundError:
        raise LabelsError(f"{path} does not exist: give the NIfTI file of the label map.") from None
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise LabelsError(f"{path} cannot be read as a NIfTI label map ({error}).") from None
    if data.ndim != 3 or not np.isfinite(data).all() or (data != np.round(data)).any():
        raise LabelsError(f"{path} is no label map: it must hold whole numbers in three dimensions.")
    x, y, z = (float(size) for size in image.header.get_zooms()[:3])
    # Stored right-anterior-superior now; ours is (z, y, x) with y to the back and x to the left: x runs to
    # the patient's left already once right-to-left is flipped, and so does y.
    return np.ascontiguousarray(data[::-1, ::-1].transpose(2, 1, 0)).astype(np.int32), (z, y, x)


def _read_names(path: Path) -> dict[int, str]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pairs = content.items()
        if all(str(key).lstrip("-").isdigit() for key in content):
            return {int(key): str(value) for key, value in pairs}
        return {int(value): str(key) for key, value in pairs}
    except FileNotFoundError:
        raise LabelsError(f"{path} does not exist: give the JSON file that names the labels.") from None
    except (OSError, ValueError, TypeError, AttributeError):
        raise LabelsError(
            f'{path} is no list of names: it must be a JSON object such as {{"1": "liver"}}.'
        ) from None


def _structures_of(
    labels: NDArray[np.int32], names: dict[int, str], path: Path
) -> tuple[dict[int, Structure], list[str]]:
    """Return the structure of each label, dividing in place what is paired but named without a side."""
    structures: dict[int, Structure] = {}
    unknown: list[str] = []
    present = [int(label) for label in np.unique(labels) if label > 0]
    next_label = max(present, default=0) + 1
    for label in present:
        meant = structure_of(names.get(label, f"label {label}"))
        structures[label] = meant.structure
        if not meant.known:
            unknown.append(names.get(label, f"label {label}"))
        if meant.right is not None:
            z, y, x = np.nonzero(labels == label)
            right = x < labels.shape[2] / 2  # x grows to the patient's left
            labels[z[right], y[right], x[right]] = next_label
            structures[next_label] = meant.right
            next_label += 1
    found = set(structures.values())
    for needed, text in (
        ({_S.CORTEX_LEFT, _S.CORTEX_RIGHT}, "kidney"),
        ({_S.AORTA}, "aorta"),
        ({_S.VENA_CAVA}, "vena cava"),
    ):
        if not found & needed:
            raise LabelsError(
                f"{path} has no {text} among its {len(present)} named structures: a phantom needs one."
            )
    return structures, unknown


def _size_factor(
    labels: NDArray[np.int32], structures: dict[int, Structure], spacing: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return the stretch (z, y, x) that makes the kidneys an adult's, or ones if they are large enough.

    The SPL atlas's stored spacing gives kidneys of 60 mm and vertebrae 19 mm apart beside an aorta of 14 mm:
    an adult's anatomy on a grid said to be finer than it was.
    """
    extents = []
    for kidney in (_S.CORTEX_LEFT, _S.CORTEX_RIGHT):
        mask = np.isin(labels, [label for label, structure in structures.items() if structure == kidney])
        if mask.any():
            extents.append(
                [
                    float(np.ptp(np.flatnonzero(mask.any(axis=others))) + 1) * size
                    for others, size in zip(((1, 2), (0, 2), (0, 1)), spacing, strict=True)
                ]
            )
    mean = np.mean(extents, axis=0)
    wanted = np.asarray(_ADULT_KIDNEY_MM) / mean
    if float(np.prod(wanted)) ** (1 / 3) < 4 / 3:
        return (1.0, 1.0, 1.0)
    in_plane = float(np.sqrt(wanted[1] * wanted[2]))  # one factor, or the round body would turn oval
    return (float(wanted[0]), in_plane, in_plane)


def _upsample(
    labels: NDArray[np.int32],
    structures: dict[int, Structure],
    spacing: tuple[float, float, float],
    fine: float,
) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Return the structure (uint8) and the label's running number (uint16) of each voxel of the fine grid."""
    from scipy.ndimage import find_objects, gaussian_filter

    shape = tuple(int(np.ceil(n * s / fine)) for n, s in zip(labels.shape, spacing, strict=True))
    best = np.zeros(shape, np.float32)
    codes = np.zeros(shape, np.uint8)
    label_of = np.zeros(shape, np.uint16)
    boxes: Sequence[tuple[slice, ...] | None] = find_objects(labels)
    # Thin structures come last, so that they win a tie.
    order = sorted(structures, key=lambda label: (int(structures[label]) in _THIN, label))
    for number, label in enumerate(order, start=1):
        box = boxes[label - 1]
        if box is None:
            continue
        padded = tuple(
            slice(max(0, b.start - 3), min(n, b.stop + 3)) for b, n in zip(box, labels.shape, strict=True)
        )
        share = gaussian_filter((labels[padded] == label).astype(np.float32), 0.7, mode="nearest")
        weights, target = [], []
        for p, n, size, total in zip(padded, share.shape, spacing, shape, strict=True):
            low = max(0, int(np.floor(p.start * size / fine)))
            high = min(total, int(np.ceil(p.stop * size / fine)))
            at = (np.arange(low, high) + 0.5) * fine / size - 0.5 - p.start
            weights.append(linear_matrix(at, n))
            target.append(slice(low, high))
        fine_share = expand(share, (weights[0], weights[1], weights[2]))
        if int(structures[label]) in _THIN:
            fine_share *= 1.4
        place = (target[0], target[1], target[2])
        wins = (fine_share > 0.5) & (fine_share > best[place])
        best[place][wins] = fine_share[wins]
        codes[place][wins] = int(structures[label])
        label_of[place][wins] = number
    return codes, label_of


def _cache_file(
    cache: str | Path | None, labels_path: Path, names_json: Path, settings: tuple[float, ...]
) -> Path | None:
    if cache is None:
        return None
    import hashlib

    digest = hashlib.sha256(repr(("map-3", settings)).encode())
    digest.update(labels_path.read_bytes())
    digest.update(names_json.read_bytes())
    return Path(cache) / f"label-map-{digest.hexdigest()[:16]}.npz"


def _to_cache(path: Path, made: LabelMap) -> None:
    import os

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    record = {"name": made.name, "unknown": made.unknown, "present": sorted(made.present)}
    np.savez(
        partial,
        voxels=made.voxels,
        hull=made.hull,
        spacing=made.spacing,
        size_factor=np.array(made.size_factor),
        record=np.frombuffer(json.dumps(record).encode(), np.uint8),
    )
    os.replace(partial, path)


def _from_cache(path: Path) -> LabelMap:
    with np.load(path, allow_pickle=False) as kept:
        record = json.loads(kept["record"].tobytes())
        z, y, x = (float(value) for value in kept["size_factor"])
        return LabelMap(
            kept["voxels"],
            float(kept["spacing"]),
            kept["hull"],
            str(record["name"]),
            (z, y, x),
            tuple(record["unknown"]),
            frozenset(record["present"]),
        )
