"""The scanner: blur, slice thickness and correlated noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d

from napari_kidnet.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PhysicsSettings", "acquire", "draw_physics", "draw_spacing", "thicken"]

_FWHM: Final = 2.3548


@dataclass(frozen=True, slots=True)
class PhysicsSettings:
    """One scan's image quality.

    Attributes
    ----------
    blur_mm : float
        Full width at half maximum of the point spread in the slice, 0 to 5.
    slice_mm : float
        Full width of the slice's profile, 0 to 10; half of it is blur on the grid given.
    noise_hu : float
        Standard deviation of noise at the edge of the body, 0 to 200.
    centre : float
        How much stronger noise is at the body's centre, 0 to 2 (.3 is 30 % more).
    grain_mm : float
        Size of the noise's grain, .3 to 4; a sharp kernel has a fine one.
    streaks_hu : float
        Amplitude of photon-starvation streaks across the widest direction, 0 to 100.
    thick : int
        Slices of the anatomy averaged to one slice of the scan, 1 to 8.
    """

    blur_mm: float = 0.95
    slice_mm: float = 1.0
    noise_hu: float = 14.0
    centre: float = 0.3
    grain_mm: float = 1.2
    streaks_hu: float = 0.0
    thick: int = 1

    def __post_init__(self) -> None:
        for name, low, high in (
            ("blur_mm", 0, 5),
            ("slice_mm", 0, 10),
            ("noise_hu", 0, 200),
            ("centre", 0, 2),
            ("grain_mm", 0.3, 4),
            ("streaks_hu", 0, 100),
            ("thick", 1, 8),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingsError(f"The scanner's {name} is {value}; it must lie between {low} and {high}.")


def draw_physics(
    rng: np.random.Generator, variety: Literal["typical", "wide"], thick: int = 1
) -> PhysicsSettings:
    """Draw a scan's image quality: a good clinical one, or anything that a clinic may send."""
    if variety == "typical":
        return PhysicsSettings(
            blur_mm=float(rng.uniform(0.7, 1.2)),
            slice_mm=float(rng.uniform(0.6, 1.4)),
            noise_hu=float(rng.uniform(10, 20)),
            grain_mm=float(rng.uniform(0.8, 1.5)),
            thick=thick,
        )
    return PhysicsSettings(
        blur_mm=float(rng.uniform(0.5, 2.2)),
        slice_mm=float(rng.uniform(0.5, 2.5)) if rng.random() < 0.7 else float(rng.uniform(2.5, 5.0)),
        noise_hu=float(np.clip(rng.lognormal(np.log(12), 0.6), 2, 40)),
        centre=float(rng.uniform(0, 0.6)),
        grain_mm=float(rng.uniform(0.5, 2.4)),
        streaks_hu=float(rng.choice([0.0, rng.uniform(1, 8)], p=[0.75, 0.25])),
        thick=thick,
    )


def draw_spacing(
    rng: np.random.Generator, variety: Literal["typical", "wide"] = "typical"
) -> tuple[float, float, float]:
    """Draw a voxel size (z, y, x) in mm from the paper's spread: .757±.075 in, .906±.327 between slices."""
    in_plane = float(np.clip(rng.normal(0.757, 0.075), 0.5, 1.0))
    between = float(np.clip(rng.normal(0.906, 0.327), 0.5, 2.5))
    if variety == "wide" and rng.random() < 0.25:
        between = float(rng.uniform(1.5, 5.0))
    return (between, in_plane, in_plane)


def thicken(hu: NDArray[np.float32], slices: int) -> NDArray[np.float32]:
    """Average groups of slices (z, y, x) into thick ones; slices left over at the end are dropped."""
    if slices == 1:
        return hu
    count = hu.shape[0] // slices
    mean: NDArray[np.float32] = hu[: count * slices].reshape(count, slices, *hu.shape[1:]).mean(1)
    return mean


def acquire(
    hu: NDArray[np.float32],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    settings: PhysicsSettings | None = None,
) -> NDArray[np.float32]:
    """Scan a body: blur it, average slices, add noise.

    Parameters
    ----------
    hu : float32 array (z, y, x)
        Painted anatomy.
    spacing : tuple of float
        Its voxel size (z, y, x) in mm.
    rng : numpy.random.Generator
        Source of all randomness.
    settings : PhysicsSettings, optional
        The scan's image quality.

    Returns
    -------
    float32 array (z', y, x)
        Hounsfield units; ``settings.thick`` slices of the input make one.
    """
    settings = settings or PhysicsSettings()
    seen = hu
    for axis, width in ((0, 0.7 * settings.slice_mm), (1, settings.blur_mm), (2, settings.blur_mm)):
        sigma = width / _FWHM / spacing[axis]
        if sigma > 0.15:
            seen = gaussian_filter1d(seen, sigma, axis=axis, mode="nearest", truncate=3.0)
    seen = thicken(seen, settings.thick)
    spacing = (spacing[0] * settings.thick, spacing[1], spacing[2])
    if seen is hu:
        seen = hu.copy()
    if settings.noise_hu > 0:
        seen += _noise(seen.shape, spacing, rng, settings)
    return np.clip(seen, -1024, 3071)


def _noise(
    shape: tuple[int, ...],
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
    settings: PhysicsSettings,
) -> NDArray[np.float32]:
    """Return noise of filtered back-projection: grain of a size, few low frequencies, stronger centrally."""
    z, y, x = shape
    noise = rng.standard_normal((z, y, x), dtype=np.float32)
    fine = [0.45 * settings.grain_mm / step for step in spacing[1:]]
    for axis, sigma in ((1, fine[0]), (2, fine[1])):
        if sigma > 0.2:
            noise = gaussian_filter1d(noise, sigma, axis=axis, mode="wrap", truncate=3.0)
    # Few low frequencies: the blurred noise, made on every second voxel, is taken off.
    coarse = noise[:, ::2, ::2]
    for axis, sigma in ((1, 1.5 * fine[0] + 0.5), (2, 1.5 * fine[1] + 0.5)):
        coarse = gaussian_filter1d(coarse, sigma, axis=axis, mode="wrap", truncate=2.5)
    noise -= np.repeat(np.repeat(coarse, 2, 1), 2, 2)[:, :y, :x]
    between = 0.35 * settings.slice_mm / spacing[0]
    if between > 0.25:
        noise = gaussian_filter1d(noise, between, axis=0, mode="wrap", truncate=2.5)
    noise *= 1 / max(float(noise[:: max(1, z // 8)].std()), 1e-6)
    rows = np.linspace(-1, 1, y, dtype=np.float32)[:, None]
    columns = np.linspace(-1, 1, x, dtype=np.float32)[None]
    profile = settings.noise_hu * (1 + settings.centre * np.exp(-(rows**2 + columns**2) / 0.35))
    noise *= profile.astype(np.float32)[None]
    if settings.streaks_hu > 0:
        lines = gaussian_filter1d(rng.standard_normal((z, y)).astype(np.float32), 1.0, axis=1)
        noise += settings.streaks_hu * 2 * lines[:, :, None] * np.exp(-(columns**2) / 0.5)
    return noise
