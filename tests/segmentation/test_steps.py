from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from napari_kidnet.errors import DeviceError, SettingsError
from napari_kidnet.progress import drain
from napari_kidnet.scans import Scan
from napari_kidnet.segmentation import SegmentSettings, decide, segment, segment_steps

ALL = SegmentSettings(skip_air=False)


def run(scan, checkpoint, settings):
    """Return every report and the prediction."""
    steps = segment_steps(scan, checkpoint, settings)
    reports = []
    while True:
        try:
            reports.append(next(steps))
        except StopIteration as stop:
            return reports, stop.value


@pytest.mark.parametrize("blend", [0, 8])
def test_the_reports_are_the_labels_box_by_box(engines, scan, checkpoint, blend):
    settings = SegmentSettings(skip_air=False, tile_voxels=48**3, halo_voxels=8, blend_voxels=blend)
    reports, prediction = run(scan, checkpoint, settings)
    assert [report.done for report in reports] == sorted(report.done for report in reports)
    assert {report.total for report in reports} == {reports[-1].done}
    assert reports[0].done == 0
    assert reports[0].labels.size == 0
    seen = np.full(scan.shape, 9, np.uint8)
    times = np.zeros(scan.shape, int)
    for report in reports:
        seen[report.box] = report.labels
        times[report.box] += 1
    assert (times == 1).all()
    np.testing.assert_array_equal(seen, prediction.labels)
    assert len(np.unique(seen)) >= 3
    assert engines[0].closed


@pytest.mark.parametrize("blend", [0, 8])
@pytest.mark.parametrize("spacing", [None, (1.6, 1.6, 1.6), (0.9, 1.2, 0.8)])
def test_tiles_with_enough_halo_give_the_answer_of_one_window(engines, scan, checkpoint, spacing, blend):
    checkpoint = checkpoint.but(spacing=spacing)
    at_once = segment(scan, checkpoint, ALL)
    assert len(engines[0].windows) == 1
    tiles = SegmentSettings(skip_air=False, tile_voxels=40**3, halo_voxels=8, blend_voxels=blend)
    if spacing == (1.6, 1.6, 1.6):
        tiles = replace(tiles, tile_voxels=33**3, halo_voxels=4)
    in_tiles = segment(scan, checkpoint, tiles)
    assert len(engines[1].windows) > 1
    # Sums in another order may tip a voxel whose two classes are equally probable.
    assert np.count_nonzero(at_once != in_tiles) <= 3


def test_a_box_gives_what_the_whole_scan_gives_there_and_nothing_elsewhere(engines, scan, checkpoint):
    whole = segment(scan, checkpoint, ALL)
    box = (7, 30, 20, 66, 3, 44)
    labels = segment(scan, checkpoint, SegmentSettings(skip_air=False, box=box))
    inside = (slice(7, 30), slice(20, 66), slice(3, 44))
    np.testing.assert_array_equal(labels[inside], whole[inside])
    labels[inside] = 0
    assert not labels.any()


@pytest.mark.parametrize("box", [(60, 70, 0, 5, 0, 5), (-9, -2, 0, 5, 0, 5)])
def test_a_box_outside_of_the_scan_is_refused(engines, scan, checkpoint, box):
    with pytest.raises(SettingsError, match="outside of the scan of 53 × 71 × 61"):
        segment(scan, checkpoint, SegmentSettings(box=box))


def test_closing_the_generator_frees_the_engine(engines, scan, checkpoint):
    steps = segment_steps(scan, checkpoint, SegmentSettings(skip_air=False, tile_voxels=40**3, halo_voxels=8))
    next(steps)
    next(steps)
    assert not engines[0].closed
    steps.close()
    assert engines[0].closed
    assert len(engines[0].windows) == 1


def test_an_engine_that_fails_is_freed_and_its_error_is_not_swallowed(engines, scan, checkpoint, monkeypatch):
    steps = segment_steps(scan, checkpoint, ALL)
    next(steps)

    def broken(window):
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(engines[0], "logits", broken)
    with pytest.raises(RuntimeError, match="size mismatch"):
        next(steps)
    assert engines[0].closed


def test_air_is_skipped_and_holds_no_vessel(engines, checkpoint):
    hu = np.full((40, 40, 160), -1000, np.int16)
    hu[10:30, 10:30, 8:40] = 400
    # A speck of metal far from the body is neither body nor a reason to compute.
    hu[20, 20, 150] = 3000
    scan = Scan.from_array(hu, (1.0, 1.0, 1.0))
    reports, prediction = run(scan, checkpoint, SegmentSettings(tile_voxels=32 * 48 * 48, halo_voxels=4))
    everything, _ = run(
        scan, checkpoint, SegmentSettings(tile_voxels=32 * 48 * 48, halo_voxels=4, skip_air=False)
    )
    assert reports[-1].total < everything[-1].total
    assert prediction.labels[20, 20, 20] > 0
    assert not prediction.labels[:, :, 60:].any()


