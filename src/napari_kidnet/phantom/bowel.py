"""Bowel: duodenum, colon and loops of small bowel, a wall about contents that may be as bright as a vein."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_kidnet.phantom.field import smooth_noise
from napari_kidnet.phantom.structures import Structure
from napari_kidnet.phantom.tubes import Segment

if TYPE_CHECKING:
    from napari_kidnet.phantom.field import Canvas
    from napari_kidnet.phantom.torso import Build

__all__ = ["draw_bowel"]

_S = Structure
_GUT = (
    _S.VISCERAL_FAT,
    _S.BOWEL_WALL,
    _S.BOWEL_FLUID,
    _S.BOWEL_STOOL,
    _S.BOWEL_GAS,
    _S.BOWEL_CONTRAST,
    _S.BOWEL_CHYME,
)
_SMALL = ([_S.BOWEL_FLUID, _S.BOWEL_CHYME, _S.BOWEL_CONTRAST, _S.BOWEL_GAS], [0.28, 0.5, 0.14, 0.08])
_LARGE = (
    [_S.BOWEL_STOOL, _S.BOWEL_GAS, _S.BOWEL_CHYME, _S.BOWEL_FLUID, _S.BOWEL_CONTRAST],
    [0.4, 0.2, 0.2, 0.1, 0.1],
)


def draw_bowel(canvas: Canvas, build: Build) -> None:
    """Draw small-bowel loops, colon and duodenum into the cavity's fat."""
    rng = canvas.rng
    wall = build.half_width_mm - build.fat_mm - build.wall_mm
    front = build.middle_y_mm - build.half_depth_mm + build.fat_mm + build.wall_mm
    opacified = rng.random() < 0.25  # oral contrast has been drunk or it has not
    back = -build.spine_y_mm - 22.0
    for _ in range(int(rng.integers(18, 60))):
        _draw_loop(canvas, (front, back, wall), opacified)
    _draw_colon(canvas, (front, back, wall), opacified)
    _draw_duodenum(canvas, build, opacified)


def _fill(canvas: Canvas, tube: Segment, wall: float, content: int, over: tuple[int, ...] = _GUT) -> None:
    """Draw a wall and its contents, with gas or fluid levels now and then."""
    rng = canvas.rng
    canvas.draw([tube], _S.BOWEL_WALL, over)
    inside = Segment(tube.points_mm, np.maximum(tube.radius_mm - wall, 0.3))
    marker = 255  # contents of this loop only, until they are named
    canvas.draw([inside], marker, (_S.BOWEL_WALL,))
    if rng.random() < 0.25:
        lift = np.array([0.0, rng.uniform(0.5, 1.0), 0.0])
        bubble = Segment(inside.points_mm - lift * inside.radius_mm[:, None], inside.radius_mm * 0.9)
        canvas.draw([bubble], _S.BOWEL_GAS, (marker,))
    part = canvas.around([tube])
    here = part == marker
    if content == _S.BOWEL_STOOL:
        mottled = smooth_noise(part.shape, canvas.spacing, rng.uniform(3.0, 6.0), rng) > rng.uniform(0.4, 2.5)
        part[here & mottled] = _S.BOWEL_GAS
        here &= ~mottled
    part[here] = content


def _content(canvas: Canvas, kinds: tuple[list[Structure], list[float]], opacified: bool) -> int:
    """Choose what a loop holds."""
    if opacified and canvas.rng.random() < 0.5:
        return int(_S.BOWEL_CONTRAST)
    return int(canvas.rng.choice(kinds[0], p=kinds[1]))


