"""Laws of all edits together: undone, journalled and measured again, whatever their kind and order."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import (
    BridgeSettings,
    Context,
    History,
    Journal,
    accept_box,
    accept_bridges,
    accept_islands,
    delete,
    fill_branch,
    find_islands,
    grow,
    keep_largest,
    label_islands,
    mark_edited,
    merge,
    paint,
    propose_bridges,
    relabel,
    repredict,
    split,
    stroke,
    swap_branch,
    update_islands,
)
from napari_kidnet.islands.journal import replay
from tests.islands.strategies import CLASSES, volumes
from tests.islands.test_table import same_tables

SPACING = (1.5, 0.7, 0.9)
EAGER = BridgeSettings(min_confidence=0.0, max_angle_degrees=180.0, min_voxels=1, min_probability_share=0.0)

KINDS = {
    "delete": lambda s: delete(s.labels, s.table, s.ids(2)),
    "relabel": lambda s: relabel(s.labels, s.table, s.ids(2), s.a_class()),
    "keep largest": lambda s: keep_largest(s.labels, s.table, s.a_class()),
    "merge": lambda s: merge(s.labels, s.table, s.ids(3)),
    "split": lambda s: split(s.labels, s.table, s.two_voxels()),
    "split to a class": lambda s: split(s.labels, s.table, s.two_voxels(), s.a_class()),
    "swap": lambda s: swap_branch(s.labels, s.table, s.two_voxels()[0], s.a_class()),
    "grow": lambda s: grow(s.labels, s.table, s.ids(1)[0], s.rng.uniform(0.05, 0.6), s.context, 3.0),
    "fill": lambda s: fill_branch(s.labels, s.table, s.point(), s.a_class(), s.context),
    "paint": lambda s: paint(s.labels, [s.point()], int(s.rng.integers(0, 4)), 1.5, SPACING),
    "bridge": lambda s: accept_bridges(
        s.labels, propose_bridges(s.table, s.labels, s.context, EAGER)[:2], SPACING
    ),
    "model's run": lambda s: repredict(s.labels, s.states, s.rng.integers(0, 2, s.labels.shape)),
    "accept islands": lambda s: accept_islands(s.table, s.ids(2), s.states, 1),
    "accept box": lambda s: accept_box(s.states, (slice(0, 2), slice(None), slice(0, 3))),
    "stroke": lambda s: s.stroke(),
}


class Work:
    """A person at work: labels, mask, table, history and journal, and a source of luck."""

    def __init__(self, labels, seed, journal=None):
        self.labels, self.states = labels, np.zeros(labels.shape, np.uint8)
        self.rng = np.random.default_rng(seed)
        log = np.log(self.rng.dirichlet(np.ones(4), labels.shape).transpose(3, 0, 1, 2))
        kidneys = np.indices(labels.shape).sum(axis=0) % 7 == 0
        self.context = Context(SPACING, log_probabilities=log, kidneys=kidneys)
        self.table = find_islands(labels, self.context)
        self.history, self.journal = History(), journal

    def ids(self, most):
        if not len(self.table):
            raise LabelsError("there is no island.")
        return self.rng.choice(self.table.id, min(most, len(self.table)), replace=False).tolist()

    def a_class(self):
        return int(self.rng.integers(1, CLASSES + 1))

    def point(self):
        return [int(self.rng.integers(0, size)) for size in self.labels.shape]

    def two_voxels(self):
        if not len(self.table):
            raise LabelsError("there is no island.")
        voxels = self.table.voxels_of(int(np.argmax(self.table.voxels)))
        chosen = voxels[[0, -1]] if self.rng.random() < 0.5 else self.rng.choice(voxels, 2)
        return [np.array(np.unravel_index(each, self.labels.shape)).tolist() for each in chosen]

    def stroke(self):
        """Paint as a viewer does, behind the history's back, and describe it."""
        flat = np.unique(self.rng.integers(0, self.labels.size, 5))
        before = self.labels.reshape(-1)[flat].copy()
        self.labels.reshape(-1)[flat] = self.a_class()
        edit = stroke(self.labels, flat, before)
        edit.undo(self.labels)  # for `do` to apply it as any other
        return edit

    def do(self, kind):
        """Do one action; what cannot be done is refused with a sentence and changes nothing."""
        verb, edit = kind, None
        if kind == "undo":
            edit = self.history.undo(self.labels, self.states)
        elif kind == "redo":
            edit = self.history.redo(self.labels, self.states)
        else:
            before = self.labels.copy()
            try:
                edit = KINDS[kind](self)
            except LabelsError:
                assert np.array_equal(self.labels, before)
                return
            verb = "do"
            edit = edit if edit.states is not None else mark_edited(edit, self.states)
            self.history.do(edit, self.labels, self.states)
            assert edit.what
        if edit is None:
            return
        if self.journal is not None:
            getattr(self.journal, verb)(edit)
        if edit.voxels:
            self.table = update_islands(self.table, self.labels, edit.box, self.context, edit.labels.flat)