def test_a_scan_of_nothing_but_air_needs_no_tile(engines, checkpoint):
    scan = Scan.from_array(np.full((20, 20, 20), -1000, np.int16), (1.0, 1.0, 1.0))
    reports, prediction = run(scan, checkpoint, SegmentSettings())
    assert reports[0].total == 0
    assert not prediction.labels.any()
    assert engines[0].windows == []


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 90, 2), (17, 5, 40)])
@pytest.mark.parametrize("spacing", [None, (2.0, 2.0, 2.0)])
def test_a_scan_smaller_than_a_tile_works(engines, checkpoint, shape, spacing):
    scan = Scan.from_array(np.full(shape, 400, np.int16), (1.0, 1.0, 1.0))
    labels = segment(scan, checkpoint.but(spacing=spacing))
    assert labels.shape == shape
    assert labels.any()


def test_the_sensitivity_can_be_moved_without_the_network(engines, scan, checkpoint):
    prediction = run(scan, checkpoint, ALL)[1]
    np.testing.assert_array_equal(prediction.at(1.0), prediction.labels)
    box = (slice(4, 30), slice(11, 71), slice(0, 17))
    for sensitivity in (0.0, 0.3, 0.8):
        fresh = segment(scan, checkpoint, SegmentSettings(skip_air=False, sensitivity=sensitivity))
        np.testing.assert_array_equal(prediction.at(sensitivity), fresh)
        np.testing.assert_array_equal(prediction.at(sensitivity, box), fresh[box])
    assert np.count_nonzero(prediction.at(0.0)) < np.count_nonzero(prediction.labels)


def test_the_checkpoints_own_sensitivity_is_the_default(engines, scan, checkpoint):
    prediction = run(scan, checkpoint.but(sensitivity=0.4), ALL)[1]
    assert prediction.sensitivity == 0.4
    np.testing.assert_array_equal(prediction.at(0.4), prediction.labels)


@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_kept_probabilities_are_probabilities_and_decide_to_the_labels(engines, scan, checkpoint, spacing):
    settings = SegmentSettings(skip_air=False, keep_probabilities=True, tile_voxels=48**3, halo_voxels=8)
    prediction = run(scan, checkpoint.but(spacing=spacing), settings)[1]
    kept = prediction.log_probabilities
    assert kept.dtype == np.float16
    assert kept.shape == (4, *scan.shape)
    np.testing.assert_allclose(np.exp(kept.astype(np.float32)).sum(axis=0), 1.0, atol=5e-3)
    same = decide(kept, prediction.prior, prediction.sensitivity) == prediction.labels
    # Half precision may tip voxels whose two best classes are within a thousandth.
    assert same.mean() > 0.998


def test_temperature_softens_probabilities_and_not_the_argmax(engines, scan, checkpoint):
    settings = SegmentSettings(skip_air=False, keep_probabilities=True)
    sharp = run(scan, checkpoint, settings)[1]
    soft = run(scan, checkpoint.but(temperature=3.0), settings)[1]
    np.testing.assert_array_equal(sharp.labels, soft.labels)
    assert soft.log_probabilities.max(axis=0).mean() < sharp.log_probabilities.max(axis=0).mean()


def test_full_memory_means_smaller_tiles_and_the_same_labels(engines, scan, checkpoint):
    expected = segment(scan, checkpoint, ALL)
    steps = segment_steps(scan, checkpoint, ALL)
    next(steps)
    engines[-1].memory_voxels = 45**3
    report = next(steps)
    assert "tiles are smaller" in report.what
    assert len(engines[-1].windows) > 1
    np.testing.assert_array_equal(report.labels, expected[report.box])


def test_a_graphics_card_without_memory_hands_over_to_the_cpu(engines, scan, checkpoint):
    expected = segment(scan, checkpoint, ALL)
    steps = segment_steps(scan, checkpoint, SegmentSettings(skip_air=False, device="cuda"))
    next(steps)
    card = engines[-1]
    card.memory_voxels = 10
    report = next(steps)
    assert card.closed
    assert engines[-1].device == "cpu"
    assert "CPU goes on" in report.what
    np.testing.assert_array_equal(report.labels, expected[report.box])
    steps.close()
    assert engines[-1].closed


