from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_kidnet.segmentation.grid import AxisGrid, NetworkGrid

SPACINGS = [(1.5, 1.5, 1.5), (0.5, 1.3, 2.2), (3.1, 0.7, 1.0), (1.0, 2.0, 1.0)]


def whole(shape):
    return tuple(slice(0, length) for length in shape)


@pytest.mark.parametrize("wanted", SPACINGS)
@pytest.mark.parametrize("shape", [(40, 31, 27), (17, 64, 33)])
def test_a_ramp_of_mm_is_the_same_ramp_on_the_network_grid_and_back(shape, wanted):
    """A linear field is reproduced exactly by linear interpolation, so any shift of half a voxel shows."""
    spacing = (1.0, 0.8, 0.9)
    grid = NetworkGrid.of(shape, spacing, wanted)
    for axis in range(3):
        mm = (np.arange(shape[axis]) + 0.5 - shape[axis] / 2) * spacing[axis]
        along = tuple(-1 if other == axis else 1 for other in range(3))
        field = np.broadcast_to(mm.reshape(along), shape).astype(np.float32)
        on_network = grid.read(field, whole(grid.shape))
        assert on_network.shape == grid.shape
        step = spacing[axis] if grid.axes[axis].same else wanted[axis]
        expected = (np.arange(grid.shape[axis]) + 0.5 - grid.shape[axis] / 2) * step
        inner = slice(3, -3)
        got = np.moveaxis(on_network, axis, 0)[:, 1, 1]
        np.testing.assert_allclose(got[inner], expected[inner], atol=1e-3)
        back = grid.write(on_network[None], (0, 0, 0), whole(shape))[0]
        edge = int(np.ceil(3 * max(1, wanted[axis] / spacing[axis]))) + 1
        np.testing.assert_allclose(np.moveaxis(back, axis, 0)[edge:-edge, 1, 1], mm[edge:-edge], atol=1e-3)


@pytest.mark.parametrize("wanted", SPACINGS)
def test_reading_and_writing_by_windows_is_reading_and_writing_at_once(wanted):
    shape = (33, 41, 29)
    hu = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    grid = NetworkGrid.of(shape, (1.0, 1.0, 1.0), wanted)
    at_once = grid.read(hu, whole(grid.shape))
    window = tuple(slice(length // 4, length // 4 + max(2, length // 2)) for length in grid.shape)
    np.testing.assert_allclose(grid.read(hu, window), at_once[window], atol=1e-5)
    box = tuple(
        slice(axis.scan_cut(part.start + 1), axis.scan_cut(part.stop - 1))
        for axis, part in zip(grid.axes, window, strict=True)
    )
    back = grid.write(at_once[None], (0, 0, 0), whole(shape))
    first = tuple(part.start for part in window)
    np.testing.assert_allclose(
        grid.write(at_once[None][(slice(None), *window)], first, box), back[(slice(None), *box)], atol=1e-5
    )


def test_finer_to_coarser_averages_instead_of_skipping():
    lines = np.zeros((64, 8, 8), np.float32)
    lines[::2] = 1.0
    grid = NetworkGrid.of(lines.shape, (1.0, 1.0, 1.0), (4.0, 1.0, 1.0))
    coarse = grid.read(lines, whole(grid.shape))
    np.testing.assert_allclose(coarse[2:-2], 0.5, atol=0.01)


def test_writing_agrees_with_scipy():
    """An oracle that knows nothing of our matrices: map_coordinates at the same millimetres."""
    shape, wanted = (21, 18, 25), (1.7, 0.8, 1.2)
    grid = NetworkGrid.of(shape, (1.0, 1.0, 1.0), wanted)
    logits = np.random.default_rng(1).normal(size=(1, *grid.shape)).astype(np.float32)
    steps = [wanted[axis] for axis in range(3)]
    at = [
        (np.arange(n) + 0.5 - n / 2) / step + m / 2 - 0.5
        for n, m, step in zip(shape, grid.shape, steps, strict=True)
    ]
    oracle = ndimage.map_coordinates(logits[0], np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    np.testing.assert_allclose(grid.write(logits, (0, 0, 0), whole(shape))[0], oracle, atol=1e-4)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 200), st.floats(0.3, 4.0), st.floats(0.3, 4.0))
def test_a_flipped_axis_has_a_flipped_grid(length, spacing, wanted):
    axis = AxisGrid.of(length, spacing, wanted)
    ahead = axis.to_network(np.arange(length, dtype=float))
    np.testing.assert_allclose(ahead, axis.length - 1 - ahead[::-1], atol=1e-6)


def test_almost_the_same_spacing_is_the_scans_own_grid():
    grid = NetworkGrid.of((30, 30, 30), (0.99, 1.0, 1.01), (1.0, 1.0, 1.0))
    assert grid.same
    hu = np.arange(27000, dtype=np.int16).reshape(30, 30, 30)
    np.testing.assert_array_equal(grid.read(hu, (slice(2, 9), slice(0, 30), slice(5, 99))), hu[2:9, :, 5:])
