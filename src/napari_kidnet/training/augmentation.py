"""Augmentation (R28): a patch is turned, scaled and shifted, its intensities bent, blurred, made noisy.

Left and right are never exchanged: the aorta lies on the left of the vena cava. Turning is about the z axis
only, so one sparse matrix resamples all slices at once, and the z axis is scaled by another: 72³ voxels take
some 15 ms on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_kidnet.errors import SettingsError

if TYPE_CHECKING:
    from napari_kidnet.training.patches import PatchStore, Place

__all__ = ["Augmentation", "Patch", "augment", "bend_intensities"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often and how far patches are changed.

    Attributes
    ----------
    geometry : float
        Chance that a patch is turned, scaled and shifted.
    rotation_degrees, scale, shift_voxels : float
        Largest turn about z; largest change of size, as a part of 1; largest shift along each axis.
    curve, gain, noise, blur, thick_slices : float
        Chances of: a random monotone curve of HU; a factor and an offset; Gaussian noise; blur; slices
        averaged along z and interpolated back.
    gain_range, offset_hu, noise_hu, blur_voxels : float
        Largest change of the factor, largest offset, largest standard deviation of noise and of blur.
    """

    geometry: float = 0.5
    rotation_degrees: float = 10.0
    scale: float = 0.1
    shift_voxels: float = 4.0
    curve: float = 0.3
    gain: float = 0.5
    noise: float = 0.4
    blur: float = 0.15
    thick_slices: float = 0.15
    gain_range: float = 0.1
    offset_hu: float = 15.0
    noise_hu: float = 25.0
    blur_voxels: float = 1.0

    def __post_init__(self) -> None:
        for name in ("geometry", "curve", "gain", "noise", "blur", "thick_slices"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(
                    f"The chance of {name} in augmentation is {getattr(self, name):g}; choose from 0 to 1."
                )
        if not 0.0 <= self.scale < 0.5:
            raise SettingsError(f"The change of size in augmentation is {self.scale:g}; choose 0 to 0.5.")

    @classmethod
    def off(cls) -> Augmentation:
        """Return no augmentation."""
        return cls(geometry=0, curve=0, gain=0, noise=0, blur=0, thick_slices=0)


@dataclass(frozen=True, slots=True)
class Patch:
    """A patch grown by a margin on each side, so that a vessel just outside of it is known (reading A16).

    Attributes
    ----------
    hu : array of float32, (z, y, x)
        Hounsfield units.
    labels, tubes : array of uint8, (z, y, x)
        Classes, and classes near their centrelines.
    reviewed : array of bool, (z, y, x), optional
        None where everything is reviewed.
    """

    hu: Floats
    labels: NDArray[np.uint8]
    tubes: NDArray[np.uint8]
    reviewed: NDArray[np.bool_] | None


def augment(
    store: PatchStore, place: Place, margin: int, settings: Augmentation, rng: np.random.Generator
) -> Patch:
    """Cut a patch out of its store and change it at random.

    Parameters
    ----------
    store, place
        Where it comes from.
    margin : int
        Voxels around the patch.
    settings : Augmentation
        Chances and ranges.
    rng : numpy.random.Generator
        The source of chance.

    Returns
    -------
    Patch
        Edge ``store.patch_voxels + 2 * margin``.
    """
    edge = store.patch_voxels + 2 * margin
    if rng.random() < settings.geometry:
        patch = _turned(store, place, margin, settings, rng)
    else:
        z, y, x = (start - margin for start in place.start)
        block = store.cut(place.case, (z, y, x), (edge, edge, edge))
        patch = Patch(block.hu.astype(np.float32), block.labels, block.tubes, block.reviewed)
    return Patch(bend_intensities(patch.hu, settings, rng), patch.labels, patch.tubes, patch.reviewed)


def bend_intensities(hu: Floats, settings: Augmentation, rng: np.random.Generator) -> Floats:
    """Return HU (z, y, x) with another contrast, sharpness and noise."""
    from scipy.ndimage import gaussian_filter

    if rng.random() < settings.curve:
        knots = np.array([-1024.0, -200.0, -50.0, 50.0, 150.0, 300.0, 600.0, 3071.0])
        steps = np.diff(knots) * np.exp(rng.normal(0.0, 0.25, len(knots) - 1))
        bent = np.concatenate([[0.0], np.cumsum(steps)])
        bent += -100.0 - np.interp(-100.0, knots, bent)  # fat stays fat: that is how a CT is calibrated
        hu = np.interp(hu, knots, bent).astype(np.float32)
    if rng.random() < settings.gain:
        factor = 1.0 + rng.uniform(-settings.gain_range, settings.gain_range)
        hu = hu * np.float32(factor) + np.float32(rng.uniform(-settings.offset_hu, settings.offset_hu))
    if rng.random() < settings.blur:
        hu = gaussian_filter(hu, rng.uniform(0.3, settings.blur_voxels), truncate=3.0)
    if rng.random() < settings.thick_slices:
        hu = _thickened(hu, rng.uniform(1.5, 3.5))
    if rng.random() < settings.noise:
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        hu = hu + noise * np.float32(rng.uniform(0.0, settings.noise_hu))
    return np.ascontiguousarray(hu, dtype=np.float32)


def _thickened(hu: Floats, thickness: float) -> Floats:
    """Average slices ``thickness`` voxels thick, then interpolate linearly between them."""
    count = len(hu)
    middles = np.arange(thickness / 2, count, thickness) - 0.5
    slices = np.arange(count)
    averaging = np.maximum(0.0, thickness / 2 + 0.5 - np.abs(slices[None, :] - middles[:, None])).clip(
        0.0, 1.0
    )
    averaging /= averaging.sum(axis=1, keepdims=True)
    back = _linear_matrix(np.interp(slices, middles, np.arange(len(middles))), len(middles))
    flat = (back @ averaging).astype(np.float32) @ hu.reshape(count, -1)
    result: Floats = flat.reshape(hu.shape)
    return result


def _turned(
    store: PatchStore, place: Place, margin: int, settings: Augmentation, rng: np.random.Generator
) -> Patch:
    from scipy.sparse import csr_array

    edge = store.patch_voxels + 2 * margin
    angle = np.deg2rad(rng.uniform(-settings.rotation_degrees, settings.rotation_degrees))
    scale_z, scale_yx = 1.0 + rng.uniform(-settings.scale, settings.scale, 2)
    shift = rng.uniform(-settings.shift_voxels, settings.shift_voxels, 3)
    offsets = np.arange(edge) - (edge - 1) / 2  # from the patch's centre
    middle = np.array(place.start) + (store.patch_voxels - 1) / 2 + shift
    # where each voxel of the patch comes from, in voxels of the case
    from_z = middle[0] + offsets * scale_z
    down, right = np.meshgrid(offsets * scale_yx, offsets * scale_yx, indexing="ij")
    from_y = middle[1] + np.cos(angle) * down - np.sin(angle) * right
    from_x = middle[2] + np.sin(angle) * down + np.cos(angle) * right
    lows = [int(np.floor(each.min())) for each in (from_z, from_y, from_x)]
    sizes = [
        int(np.floor(each.max())) + 2 - low for each, low in zip((from_z, from_y, from_x), lows, strict=True)
    ]
    block = store.cut(place.case, (lows[0], lows[1], lows[2]), (sizes[0], sizes[1], sizes[2]))
    in_z, in_y, in_x = (each - low for each, low in zip((from_z, from_y, from_x), lows, strict=True))

    below_y, below_x = np.floor(in_y).astype(int).ravel(), np.floor(in_x).astype(int).ravel()
    part_y, part_x = in_y.ravel() - below_y, in_x.ravel() - below_x
    corner = below_y * sizes[2] + below_x
    columns = np.stack([corner, corner + 1, corner + sizes[2], corner + sizes[2] + 1], axis=1)
    values = np.stack(
        [(1 - part_y) * (1 - part_x), (1 - part_y) * part_x, part_y * (1 - part_x), part_y * part_x], axis=1
    ).astype(np.float32)
    ends = np.arange(0, 4 * edge * edge + 1, 4)
    in_plane = csr_array((values.ravel(), columns.ravel(), ends), shape=(edge * edge, sizes[1] * sizes[2]))
    along_z = _linear_matrix(in_z, sizes[0]).astype(np.float32)
    slices = along_z @ block.hu.reshape(sizes[0], -1).astype(np.float32)  # (edge, y x of the block)
    hu = (in_plane @ np.ascontiguousarray(slices.T)).T.reshape(edge, edge, edge)

    nearest_z = np.round(in_z).astype(int)
    nearest = np.round(in_y).astype(int).ravel() * sizes[2] + np.round(in_x).astype(int).ravel()
    labels, tubes = (_picked(each, nearest_z, nearest, edge) for each in (block.labels, block.tubes))
    reviewed = None if block.reviewed is None else _picked(block.reviewed, nearest_z, nearest, edge)
    return Patch(np.ascontiguousarray(hu), labels, tubes, reviewed)


def _picked(
    values: NDArray[Any], rows: NDArray[np.int_], columns: NDArray[np.int_], edge: int
) -> NDArray[Any]:
    flat = values.reshape(len(values), -1)
    return np.take(np.take(flat, rows, axis=0), columns, axis=1).reshape(edge, edge, edge)


def _linear_matrix(at: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return the matrix (position, source) of linear interpolation at ``at``, fractions of an index."""
    at = np.clip(at, 0.0, length - 1.0)
    below = np.minimum(at.astype(int), max(length - 2, 0))
    matrix = np.zeros((len(at), length))
    rows = np.arange(len(at))
    matrix[rows, below] += 1.0 - (at - below)
    matrix[rows, np.minimum(below + 1, length - 1)] += at - below
    return matrix