actions = st.lists(st.sampled_from([*KINDS, "undo", "undo", "redo"]), min_size=1, max_size=8)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=80, deadline=None)
@given(volumes(8), actions, seeds)
def test_undoing_all_gives_the_array_before_and_redoing_all_the_array_after(labels, steps, seed):
    work = Work(labels, seed)
    first = labels.copy()
    for kind in steps:
        work.do(kind)
    last, last_states = work.labels.copy(), work.states.copy()
    undone = 0
    while work.history.undo(work.labels, work.states) is not None:
        undone += 1
    assert np.array_equal(work.labels, first)
    assert not work.states.any()
    for _ in range(undone):
        work.history.redo(work.labels, work.states)
    assert np.array_equal(work.labels, last)
    assert np.array_equal(work.states, last_states)


@settings(max_examples=60, deadline=None)
@given(volumes(8), actions, seeds)
def test_after_any_edits_the_table_is_the_table_from_scratch(labels, steps, seed):
    work = Work(labels, seed)
    for kind in steps:
        work.do(kind)
        same_tables(work.table, find_islands(work.labels, work.context))
        assert len(work.table) == label_islands(work.labels).n
        assert np.unique(work.table.id).size == len(work.table)


@settings(max_examples=30, deadline=None)
@given(volumes(7), actions, seeds, st.data())
def test_a_journal_of_any_edits_cut_at_any_byte_is_the_state_after_a_whole_edit(
    tmp_path_factory, labels, steps, seed, data
):
    path = tmp_path_factory.mktemp("journal") / "scan.journal"
    base = labels.copy()
    with Journal(path, labels) as journal:
        work = Work(labels, seed, journal)
        after = [(path.stat().st_size, work.labels.copy(), work.states.copy())]
        for kind in steps:
            work.do(kind)
            after.append((path.stat().st_size, work.labels.copy(), work.states.copy()))
    whole = path.read_bytes()
    cut = data.draw(st.integers(after[0][0], len(whole)))
    restored = replay(whole[:cut], base)
    _, expected, expected_states = [each for each in after if each[0] <= cut][-1]
    assert np.array_equal(restored.labels, expected)
    assert np.array_equal(restored.states, expected_states)


@settings(max_examples=60, deadline=None)
@given(volumes(8), seeds)
def test_merged_islands_are_one_and_split_again_are_two(labels, seed):
    work = Work(labels, seed)
    same = [row for row in range(len(work.table)) if work.table.class_id[row] == 1]
    if len(same) < 2:
        return
    one, other = work.rng.choice(same, 2, replace=False).tolist()
    ends = [np.array(np.unravel_index(work.table.voxels_of(row)[0], labels.shape)) for row in (one, other)]
    merge(labels, work.table, work.table.id[[one, other]].tolist()).apply(labels)
    table = find_islands(labels)
    assert table.at(ends[0]) == table.at(ends[1]) is not None
    if np.abs(ends[0] - ends[1]).max() <= 1:
        return
    split(labels, table, (ends[0].tolist(), ends[1].tolist())).apply(labels)
    table = find_islands(labels)
    assert None not in (table.at(ends[0]), table.at(ends[1]))
    assert table.at(ends[0]) != table.at(ends[1])


def test_every_kind_of_edit_can_be_drawn_and_takes_hold():
    """Guards the laws above: a kind that is always refused would prove nothing."""
    held = dict.fromkeys(KINDS, 0)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        labels = rng.integers(1, 4, (6, 7, 8)).astype(np.uint8)
        labels[rng.random(labels.shape) < 0.6] = 0
        for kind in KINDS:
            work = Work(labels.copy(), seed)
            work.do(kind)
            held[kind] += bool(work.history.done) and work.history.done[-1].nbytes > 0
    assert min(held.values()) > 0, held