def test_a_graphics_card_that_fails_hands_over_and_a_cpu_that_fails_is_told(
    engines, scan, checkpoint, monkeypatch
):
    def broken(window):
        raise DeviceError("The network failed on cuda (illegal instruction); choose another device.")

    steps = segment_steps(scan, checkpoint, SegmentSettings(skip_air=False, device="cuda"))
    next(steps)
    monkeypatch.setattr(engines[-1], "logits", broken)
    assert "the CPU goes on" in next(steps).what
    steps = segment_steps(scan, checkpoint, ALL)
    next(steps)
    monkeypatch.setattr(engines[-1], "logits", broken)
    with pytest.raises(DeviceError, match="illegal instruction"):
        next(steps)


def test_a_cpu_without_memory_is_told_in_one_sentence(engines, scan, checkpoint):
    steps = segment_steps(scan, checkpoint, ALL)
    next(steps)
    engines[-1].memory_voxels = 10
    with pytest.raises(DeviceError, match="memory of this computer is too small"):
        next(steps)


def test_the_first_tile_holds_what_is_on_the_screen(engines, scan, checkpoint):
    settings = SegmentSettings(skip_air=False, tile_voxels=40**3, halo_voxels=8, start=(50, 3, 60))
    reports, _ = run(scan, checkpoint, settings)
    box = reports[1].box
    assert all(part.start <= at < part.stop for part, at in zip(box, (50, 3, 60), strict=True))


@pytest.mark.parametrize("spacing", [(1.6, 1.6, 1.6), (0.7, 1.3, 2.1)])
def test_a_bright_block_is_labelled_where_it_lies(engines, checkpoint, spacing):
    """Half a voxel of shift at 1.6 mm would move the label's middle by 0.8 mm."""
    hu = np.full((45, 51, 47), 0, np.int16)
    block = (slice(12, 27), slice(20, 31), slice(15, 34))
    hu[block] = 1000
    scan = Scan.from_array(hu, (1.0, 0.9, 1.1))
    settings = SegmentSettings(skip_air=False, tile_voxels=40**3, halo_voxels=8)
    labels = segment(scan, checkpoint.but(spacing=spacing), settings)
    found = np.argwhere((labels == 1) | (labels == 2))
    truth = np.argwhere(hu > 0)
    np.testing.assert_allclose(found.mean(axis=0), truth.mean(axis=0), atol=0.1)


def test_a_ramp_spreads_the_step_between_tiles_that_do_not_agree(engines, checkpoint, monkeypatch):
    """Under instance normalisation each tile has an answer of its own; here it is the tile's mean."""
    rising = np.broadcast_to(np.linspace(0, 400, 96, dtype=np.int16), (32, 32, 96))
    scan = Scan.from_array(rising.copy(), (1.0, 1.0, 1.0))

    def largest_step(blend):
        settings = SegmentSettings(
            skip_air=False,
            keep_probabilities=True,
            tile_voxels=32 * 32 * 64,
            halo_voxels=4,
            blend_voxels=blend,
        )
        steps = segment_steps(scan, checkpoint, settings)
        next(steps)

        def tile_dependent(window):
            logits = np.zeros((4, *window.shape), np.float32)
            logits[1] = 4 * window.mean()
            return logits

        monkeypatch.setattr(engines[-1], "logits", tile_dependent)
        log_p = drain(steps).log_probabilities.astype(np.float32)
        return np.abs(np.diff(log_p[1] - log_p[0], axis=2)).max()

    cut, ramp = largest_step(0), largest_step(16)
    assert cut > 0.5
    assert ramp < cut / 8


def test_instance_normalisation_is_blended_and_batch_normalisation_is_not(engines, scan, checkpoint):
    for norm, mixed in (("instance", True), ("batch", False)):
        settings = SegmentSettings(skip_air=False, tile_voxels=60**3, halo_voxels=4)
        network = SimpleNamespace(base=8, norm=norm)
        reports, _ = run(scan, checkpoint.but(network=network), settings)
        assert (len(reports) - 1 > reports[-1].total) == mixed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sensitivity": 1.5}, "sensitivity is 1.5; choose a number from 0 to 1"),
        ({"threads": 0}, "threads is 0"),
        ({"tile_voxels": 0}, "largest tile is 0"),
        ({"halo_voxels": -1}, "halo of a tile is -1"),
        ({"box": (0, 5, 3, 3, 0, 5)}, "empty along y"),
        ({"box": (0, 5, 3)}, "3 numbers"),
    ],
)
def test_impossible_settings_are_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        SegmentSettings(**changes)
