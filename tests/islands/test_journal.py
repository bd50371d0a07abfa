import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_kidnet.errors import LabelsError, OutputError
from napari_kidnet.islands import Edit, History, Journal, find_islands, mark_edited, paint
from napari_kidnet.islands.journal import replay
from tests.islands.strategies import cross

SPACING = (1.0, 1.0, 1.0)


def work(path, labels, actions, compact_at=None):
    """Edit with a journal; return labels and states after every action, the first being before any."""
    states = np.zeros(labels.shape, np.uint8)
    history, after = History(), [(labels.copy(), states.copy(), 0)]
    with Journal(path, labels) as journal:
        after[0] = (labels.copy(), states.copy(), path.stat().st_size)
        for k, (kind, z, y, x, c) in enumerate(actions):
            if kind == "undo":
                edit = history.undo(labels, states)
                if edit is not None:
                    journal.undo(edit)
            elif kind == "redo":
                edit = history.redo(labels, states)
                if edit is not None:
                    journal.redo(edit)
            else:
                edit = mark_edited(paint(labels, [(z, y, x)], c, 1.5, SPACING), states)
                history.do(edit, labels, states)
                journal.do(edit)
            if k == compact_at:
                journal.compact(labels, states, base=after[0][0])
            after.append((labels.copy(), states.copy(), path.stat().st_size))
    return after


actions = st.lists(
    st.tuples(
        st.sampled_from(["paint", "paint", "undo", "redo"]),
        st.integers(0, 5),
        st.integers(0, 6),
        st.integers(0, 7),
        st.integers(0, 3),
    ),
    max_size=8,
)


@settings(max_examples=15, deadline=None)
@given(actions, st.one_of(st.none(), st.integers(0, 7)))
def test_replay_is_the_state(tmp_path_factory, steps, compact_at):
    path = tmp_path_factory.mktemp("journal") / "scan.journal"
    base = np.random.default_rng(0).integers(0, 3, (6, 7, 8)).astype(np.uint8)
    labels, states, _ = work(path, base.copy(), steps, compact_at)[-1]
    with Journal(path, base) as journal:
        assert np.array_equal(journal.restored.labels, labels)
        assert np.array_equal(journal.restored.states, states)
        while journal.restored.history.undo(journal.restored.labels, journal.restored.states):
            pass
        if compact_at is None or compact_at >= len(steps):
            assert np.array_equal(journal.restored.labels, base)


def test_a_journal_cut_at_any_byte_holds_every_whole_action(tmp_path):
    path = tmp_path / "scan.journal"
    base = np.zeros((6, 7, 8), np.uint8)
    steps = [("paint", 2, 3, 4, 1), ("paint", 3, 3, 5, 2), ("undo", 0, 0, 0, 0), ("paint", 1, 1, 1, 3)]
    after = work(path, base.copy(), steps)
    data = path.read_bytes()
    for cut in range(len(data) + 1):
        whole = max((k for k, (_, _, size) in enumerate(after) if size <= cut), default=None)
        path.write_bytes(data[:cut])
        with Journal(path, base) as journal:
            labels, states = journal.restored.labels, journal.restored.states
            expected = after[whole or 0]
            assert np.array_equal(labels, expected[0])
            assert np.array_equal(states, expected[1])
            # and it goes on from there
            edit = paint(labels, [(5, 5, 5)], 2, 1.0, SPACING)
            edit.apply(labels, states)
            journal.do(edit)
        with Journal(path, base) as journal:
            assert np.array_equal(journal.restored.labels, labels)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_flipped_bit_ends_the_journal_and_invents_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "scan.journal"
    base = np.zeros((6, 7, 8), np.uint8)
    after = work(path, base.copy(), [("paint", 2, 3, 4, 1), ("paint", 3, 3, 5, 2), ("paint", 1, 1, 1, 3)])
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(after[0][2], len(raw) - 1))
    raw[place] ^= 1 << data.draw(st.integers(0, 7))
    restored = replay(bytes(raw), base)
    assert any(np.array_equal(restored.labels, labels) for labels, _, _ in after[:-1])


