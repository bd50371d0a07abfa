"""Labels that did not come from us: many classes, masks, whole numbers as floats, other grids, nothing."""

import json

import cc3d
import nibabel
import numpy as np
import pytest

from napari_kidnet import Scan, read_labels
from napari_kidnet.cli import main
from napari_kidnet.errors import LabelsError
from napari_kidnet.islands import Context, delete, find_islands, propose_bridges, review_order
from napari_kidnet.labelling.correcting import open_islands

SPACING = (2.0, 0.8, 0.9)  # z, y, x


def organs():
    """Give a hundred classes as a whole-body segmenter leaves them: large organs, neighbours, some specks."""
    rng = np.random.default_rng(7)
    seeds = rng.integers(0, (20, 40, 50), (100, 3))
    grid = np.stack(np.indices((20, 40, 50)), -1)
    away = np.stack([((grid - seed) ** 2).sum(axis=-1) for seed in seeds])
    labels = np.where(away.min(axis=0) < 25, away.argmin(axis=0) + 1, 0).astype(np.uint8)
    labels[tuple(rng.integers(0, (20, 40, 50), (40, 3)).T)] = rng.integers(1, 101, 40)
    return labels


def written(path, labels, spacing=SPACING, origin=(0.0, 0.0, 0.0)):
    """Write as others do: x first, RAS."""
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = origin
    nibabel.save(nibabel.Nifti1Image(labels.transpose(), affine), path)
    return path


def listed(path, capsys):
    assert main(["islands", str(path), "--json", "-"]) == 0
    return json.loads(capsys.readouterr().out)["islands"]


def expected(labels):
    return int(cc3d.connected_components(labels.astype(np.uint16), connectivity=26).max())


def test_a_hundred_classes_through_the_command_line(tmp_path, capsys):
    labels = organs()
    rows = listed(written(tmp_path / "total.nii.gz", labels), capsys)
    assert len(rows) == expected(labels)
    assert {row["class_id"] for row in rows} == set(np.unique(labels).tolist()) - {0}
    assert {row["class"] for row in rows} > {"Artery", "Class 57", "Class 100"}
    assert sum(row["voxels"] for row in rows) == np.count_nonzero(labels)
    assert main(["islands", str(tmp_path / "total.nii.gz")]) == 0
    assert "Class 57" in capsys.readouterr().out


def test_a_hundred_classes_are_measured_edited_and_ordered(tmp_path):
    labels = read_labels(written(tmp_path / "total.nii.gz", organs()))
    context = Context(SPACING)
    table = find_islands(labels, context)
    assert len(table) == expected(labels)
    assert len(review_order(table, propose_bridges(table, labels, context)).rows) == len(table)
    speck = int(np.argmin(table.voxels))
    edit = delete(labels, table, [table.id[speck]])
    edit.apply(labels)
    assert edit.what.startswith("Deleted 1 island of ")
    assert len(find_islands(labels, context)) == len(table) - 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32, np.float64])
def test_a_binary_mask_of_any_kind_of_number(tmp_path, capsys, dtype):
    mask = (organs() > 60).astype(dtype)
    rows = listed(written(tmp_path / "mask.nii.gz", mask), capsys)
    assert len(rows) == expected(mask)
    assert {row["class"] for row in rows} == {"Artery"}


def test_classes_above_255_keep_their_numbers(tmp_path, capsys):
    labels = organs().astype(np.int32) * 40
    rows = listed(written(tmp_path / "large.nii.gz", labels), capsys)
    assert max(row["class_id"] for row in rows) == labels.max() > 255


def test_fractions_are_refused_in_one_sentence(tmp_path, capsys):
    path = written(tmp_path / "probability.nii.gz", organs().astype(np.float32) / 7)
    assert main(["islands", str(path)]) == 1
    told = capsys.readouterr().err
    assert "Traceback" not in told
    assert "whole" in told
    assert len(told.strip().splitlines()) == 1


def test_labels_of_another_grid_are_refused_in_one_sentence(tmp_path):
    scan = Scan.from_array(np.zeros((20, 40, 50), np.int16), SPACING)
    for path in (
        written(tmp_path / "half.nii.gz", organs()[::2]),
        written(tmp_path / "moved.nii.gz", organs(), origin=(31.0, 0.0, 0.0)),
        written(tmp_path / "finer.nii.gz", organs(), spacing=(1.0, 0.4, 0.45)),
    ):
        with pytest.raises(LabelsError) as refused:
            read_labels(path, scan)
        assert path.name in str(refused.value)
    with pytest.raises(LabelsError, match="shape"):
        open_islands(organs()[::2], scan)


def test_an_empty_volume_is_no_error(tmp_path, capsys):
    path = written(tmp_path / "empty.nii.gz", np.zeros((20, 40, 50), np.uint8))
    assert listed(path, capsys) == []
    assert main(["islands", str(path)]) == 0
    assert capsys.readouterr().out.strip() == "No islands: all is background."
    labels = read_labels(path)
    table = find_islands(labels, Context(SPACING))
    assert propose_bridges(table, labels, Context(SPACING)) == []
    assert len(review_order(table).rows) == 0
    session = open_islands(labels, Scan.from_array(np.zeros(labels.shape, np.int16), SPACING))
    assert len(session.view.table) == session.view.left == 0
