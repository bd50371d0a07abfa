"""What a user may choose about a segmentation."""

from __future__ import annotations

from dataclasses import dataclass

from napari_kidnet.errors import SettingsError

__all__ = ["Box", "SegmentSettings"]

Box = tuple[int, int, int, int, int, int]
"""``(z0, z1, y0, y1, x0, x1)``: voxels of the scan, each start included, each end not."""


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """How a scan is segmented.

    Attributes
    ----------
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    engine : str
        ``auto``, ``torch`` or ``openvino``.
    sensitivity : float, optional
        0 (few, clean vessels) to 1 (the paper's argmax); the checkpoint's own by default.
    box : tuple of int, optional
        ``(z0, z1, y0, y1, x0, x1)`` in voxels of the scan: nothing outside of it is labelled.
    start : tuple of int, optional
        ``(z, y, x)`` voxel on the screen: tiles nearest to it come first. The middle by default.
    threads : int, optional
        CPU threads of the engine; all by default.
    tile_voxels : int, optional
        The largest tile, in voxels of the network's grid; by default what the device's memory allows.
    halo_voxels : int, optional
        Context on each inner face of a tile, computed and thrown away.
    blend_voxels : int, optional
        Width of the ramp over which neighbouring tiles are mixed; 0 writes each voxel once.
    keep_probabilities : bool
        Keep the dense log-probabilities, float16 (class, z, y, x), as well as the labels.
    skip_air : bool
        Leave out tiles that hold nothing but air.
    """

    device: str = "auto"
    engine: str = "auto"
    sensitivity: float | None = None
    box: Box | None = None
    start: tuple[int, int, int] | None = None
    threads: int | None = None
    tile_voxels: int | None = None
    halo_voxels: int | None = None
    blend_voxels: int | None = None
    keep_probabilities: bool = False
    skip_air: bool = True

    def __post_init__(self) -> None:
        if self.sensitivity is not None and not 0.0 <= self.sensitivity <= 1.0:
            raise SettingsError(f"The sensitivity is {self.sensitivity:g}; choose a number from 0 to 1.")
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"The number of threads is {self.threads}; choose 1 or more.")
        if self.tile_voxels is not None and self.tile_voxels < 1:
            raise SettingsError(f"The largest tile is {self.tile_voxels} voxels; choose 32768 (32³) or more.")
        for name, value in (("halo", self.halo_voxels), ("blend", self.blend_voxels)):
            if value is not None and value < 0:
                raise SettingsError(f"The {name} of a tile is {value} voxels; choose 0 or more.")
        if self.box is not None:
            _check_box(self.box)


def _check_box(box: Box) -> None:
    if len(box) != 6:
        raise SettingsError(f"The box has {len(box)} numbers; give six: z0 z1 y0 y1 x0 x1, in voxels.")
    for axis, start, stop in zip("zyx", box[::2], box[1::2], strict=True):
        if start >= stop:
            raise SettingsError(
                f"The box is empty along {axis} ({start} to {stop}); each end must be larger than its start."
            )
