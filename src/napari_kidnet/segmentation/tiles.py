"""The plan: which windows the network looks at, and which voxels each of them answers for.

Along one axis, with a halo ``h`` that is computed and thrown away and a ramp ``b`` that is mixed::

    window 0   [----------------------------]
    window 1                     [----------------------------]
               |<-  tile 0 alone ->|<- b ->|<- tile 1 alone ->|
                                  h         h

Windows start on multiples of the network's stride, counted from the volume's first voxel. So every
pooling falls where it would fall in the whole volume, and a tile with enough halo gives the whole
volume's answer. With ``b = 0`` each voxel is written once, by one tile: right for networks whose answer
does not depend on the tile (batch normalisation). Instance normalisation needs the ramp.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

from napari_kidnet.errors import SettingsError

__all__ = ["AxisPlan", "Cut", "TileShape", "plan_axes", "plan_axis"]

MOST_TILES_PER_AXIS = 24


@dataclass(frozen=True, slots=True)
class TileShape:
    """What all tiles of a plan have in common.

    Attributes
    ----------
    multiple : int
        A window's size and start are multiples of this: the network's stride.
    voxels : int
        The largest window, in voxels.
    halo, blend : int
        Voxels thrown away at inner faces, and voxels mixed between two tiles.
    """

    multiple: int
    voxels: int
    halo: int
    blend: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Where one tile hands over to the next: a ramp from ``start`` to ``stop``, or a step if equal."""

    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class AxisPlan:
    """The windows along one axis of the network's grid.

    Attributes
    ----------
    size : int
        Length of every window.
    starts : tuple of int
        The first voxel of every window; windows may reach beyond the volume's end.
    cuts : tuple of Cut
        One between each pair of neighbours.
    """

    size: int
    starts: tuple[int, ...]
    cuts: tuple[Cut, ...]


def plan_axis(length: int, wanted: tuple[int, int], count: int, shape: TileShape) -> AxisPlan | None:
    """Return ``count`` windows that cover ``wanted``, as short as can be, or None if so many are too many.

    Parameters
    ----------
    length : int
        Length of the volume.
    wanted : tuple of int
        Start and stop of what must be answered for, within 0…length.
    count : int
        Number of windows.
    shape : TileShape
        Stride, halo and ramp.
    """
    m = shape.multiple
    low = max(0, wanted[0] - shape.halo) // m * m
    high = max(min(_up(length, m), _up(wanted[1] + shape.halo, m)), low + 2 * m)
    span = high - low
    if count == 1:
        return AxisPlan(span, (low,), ())
    overlap = 2 * shape.halo + shape.blend
    size = _up(overlap + 2 * max(shape.blend, 1), m)
    while size + (count - 1) * ((size - overlap) // m * m) < span:
        size += m
    if size >= span:
        return None
    # Evenly, rounded down to the stride: two neighbours are never further apart than size − overlap.
    starts = tuple(low + i * (span - size) // (count - 1) // m * m for i in range(count))
    middles = [(first + size + second) // 2 for first, second in pairwise(starts)]
    cuts = tuple(Cut(at - shape.blend // 2, at - shape.blend // 2 + shape.blend) for at in middles)
    return AxisPlan(size, starts, cuts)


def plan_axes(
    lengths: tuple[int, int, int], wanted: tuple[tuple[int, int], ...], shape: TileShape
) -> tuple[AxisPlan, AxisPlan, AxisPlan]:
    """Return the plan of the three axes that computes the fewest voxels with windows of the allowed size.

    Raises
    ------
    SettingsError
        No window of the allowed size is larger than its halo and ramp.

    Examples
    --------
    >>> plans = plan_axes((256, 256, 256), ((0, 256),) * 3, TileShape(8, 150**3, 16, 0))
    >>> plans[0].size, plans[0].starts
    (144, (0, 112))
    """
    choices = []
    for length, want in zip(lengths, wanted, strict=True):
        most = min(MOST_TILES_PER_AXIS, 1 + (want[1] - want[0]) // shape.multiple)
        plans = [plan_axis(length, want, count, shape) for count in range(1, most + 1)]
        choices.append([plan for plan in plans if plan is not None])
    best: tuple[int, int, tuple[AxisPlan, AxisPlan, AxisPlan]] | None = None
    for z, y, x in product(*choices):
        window = z.size * y.size * x.size
        if window > shape.voxels:
            continue
        count = len(z.starts) * len(y.starts) * len(x.starts)
        if best is None or (count * window, count) < best[:2]:
            best = (count * window, count, (z, y, x))
    if best is None:
        smallest = 1
        for plans_of_axis in choices:
            smallest *= min(plan.size for plan in plans_of_axis)
        raise SettingsError(
            f"A tile of at most {shape.voxels} voxels is too small for a halo of {shape.halo} and a ramp of "
            f"{shape.blend} voxels; allow at least {smallest} voxels, or make the halo smaller."
        )
    return best[2]


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
