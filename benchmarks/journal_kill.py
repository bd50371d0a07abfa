"""Kill an editing session at a random edit and look at what its journal holds.

    python benchmarks/journal_kill.py                 200 sessions, each killed after a random edit of 1 to 40

Every session is a process of its own that edits labels as a window does: find the islands, then delete,
relabel, merge, paint, split, undo and redo, each journalled before the next. It says the number of each edit
before that is written. When it says the n-th, it gets SIGKILL after a random delay of up to 10 ms: some die
while they write, some before or after. The reopened journal must hold all edits before the last that was
begun, with exactly their labels and reviewed mask; the last may be there or not.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import (
    History,
    Journal,
    delete,
    find_islands,
    mark_edited,
    merge,
    paint,
    relabel,
    split,
    update_islands,
)

SPACING = (1.5, 1.0, 1.0)
MOST_EDITS = 40


def start():
    """Give the labels that every session starts from: vessels in pieces, on a small grid."""
    rng = np.random.default_rng(1000)
    labels = np.zeros((40, 64, 64), np.uint8)
    for _ in range(40):
        at, step = rng.integers(8, 56, 3) * (0.6, 1, 1), rng.normal(size=3)
        for _ in range(int(rng.integers(4, 24))):
            step = 0.8 * step + 0.4 * rng.normal(size=3)
            at = np.clip(at + step / max(np.linalg.norm(step), 0.1), 2, (37, 61, 61))
            z, y, x = np.rint(at).astype(int)
            labels[z - 1 : z + 1, y - 1 : y + 1, x - 1 : x + 1] = 1 + int(rng.integers(1e9)) % 3
    return labels


def edits(seed, labels, states):
    """Yield an edit after the other, each already applied; the same seed gives the same ones."""
    rng = np.random.default_rng(seed)
    history = History()
    table = find_islands(labels)
    for _ in range(MOST_EDITS):
        verb, edit = rng.choice(["delete", "relabel", "merge", "paint", "split", "undo", "redo"]), None
        if verb == "undo":
            edit = history.undo(labels, states)
        elif verb == "redo":
            edit = history.redo(labels, states)
        if edit is None:
            verb, edit = "do", mark_edited(an_edit(verb, labels, table, rng), states)
            history.do(edit, labels, states)
        if edit.voxels:
            table = update_islands(table, labels, edit.box, changed=edit.labels.flat)
        yield verb, edit


def an_edit(verb, labels, table, rng):
    ids = rng.choice(table.id, 2, replace=False).tolist() if len(table) > 1 else []
    if verb == "merge" and ids:
        return merge(labels, table, ids)
    if verb == "relabel" and ids:
        return relabel(labels, table, ids[:1], int(rng.integers(1, 4)))
    if verb == "split" and ids:
        voxels = np.stack(np.unravel_index(table.voxels_of(table.row_of(ids[0])), labels.shape), 1)
        try:
            return split(labels, table, (voxels[0].tolist(), voxels[-1].tolist()))
        except LabelsError:
            pass  # a speck cannot be split
    if verb == "delete" and ids and len(table) > 10:
        return delete(labels, table, ids[:1])
    point = [int(rng.integers(0, size)) for size in labels.shape]
    return paint(labels, [point], int(rng.integers(0, 4)), float(rng.uniform(1, 3)), SPACING)


def session(path, seed):
    """Be the process that is killed."""
    labels = start()
    states = np.zeros(labels.shape, np.uint8)
    with Journal(path, labels) as journal:
        for n, (verb, edit) in enumerate(edits(seed, labels, states), 1):
            print(n, flush=True)
            getattr(journal, verb)(edit)


def states_of(seed, most):
    """Return labels and reviewed mask after each edit, from none."""
    labels = start()
    states = np.zeros(labels.shape, np.uint8)
    after = [(labels.copy(), states.copy())]
    for _, _ in zip(range(most), edits(seed, labels, states), strict=False):
        after.append((labels.copy(), states.copy()))
    return after


def killed(folder, seed, n, delay):
    """Kill a session at edit n; return how many edits were begun, how many are held, and whether rightly."""
    path = folder / f"{seed}.journal"
    command = [sys.executable, __file__, "--session", str(path), "--seed", str(seed)]
    begun = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:  # also what it said before the signal came
            begun = int(line)
            if begun == n:
                time.sleep(delay)
                os.kill(process.pid, signal.SIGKILL)
    with Journal(path, start()) as journal:
        held = journal.restored.actions
        found = journal.restored.labels, journal.restored.states
    expected = states_of(seed, held)[held]
    same = all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    return begun, held, same


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--sessions", type=int, default=200)
    ask.add_argument("--seed", type=int, default=1000)
    ask.add_argument("--session", type=Path, help=argparse.SUPPRESS)
    wish = ask.parse_args()
    if wish.session:
        session(wish.session, wish.seed)
        return
    rng = np.random.default_rng(wish.seed)
    lost = wrong = with_last = 0
    with tempfile.TemporaryDirectory() as folder:
        for k in range(wish.sessions):
            n = int(rng.integers(1, MOST_EDITS + 1))
            begun, held, same = killed(Path(folder), wish.seed + k, n, float(rng.uniform(0, 0.01)))
            lost += held < begun - 1
            with_last += held == begun
            wrong += not same
            print(f"session {k}: killed in edit {begun}, {held} held", file=sys.stderr, flush=True)
    print(
        json.dumps(
            {
                "sessions": wish.sessions,
                "lost_an_earlier_edit": lost,
                "labels_or_mask_differ": wrong,
                "held_the_last_edit_too": with_last,
                "machine": platform.machine(),
                "python": platform.python_version(),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
