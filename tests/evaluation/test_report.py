from __future__ import annotations

import json
import re
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_kidnet.errors import OutputError
from napari_kidnet.evaluation import draw_pictures, evaluate, write_html

VESSELS = ("artery", "vein", "collecting_system")


@pytest.fixture
def case():
    hu = np.full((20, 30, 26), 40, np.int16)
    truth = np.zeros(hu.shape, np.uint8)
    truth[:, 10:12, 6] = 1
    truth[:, 14:16, 12] = 2
    truth[5:9, 20, 18:20] = 3
    labels = np.roll(truth, 1, axis=2)
    kidneys = np.zeros_like(truth)
    kidneys[2:12, 8:24, 3:20] = 1
    return hu, labels, truth, kidneys


def test_the_keys_of_the_json_are_stable(case):
    _, labels, truth, kidneys = case
    for report in (
        evaluate(labels, truth, (1, 1, 1), kidneys),
        evaluate(labels, truth, (1, 1, 1)),
        evaluate(np.zeros_like(labels), np.zeros_like(truth), (1, 1, 1)),
    ):
        report = json.loads(json.dumps(report, allow_nan=False))
        assert set(report) == {*VESSELS, "mean", "regions", "spacing_mm"}
        for vessel in VESSELS:
            own = report[vessel]
            assert set(own) == {
                "whole_roi",
                "kidney_box",
                "false_positive_volume_ml",
                "islands",
                "truth_islands",
                "beta0_error",
                "skeleton_recall",
            }
            for region in ("whole_roi", "kidney_box"):
                assert set(own[region]) == {"f1", "precision", "recall", "cldice", "islands_rule"}
                assert set(own[region]["islands_rule"]) >= {"f1", "precision", "recall", "cldice"}


def test_every_key_is_documented(case):
    _, labels, truth, kidneys = case
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")

    def keys(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                yield key
                yield from keys(inner)

    for key in set(keys(evaluate(labels, truth, (1, 1, 1), kidneys))):
        assert f"`{key}`" in text, key


def test_the_report_is_one_file_with_its_pictures_inside(case, tmp_path):
    hu, labels, truth, kidneys = case
    figures = evaluate(labels, truth, (3.0, 1.0, 1.0), kidneys)
    pictures = draw_pictures(hu, labels, (3.0, 1.0, 1.0), truth)
    path = write_html(tmp_path / "report.html", figures, pictures, title="A < B", notes=["5 & 6"])
    text = path.read_text(encoding="utf-8")
    assert "A &lt; B" in text
    assert "5 &amp; 6" in text
    assert "http" not in text
    assert "Kidney box" in text
    assert f"{figures['artery']['whole_roi']['precision']:.3f}" in text
    images = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    assert len(images) == len(pictures) == 4
    for data, picture in zip(images, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(b64decode(data)))), picture.pixels)
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_without_kidneys_and_pictures_their_parts_are_left_out(case, tmp_path):
    _, labels, truth, _ = case
    text = write_html(tmp_path / "r.html", evaluate(labels, truth, (1, 1, 1))).read_text(encoding="utf-8")
    assert "Kidney box" not in text
    assert "<img" not in text


def test_a_folder_that_is_not_there_is_told(case, tmp_path):
    _, labels, truth, _ = case
    with pytest.raises(OutputError, match=r"r\.html"):
        write_html(tmp_path / "nowhere" / "r.html", evaluate(labels, truth, (1, 1, 1)))


def test_pictures_show_the_patient_upright_with_classes_in_their_colours():
    """A vessel at the head, at the front, at the patient's left must be up and on the right."""
    hu = np.full((40, 40, 40), 40, np.int16)
    labels = np.zeros(hu.shape, np.uint8)
    labels[34:38, 2:6, 30:34] = 1
    axial, coronal, projection = (each.pixels for each in draw_pictures(hu, labels, (1, 1, 1)))

    def middle(pixels):
        red = pixels.astype(int)
        rows, columns = np.nonzero(red[..., 0] - red[..., 1] > 50)
        return rows.mean() / pixels.shape[0], columns.mean() / pixels.shape[1]

    # rows from the top: the front of the body in an axial picture, the head in a coronal one
    assert middle(axial) == pytest.approx((4 / 40, 32 / 40), abs=0.02)
    assert middle(coronal) == pytest.approx((1 - 36 / 40, 32 / 40), abs=0.02)
    assert middle(projection) == pytest.approx((1 - 36 / 40, 32 / 40), abs=0.02)


def test_voxels_that_are_no_cubes_make_pictures_in_proportion():
    hu = np.zeros((20, 50, 50), np.int16)
    pictures = draw_pictures(hu, np.zeros(hu.shape, np.uint8), (5.0, 1.0, 1.0))
    height, width = pictures[1].pixels.shape[:2]
    assert height == pytest.approx(2 * width, abs=2)


def test_importing_the_room_loads_no_heavy_library():
    code = (
        "import sys, napari_kidnet.evaluation, napari_kidnet.segmentation; "
        "print([m for m in ('torch', 'openvino', 'scipy', 'skimage', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
