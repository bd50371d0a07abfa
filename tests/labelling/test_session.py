"""The law of a session: a machine never writes where a person has had a say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError
from napari_kidnet.labelling import LabellingSession, Tile
from napari_kidnet.scans import Scan

SHAPE = (5, 6, 7)


def session_of(shape=SHAPE, labels=None):
    return LabellingSession(Scan.from_array(np.zeros(shape, np.int16), (2.0, 0.5, 0.5)), labels)


boxes = st.tuples(
    *(st.tuples(st.integers(0, n - 1), st.integers(1, n)).filter(lambda p: p[0] < p[1]) for n in SHAPE)
)
voxels = st.tuples(*(st.integers(0, n - 1) for n in SHAPE))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("tile"), boxes, st.integers(0, 3)),
        st.tuples(st.just("edit"), voxels, st.integers(0, 3)),
        st.tuples(st.just("script"), voxels, st.integers(0, 3)),
        st.tuples(st.just("undo"), voxels, st.just(0)),
    ),
    max_size=25,
)


@given(steps)
def test_whatever_happens_a_persons_voxels_stay_and_the_rest_is_the_machines(events):
    session = session_of()
    mine, machine = {}, np.zeros(SHAPE, np.uint8)
    for kind, where, value in events:
        if kind == "tile":
            box = tuple(slice(*ends) for ends in where)
            tile = np.full([s.stop - s.start for s in box], value, np.uint8)
            machine[box] = tile
            session.receive(Tile(box, tile))
        elif kind == "edit":
            session.labels[where] = value
            session.touch(np.ravel_multi_index([[v] for v in where], SHAPE))
            mine[where] = value
        elif kind == "script":  # told to nobody: seen where it differs from the machine
            session.labels[where] = value
            if where in mine or value != machine[where]:
                mine[where] = value
        elif where in mine:
            session.touch(np.ravel_multi_index([[v] for v in where], SHAPE))
            session.release(np.ravel_multi_index([[v] for v in where], SHAPE))
            mine.pop(where)
        # what differs is a person's, until it is the same again without having been touched
        for voxel in [v for v in mine if not session.held(tuple(slice(i, i + 1) for i in v)).all()]:
            mine.pop(voxel)
    expected = machine.copy()
    for voxel, value in mine.items():
        expected[voxel] = value
    assert np.array_equal(session.labels, expected)


def test_touch_and_release_are_each_others_inverse():
    session = session_of()
    session.receive(Tile((slice(0, 5), slice(0, 6), slice(0, 7)), np.ones(SHAPE, np.uint8)))
    first = session.touch(np.array([3, 4, 5]))
    second = session.touch(np.array([5, 6]))
    assert second.tolist() == [6]  # 5 was the person's already
    session.labels.reshape(-1)[[3, 4, 5, 6]] = 2
    session.release(second)
    assert session.labels.reshape(-1)[[5, 6]].tolist() == [2, 1]
    session.release(first)
    assert (session.labels == 1).all()
    assert not session.touched.any()


@given(st.integers(1, 30))
def test_a_result_in_pieces_is_the_result(voxels_a_piece):
    from napari_kidnet.labelling import session as module

    whole = np.random.default_rng(0).integers(0, 4, SHAPE).astype(np.uint8)
    session, before = session_of(), module._PIECE_VOXELS
    session.labels[2, 2, 2] = 3 if whole[2, 2, 2] != 3 else 1
    mine = int(session.labels[2, 2, 2])
    try:
        module._PIECE_VOXELS = voxels_a_piece
        for _ in session.replace_steps(whole):
            pass
    finally:
        module._PIECE_VOXELS = before
    whole[2, 2, 2] = mine
    assert np.array_equal(session.labels, whole)


def test_a_box_is_all_that_a_boxed_result_changes():
    session = session_of()
    box = (slice(1, 3), slice(2, 4), slice(0, 7))
    for _ in session.replace_steps(np.ones(SHAPE, np.uint8), box):
        pass
    assert session.labels.sum() == 2 * 2 * 7
    assert (session.labels[box] == 1).all()


def test_volumes_are_in_millilitres():
    session = session_of()
    session.labels[0, 0, :4] = 2
    assert session.volumes_ml() == {
        "artery": 0.0,
        "vein": 4 * 2.0 * 0.5 * 0.5 / 1000,
        "collecting_system": 0.0,
    }


def test_labels_to_go_on_with_are_a_persons():
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1, 1] = 2
    session = session_of(labels=labels)
    session.receive(Tile((slice(0, 5), slice(0, 6), slice(0, 7)), np.ones(SHAPE, np.uint8)))
    assert session.labels[1, 1, 1] == 2
    assert (session.labels == 1).sum() == labels.size - 1


def test_labels_of_another_grid_are_refused():
    with pytest.raises(LabelsError, match="open the labels that belong to this scan"):
        session_of(labels=np.zeros((2, 2, 2), np.uint8))
    with pytest.raises(LabelsError, match="cannot be its labels"):
        session_of().adopt(np.zeros((2, 2, 2), np.uint8))


def test_those_who_show_it_are_told_where():
    session, told = session_of(), []
    session.events.labels.connect(told.append)
    box = (slice(1, 3), slice(2, 4), slice(0, 7))
    session.receive(Tile(box, np.ones((2, 2, 7), np.uint8)))
    session.release(session.touch(np.array([0, 8])))
    assert told == [box, (slice(0, 1), slice(0, 2), slice(0, 2))]
