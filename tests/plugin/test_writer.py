"""Saving labels by napari's own menu."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from napari_kidnet.plugin.writer import write_labels_layer


def test_labels_go_back_onto_the_scans_own_grid(viewer, preferences, scan_file, tmp_path, idle):
    """From a viewer, for a file whose axes are stored in another order."""
    stored = nib.load(scan_file)
    turned = stored.as_reoriented(nib.orientations.axcodes2ornt(("P", "I", "R")))
    path = tmp_path / "turned.nii.gz"
    nib.save(turned, path)
    (_image,) = viewer.open(str(path), plugin="napari-kidnet")
    idle(viewer)
    (labels,) = [layer for layer in viewer.layers if layer._type_string == "labels"]
    out = tmp_path / "out.nii.gz"
    viewer.layers.selection = {labels}
    assert viewer.layers.save(str(out), selected=True, plugin="napari-kidnet") == [str(out)]
    written = nib.load(out)
    assert written.shape == turned.shape
    assert np.allclose(written.affine, turned.affine)
    hu = np.asarray(turned.dataobj)
    assert np.array_equal(np.asarray(written.dataobj) == 1, hu > 250)


def test_labels_without_a_scan_lie_where_their_layer_lies(tmp_path):
    data = np.zeros((4, 5, 6), np.uint8)
    data[1, 2, 3] = 2
    out = tmp_path / "bare.nii.gz"
    layer = (data, {"name": "x", "scale": (3, 2, 1), "translate": (-30, 20, 10)}, "labels")
    assert write_labels_layer(str(out), [layer]) == [str(out)]
    written = nib.load(out)
    (where,) = np.argwhere(np.asarray(written.dataobj) == 2)
    # LPS world of voxel (1, 2, 3) is (-30 + 3, 20 + 4, 10 + 3) in (z, y, x); RAS is (-x, -y, z)
    assert np.allclose(written.affine @ [*where, 1], (-13, -24, -27, 1))


@pytest.mark.parametrize("shape", [(4, 5), (2, 3, 4, 5)])
def test_what_is_no_volume_is_one_sentence(make_napari_viewer, tmp_path, shape):
    from napari.utils.notifications import notification_manager

    make_napari_viewer()
    before = len(notification_manager.records)
    layer = (np.zeros(shape, np.uint8), {"name": "x"}, "labels")
    assert write_labels_layer(str(tmp_path / "x.nii.gz"), [layer]) == []
    (told,) = notification_manager.records[before:]
    assert "only a volume" in str(told.message)
    assert not list(tmp_path.iterdir())