def test_a_clean_end_leaves_nothing_to_restore(tmp_path):
    path = tmp_path / "scan.journal"
    labels = cross()
    with Journal(path, labels) as journal:
        edit = paint(labels, [(1, 1, 1)], 2, 1.0, SPACING)
        edit.apply(labels)
        journal.do(edit)
        journal.note("flagged", [3, 4])
        journal.compact(labels, np.zeros(labels.shape, np.uint8))  # the labels were saved
    with Journal(path, labels) as journal:
        assert journal.restored.actions == 0
        journal.delete()
    assert not path.exists()


def test_notes_and_history_come_back(tmp_path):
    path = tmp_path / "scan.journal"
    base = cross()
    labels = base.copy()
    with Journal(path, labels) as journal:
        for c in (2, 3):
            edit = paint(labels, [(1, 1, 1)], c, 2.0, SPACING)
            edit.apply(labels)
            journal.do(edit)
        journal.note("flagged", [1])
        journal.note("flagged", [1, 2])
    with Journal(path, base) as journal:
        restored = journal.restored
    assert restored.notes == {"flagged": [1, 2]}
    assert restored.actions == 2
    assert restored.history.done[0].what.startswith("Painted")
    restored.history.undo(restored.labels)
    restored.history.undo(restored.labels)
    assert np.array_equal(restored.labels, base)


def test_the_second_session_is_told(tmp_path):
    path = tmp_path / "scan.journal"
    with Journal(path, cross()):
        with pytest.raises(OutputError, match=f"process {os.getpid()}"):
            Journal(path, cross())
    Journal(path, cross()).close()


def test_a_journal_of_other_labels_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "scan.journal"
    work(path, cross(), [("paint", 1, 1, 1, 2)])
    data = path.read_bytes()
    other = cross()
    other[0, 0, 0] = 3
    for labels in (other, cross().astype(np.int32), cross()[:-1]):
        with pytest.raises(LabelsError, match="belongs to other labels"):
            Journal(path, labels)
    assert path.read_bytes() == data


def test_a_folder_that_cannot_be_written_to_says_so_at_once(tmp_path):
    with pytest.raises(OutputError, match="cannot be written to"):
        Journal(tmp_path / "missing" / "scan.journal", cross())


def test_an_edit_is_small_on_disk(tmp_path):
    path = tmp_path / "scan.journal"
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[10:50, 20:40, 20:40] = 1
    with Journal(path, labels) as journal:
        before = path.stat().st_size
        table = find_islands(labels)
        journal.do(Edit.of(labels, table.voxels_of(0), 0, "Deleted"))
        assert path.stat().st_size - before < 0.2 * table.voxels[0]


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_kill_at_any_moment_loses_at_most_one_action(tmp_path):
    script = textwrap.dedent("""
        import sys
        from pathlib import Path
        import numpy as np
        from napari_kidnet.islands import Edit, Journal
        labels = np.zeros((8, 8, 8), np.uint8)
        with Journal(Path(sys.argv[1]), labels) as journal:
            for k in range(512):
                edit = Edit.of(labels, [k], 1 + k % 3, "Painted")
                edit.apply(labels)
                journal.do(edit)
                print(k, flush=True)
    """)
    base = np.zeros((8, 8, 8), np.uint8)
    for last in (0, 7, 100):
        path = tmp_path / f"{last}.journal"
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True
        ) as session:
            for line in session.stdout:
                if int(line) == last:
                    session.send_signal(signal.SIGKILL)
                    break
        with Journal(path, base) as journal:
            restored = journal.restored.labels.ravel()
        n = np.count_nonzero(restored)
        assert n >= last + 1
        assert np.array_equal(restored[:n], 1 + np.arange(n) % 3)
