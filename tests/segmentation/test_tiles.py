from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import SettingsError
from napari_kidnet.segmentation.grid import NetworkGrid
from napari_kidnet.segmentation.pieces import plan_tiles
from napari_kidnet.segmentation.tiles import TileShape, plan_axes, plan_axis


@st.composite
def layouts(draw: st.DrawFn):
    """A scan, a network's grid, a region of the scan, and tiles."""
    shape = tuple(draw(st.integers(1, 90)) for _ in range(3))
    region = []
    for length in shape:
        start = draw(st.integers(0, length - 1))
        region.append(slice(start, draw(st.integers(start + 1, length))))
    wanted = draw(st.sampled_from([None, (1.0, 1.0, 1.0), (1.7, 0.9, 1.3), (0.6, 2.5, 1.0)]))
    grid = NetworkGrid.of(shape, (1.0, 1.0, 1.0), wanted)
    multiple = draw(st.sampled_from([1, 4, 8]))
    halo = draw(st.integers(0 if wanted is None else 1, 9))
    blend = draw(st.sampled_from([0, 2, 5, 8]))
    return grid, tuple(region), TileShape(multiple, draw(st.integers(56, 80)) ** 3, halo, blend)


@settings(deadline=None, max_examples=150)
@given(layouts(), st.integers(0, 80))
def test_the_weights_of_all_tiles_add_up_to_one_inside_the_region_and_to_nothing_outside(layout, at):
    grid, region, shape = layout
    plan = plan_tiles(grid, region, shape, None, (at, at, at))
    scan_shape = tuple(axis.scan_length for axis in grid.axes)
    weight = np.zeros(scan_shape, np.float64)
    for tile in plan.tiles:
        for piece in tile.pieces:
            assert tile.index in piece.tiles
            weight[piece.box] += piece.weight(tile.index)
    inside = np.zeros(scan_shape, bool)
    inside[region] = True
    np.testing.assert_allclose(weight, inside, atol=1e-6)


@settings(deadline=None, max_examples=150)
@given(layouts())
def test_without_a_ramp_each_voxel_is_written_by_exactly_one_tile(layout):
    grid, region, shape = layout
    shape = TileShape(shape.multiple, shape.voxels, shape.halo, 0)
    written = np.zeros(tuple(axis.scan_length for axis in grid.axes), int)
    for tile in plan_tiles(grid, region, shape, None, None).tiles:
        written[tile.box] += 1
    inside = np.zeros_like(written)
    inside[region] = 1
    np.testing.assert_array_equal(written, inside)


@settings(deadline=None, max_examples=150)
@given(layouts())
def test_every_window_sees_its_pieces_with_their_halo(layout):
    grid, region, shape = layout
    for tile in plan_tiles(grid, region, shape, None, None).tiles:
        size = 1
        for axis, (window, part) in enumerate(zip(tile.window, tile.box, strict=True)):
            assert window.start % shape.multiple == 0
            assert (window.stop - window.start) % shape.multiple == 0
            low, high = grid.axes[axis].network_range(part.start, part.stop)
            # Interpolation may reach one voxel into the halo.
            lost = 0 if grid.axes[axis].same else 1
            assert window.start == 0 or window.start <= low - shape.halo + lost
            assert window.stop >= grid.shape[axis] or window.stop >= high + shape.halo - lost
            size *= window.stop - window.start
        assert size <= shape.voxels


def test_tiles_nearest_to_what_is_on_the_screen_come_first():
    grid = NetworkGrid.of((96, 96, 96), (1, 1, 1), None)
    everything = (slice(0, 96),) * 3
    plan = plan_tiles(grid, everything, TileShape(8, 48**3, 8, 0), None, (90, 4, 50))
    first = plan.tiles[0].box
    assert all(part.start <= at < part.stop for part, at in zip(first, (90, 4, 50), strict=True))
    last = plan.tiles[-1].box
    assert last[0].start == 0
    assert last[1].stop == 96


def test_tiles_of_nothing_but_air_are_left_out():
    grid = NetworkGrid.of((32, 32, 128), (1, 1, 1), None)
    hu = np.full((32, 32, 128), -1000, np.int16)
    hu[:, :, :20] = 40
    everything = (slice(0, 32), slice(0, 32), slice(0, 128))
    plan = plan_tiles(grid, everything, TileShape(8, 32 * 32 * 48, 8, 0), hu, None)
    assert len(plan) == 1
    assert plan.tiles[0].box[2].start == 0


def test_the_plan_computes_no_more_than_it_must():
    # 256³ with 16 voxels of halo: two windows of 144 along each axis, not three of 96 or 112.
    plan = plan_axes((256, 256, 256), ((0, 256),) * 3, TileShape(8, 150**3, 16, 0))
    assert [axis.size for axis in plan] == [144, 144, 144]


def test_a_volume_smaller_than_a_tile_is_one_window():
    plan = plan_axis(5, (0, 5), 1, TileShape(8, 64**3, 16, 0))
    assert plan is not None
    assert (plan.size, plan.starts, plan.cuts) == (16, (0,), ())


def test_a_tile_smaller_than_its_halo_is_refused_with_what_would_do():
    with pytest.raises(SettingsError, match=r"too small for a halo of 16.*allow at least"):
        plan_axes((200, 200, 200), ((0, 200),) * 3, TileShape(8, 20**3, 16, 0))