def _draw_loop(canvas: Canvas, cavity: tuple[float, float, float], opacified: bool) -> None:
    """Draw one loop: a random walk that turns smoothly and stays within the cavity."""
    rng = canvas.rng
    front, back, wall = cavity
    low = np.array([-150.0, front + 14.0, -wall + 30.0])
    high = np.array([15.0, back, wall - 30.0])
    low[1] = min(low[1], back - 10.0)
    if rng.random() < 0.35:  # jejunum, high on the left beside the kidney and the great vessels
        low[2], high[0] = 5.0, 50.0
        low[0] = -70.0
    point = rng.uniform(low, high)
    heading = rng.normal(0.0, 1.0, 3) * (0.8, 0.8, 1.3)
    points = [point]
    for _ in range(int(rng.integers(5, 18))):
        heading = heading / np.linalg.norm(heading) + rng.normal(0.0, 0.55, 3)
        pull = np.where(points[-1] < low, 1.0, np.where(points[-1] > high, -1.0, 0.0))
        heading = np.where(pull != 0, np.abs(heading) * pull + 0.3 * pull, heading)
        points.append(points[-1] + 16.0 * heading / np.linalg.norm(heading))
    radius = rng.uniform(6.0, 15.0)
    wave = radius * (1.0 + 0.22 * np.clip(rng.normal(0.0, 1.0, len(points)), -2, 2))
    _fill(canvas, canvas.path(points, wave), rng.uniform(1.2, 2.8), _content(canvas, _SMALL, opacified))


def _draw_colon(canvas: Canvas, cavity: tuple[float, float, float], opacified: bool) -> None:
    """Draw ascending, transverse and descending colon, pouched, in stretches of different contents."""
    rng = canvas.rng
    front, _, wall = cavity
    side = wall - 24.0
    hang = rng.uniform(-70.0, 10.0)
    frame = [
        (-150, -25, -side + 15), (-95, -10, -side), (-40, 0, -side), (-8, -20, -side + 12),
        (-2, front + 60, -60), (hang, front + 28, -15), (hang + 10, front + 26, 30), (20, front + 55, 75),
        (42, -15, side - 14), (20, 10, side), (-40, 12, side + 4), (-95, 0, side), (-150, -25, side - 12),
    ]  # fmt: skip
    points = [tuple(np.array(p) + rng.normal(0.0, 5.0, 3)) for p in frame]
    whole = canvas.path(
        points, np.interp(np.arange(13), [0, 4, 8, 12], rng.uniform((19, 15, 12, 9), (30, 26, 22, 20)))
    )
    along = np.arange(len(whole.points_mm)) * 2.0
    pouched = whole.radius_mm * (
        0.88 + 0.2 * np.abs(np.sin(along / rng.uniform(8.0, 13.0) + rng.normal(0, 0.2, len(along))))
    )
    cuts = np.sort(rng.choice(np.arange(10, len(along) - 10), size=5, replace=False))
    for start, stop in zip(np.r_[0, cuts], np.r_[cuts, len(along)], strict=True):
        if stop - start > 1:
            piece = Segment(whole.points_mm[start:stop], pouched[start:stop])
            _fill(canvas, piece, rng.uniform(1.3, 2.6), _content(canvas, _LARGE, opacified))


def _draw_duodenum(canvas: Canvas, build: Build, opacified: bool) -> None:
    """Draw the duodenum about the pancreas's head and between the great vessels and the mesentery."""
    rng = canvas.rng
    front = -build.spine_y_mm
    low = rng.uniform(-62, -42)
    points = [
        (12, front - 42, -32), (14, front - 34, -48), (-12, front - 16, -52), (low + 6, front - 18, -46),
        (low, front - 36, -18), (low + 3, front - 38, 10), (low + 14, front - 30, 34),
        (low + 34, front - 34, 42),
    ]  # fmt: skip
    tube = canvas.path(points, rng.uniform(7.0, 13.0) * rng.uniform(0.8, 1.2, len(points)), 1.5)
    _fill(
        canvas,
        tube,
        rng.uniform(1.3, 2.6),
        _content(canvas, _SMALL, opacified),
        (*_GUT, _S.PANCREAS, _S.LIVER),
    )
