"""`kidnet open`, the Preferences page, the palette, the manifest, and the sample."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from napari_kidnet.errors import SettingsError
from napari_kidnet.plugin.controller import Controller
from napari_kidnet.plugin.settings import Preferences
from napari_kidnet.plugin.settings import preferences as chosen


@pytest.mark.parametrize("segment", [True, False])
def test_kidnet_open_shows_the_scan_and_docks_the_widget(viewer, preferences, scan_file, idle, segment):
    from napari_kidnet.plugin.window import show_scan
    from napari_kidnet.scans import read_scan

    preferences(auto_segment="never")  # what was asked for on the command line goes before it
    image = show_scan(viewer, read_scan(scan_file), segment)
    idle(viewer)
    assert (Controller.of(viewer).known(image) is not None) == segment
    assert any("Segment" in name for name in viewer.window.dock_widgets)


def test_the_page_is_one_value(preferences, tmp_path):
    assert chosen() == Preferences()
    preferences(
        auto_segment="always",
        device="cpu",
        checkpoint=str(tmp_path),
        tuned_sensitivity=False,
        sensitivity=0.2,
    )
    assert chosen() == Preferences("always", "cpu", "auto", tmp_path, 0.2)
    with pytest.raises(ValueError, match="enum"):
        preferences(auto_segment="sometimes")
    with pytest.raises(SettingsError, match="between 0 and 1"):
        Preferences(sensitivity=1.5)


def test_the_preferred_reader_opens_without_a_question(viewer, preferences, scan_file):
    from napari_kidnet.plugin.settings import is_preferred, prefer_reader

    preferences(auto_segment="never")
    assert not is_preferred()
    prefer_reader()
    assert is_preferred()
    (image,) = viewer.open(str(scan_file), plugin=None)  # with two readers napari would refuse to guess
    assert image.name == "patient_ct"


def test_the_palette_segments_and_shows_3d(viewer, network, preferences, scan_file, idle):
    from napari_kidnet.plugin.commands import segment_now, show_3d

    preferences(auto_segment="never")
    segment_now(viewer)  # nothing is open: says so, and does nothing
    assert not viewer.layers
    (image,) = viewer.open(str(scan_file), plugin="napari-kidnet")
    segment_now(viewer)
    idle(viewer)
    assert Controller.of(viewer).known(image).session.labels.any()
    show_3d(viewer)
    assert viewer.dims.ndisplay == 3
    assert not image.visible


def test_a_layer_of_another_reader_can_be_segmented(viewer, network, idle):
    from napari_kidnet.plugin.commands import segment_now

    hu = np.full((20, 30, 40), 300, np.float64)
    image = viewer.add_image(hu, scale=(2, 1, 1), translate=(5, 6, 7), name="theirs")
    segment_now(viewer)
    idle(viewer)
    sheet = Controller.of(viewer).known(image)
    assert (sheet.session.labels == 1).all()
    assert sheet.session.scan.spacing == (2, 1, 1)
    # LPS (x, y, z) = (7, 6, 5) is RAS (-7, -6, 5)
    assert np.allclose(sheet.session.scan.affine[:3, 3], (-7, -6, 5))
    assert np.allclose(sheet.labels.translate, (5, 6, 7))


def test_a_stack_of_channels_is_refused_in_one_sentence(viewer, network):
    image = viewer.add_image(np.zeros((2, 20, 30, 40)), name="channels")
    Controller.of(viewer).segment(image)
    assert "channels is not a single grey volume" in Controller.of(viewer).status.text


def test_the_manifest_is_valid_and_all_of_it_can_be_imported():
    from importlib import import_module

    from npe2 import PluginManifest

    manifest = PluginManifest.from_distribution("napari-kidnet")
    for command in manifest.contributions.commands:
        module, name = command.python_name.split(":")
        assert callable(getattr(import_module(module), name))


def test_menus_and_readers_load_no_network():
    code = (
        "import sys, napari_kidnet.plugin.reader, napari_kidnet.plugin.widgets.segment, "
        "napari_kidnet.plugin.window, napari_kidnet.plugin.sample_data, napari_kidnet.plugin.writer; "
        "print([m for m in ('torch', 'openvino', 'scipy', 'nibabel', 'pydicom') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_sample_says_that_it_is_synthetic(viewer, network, idle):
    phantom = pytest.importorskip("napari_kidnet.phantom")
    if not hasattr(phantom, "make_case"):
        pytest.skip("the phantom is not there yet")
    (image,) = viewer.open_sample("napari-kidnet", "phantom")
    assert "synthetic" in image.name
    assert image.data.ndim == 3
    assert image.contrast_limits == [-160, 240]
    idle(viewer)
    assert len(viewer.layers) == 1  # "CT scans" does not include it
