"""Small random volumes: a few blobs of three classes, so that pieces touch, nest and fall apart."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

CLASSES = 3


@st.composite
def volumes(draw, longest=9):
    shape = tuple(draw(st.integers(1, longest)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.0, 0.05, 0.2, 0.5, 0.95]))
    labels = rng.integers(1, CLASSES + 1, shape).astype(np.uint8)
    labels[rng.random(shape) >= share] = 0
    return labels


@st.composite
def boxes(draw, shape):
    sides = []
    for size in shape:
        low = draw(st.integers(0, size - 1))
        sides.append(slice(low, draw(st.integers(low + 1, size))))
    return tuple(sides)


def cross(shape=(11, 11, 41), centre=5, half=2):
    """Give a straight square vessel along x."""
    labels = np.zeros(shape, np.uint8)
    labels[centre - half : centre + half + 1, centre - half : centre + half + 1] = 1
    return labels
