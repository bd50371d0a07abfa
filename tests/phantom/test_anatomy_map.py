from __future__ import annotations

import json

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from napari_kidnet.errors import LabelsError, SettingsError
from napari_kidnet.phantom.anatomy_map import deformed_anatomy, load_label_map
from napari_kidnet.phantom.structure_names import structure_of
from napari_kidnet.phantom.structures import Structure, kidneys_of, truth_of

S = Structure
KIDNEY = {
    1: [S.CORTEX_LEFT, S.MEDULLA_LEFT, S.SINUS_FAT_LEFT],
    2: [S.CORTEX_RIGHT, S.MEDULLA_RIGHT, S.SINUS_FAT_RIGHT],
}


@pytest.fixture(scope="module")
def total(anatomy):
    """The label map in TotalSegmentator's names, which has no renal vessels."""
    stem = anatomy / "ct_abdomen_3mm_labels"
    return load_label_map(f"{stem}.nii.gz", f"{stem}.json", fine_mm=2.2)


@pytest.fixture(scope="module")
def spl(anatomy):
    """The SPL atlas, which has renal vessels."""
    stem = anatomy / "spl_abdomen_labels"
    return load_label_map(f"{stem}.nii.gz", f"{stem}.json", fine_mm=1.8)


def write_map(folder, labels, names, spacing=(3.0, 3.0, 3.0)):
    """Write labels (z, y, x) LPS as a NIfTI map and its names."""
    stored = labels.transpose(2, 1, 0)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(stored.astype(np.int16), affine), folder / "map.nii.gz")
    (folder / "map.json").write_text(json.dumps(names))
    return folder / "map.nii.gz", folder / "map.json"


def drawn_map():
    """Two kidneys, aorta, vena cava and a spine; 3 mm voxels, (z, y, x) with x to the patient's left."""
    z, y, x = np.ogrid[:60, :70, :90]
    labels = np.zeros((60, 70, 90), int)
    labels[((y - 48) ** 2 + (x - 45) ** 2 < 49) & (z >= 0)] = 5
    labels[((y - 36) ** 2 + (x - 48) ** 2 < 10) & (z >= 0)] = 1
    labels[((y - 36) ** 2 + (x - 41) ** 2 < 12) & (z >= 0)] = 2
    for label, middle in ((3, 66), (4, 24)):
        labels[((z - 30) / 17) ** 2 + ((y - 44) / 9) ** 2 + ((x - middle) / 9) ** 2 < 1] = label
    return labels, {
        "1": "aorta",
        "2": "inferior_vena_cava",
        "3": "left_kidney",
        "4": "kidney_right",
        "5": "Lumbar3",
    }


@pytest.mark.parametrize(
    ("name", "structure"),
    [
        ("left_renal_artery", S.RENAL_ARTERY_LEFT),
        ("right_renal_vein", S.RENAL_VEIN_RIGHT),
        ("aorta", S.AORTA),
        ("inferior_vena_cava", S.VENA_CAVA),
        ("kidney_left", S.CORTEX_LEFT),
        ("right_kidney", S.CORTEX_RIGHT),
        ("vertebrae_L3", S.BONE_SPONGY),
        ("Lumbar3", S.BONE_SPONGY),
        ("L3-L2-IntervertebralDisc", S.DISC),
        ("Sacrum-L5-IntervertebralDisc", S.DISC),
        ("rib_left_9", S.BONE_SPONGY),
        ("Rib9", S.BONE_SPONGY),
        ("costal_cartilages", S.CARTILAGE),
        ("Pelvis", S.BONE_SPONGY),
        ("left_renal_pelvis", S.COLLECTING_LEFT),
        ("colon", S.BOWEL_FLUID),
        ("small_bowel", S.BOWEL_FLUID),
        ("stomach_and_duodenum", S.BOWEL_FLUID),
        ("autochthon_left", S.MUSCLE),
        ("rectus_abdominis_muscle", S.MUSCLE),
        ("iliopsoas_right", S.PSOAS),
        ("portal_vein_and_splenic_vein", S.PORTAL_VEIN),
        ("splenic_artery", S.OTHER_ARTERY),
        ("gallbladder", S.GALLBLADDER),
        ("urinary_bladder", S.BLADDER),
        ("adrenal_gland_left", S.ADRENAL),
        ("lung_lower_lobe_right", S.LUNG),
        ("iliac_vena_left", S.OTHER_VEIN),
    ],
)
def test_a_name_means_its_structure(name, structure):
    assert structure_of(name).structure == structure


def test_every_name_of_both_sources_is_known(anatomy):
    unknown = []
    for file in ("spl_abdomen_labels.json", "ct_abdomen_3mm_labels.json"):
        names = json.loads((anatomy / file).read_text()).values()
        unknown += [name for name in names if not structure_of(name).known]
    assert unknown == ["unnamed"]


def test_kidneys_named_without_a_side_are_divided_by_place(tmp_path):
    labels, names = drawn_map()
    labels[labels == 4] = 3
    paths = write_map(tmp_path, labels, {**names, "3": "kidneys"})
    made = load_label_map(*paths, fine_mm=3.0)
    codes = made.voxels & 63
    left, right = (np.argwhere(codes == kidney)[:, 2].mean() for kidney in (S.CORTEX_LEFT, S.CORTEX_RIGHT))
    assert left > right + 20  # x grows to the patient's left


def test_an_unknown_name_is_reported_and_kept_as_soft_tissue(tmp_path):
    labels, names = drawn_map()
    labels[2:6, 5:9, 40:50] = 9
    made = load_label_map(*write_map(tmp_path, labels, {**names, "9": "thingummy"}), fine_mm=3.0)
    assert made.unknown == ("thingummy",)
    assert (made.voxels[3, 6, 42:48] & 63 == S.MUSCLE).all()


def test_orientation_of_the_file_does_not_matter(tmp_path):
    labels, names = drawn_map()
    paths = write_map(tmp_path, labels, names)
    expected = load_label_map(*paths, fine_mm=3.0)
    image = nibabel.load(paths[0])
    turned = image.as_reoriented(nibabel.orientations.axcodes2ornt(("S", "L", "A")))
    nibabel.save(turned, paths[0])
    np.testing.assert_array_equal(load_label_map(*paths, fine_mm=3.0).voxels, expected.voxels)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda labels, names: (np.where(labels == 1, 0, labels), names), "aorta"),
        (lambda labels, names: (np.where(labels > 2, 0, labels), names), "kidney"),
        (lambda labels, names: (labels, [1, 2]), "list of names"),
    ],
)
def test_a_map_that_cannot_serve_is_refused(tmp_path, spoil, words):
    paths = write_map(tmp_path, *spoil(*drawn_map()))
    with pytest.raises(LabelsError, match=words):
        load_label_map(*paths, fine_mm=3.0)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LabelsError, match=r"nothing\.nii\.gz does not exist"):
        load_label_map(tmp_path / "nothing.nii.gz", tmp_path / "nothing.json")


def test_the_kept_map_is_the_map(tmp_path):
    paths = write_map(tmp_path, *drawn_map())
    fresh = load_label_map(*paths, fine_mm=3.0, cache=tmp_path / "cache")
    kept = load_label_map(*paths, fine_mm=3.0, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    np.testing.assert_array_equal(kept.voxels, fresh.voxels)
    np.testing.assert_array_equal(kept.hull, fresh.hull)
    assert (kept.name, kept.unknown, kept.spacing) == (fresh.name, fresh.unknown, fresh.spacing)


def test_a_map_that_is_too_small_is_brought_to_an_adults_size(spl, total):
    assert total.size_factor == (1.0, 1.0, 1.0)
    assert min(spl.size_factor) > 1.3
    for made in (spl, total):
        sides = made.voxels >> 6 & 3
        for side in (1, 2):
            volume_ml = (sides == side).sum() * made.spacing**3 / 1000
            assert 110 < volume_ml < 320


@pytest.mark.parametrize("source", ["spl", "total"])
def test_a_deformed_map_is_a_whole_body(source, request):
    label_map = request.getfixturevalue(source)
    spacing = (3.0, 2.5, 2.5)
    made = deformed_anatomy(label_map, np.random.default_rng(3), "full", spacing)
    structures = made.structures
    again = deformed_anatomy(label_map, np.random.default_rng(3), "full", spacing)
    np.testing.assert_array_equal(structures, again.structures)
    other = deformed_anatomy(label_map, np.random.default_rng(4), "full", spacing)
    assert other.structures.shape != structures.shape or (other.structures != structures).mean() > 0.1

    present = set(np.unique(structures))
    needed = {S.SKIN, S.SUBCUTANEOUS_FAT, S.VISCERAL_FAT, S.MUSCLE, S.BONE_CORTICAL, S.BONE_SPONGY, S.DISC}
    needed |= {S.SPINAL_FLUID, S.SPINAL_CORD, S.BOWEL_WALL, S.BED, S.AIR, S.OTHER_VEIN, S.OTHER_ARTERY}
    assert needed <= present
    x_of = {s: np.argwhere(structures == s)[:, 2].mean() for s in (S.LIVER, S.SPLEEN, S.AORTA, S.VENA_CAVA)}
    assert x_of[S.LIVER] < x_of[S.SPLEEN], "mirrored"
    assert x_of[S.VENA_CAVA] < x_of[S.AORTA], "mirrored"
    kidneys = kidneys_of(made)
    for side, parts in KIDNEY.items():
        assert 70 < (kidneys == side).sum() * 18.75 / 1000 < 420
        assert set(parts) <= present
    # Nothing empty inside of the body: air within the skin is in lungs or bowel, never AIR.
    body = ndimage.binary_fill_holes((structures != S.AIR) & (structures != S.BED))
    assert (body & (structures == S.AIR)).sum() == 0


@pytest.mark.parametrize("source", ["spl", "total"])
def test_both_kidneys_have_all_vessels_and_urine(source, request):
    label_map = request.getfixturevalue(source)
    made = deformed_anatomy(label_map, np.random.default_rng(8), "full", (2.0, 2.0, 2.0))
    present = set(np.unique(made.structures))
    assert {S.RENAL_ARTERY_LEFT, S.RENAL_ARTERY_RIGHT, S.RENAL_VEIN_LEFT, S.RENAL_VEIN_RIGHT} <= present
    assert {S.COLLECTING_LEFT, S.COLLECTING_RIGHT} <= present
    assert {S.URETER_LEFT, S.URETER_RIGHT} & present
    volumes = np.bincount(truth_of(made).ravel(), minlength=4) * 2.0**3 / 1000
    assert 15 < volumes[1] < 160
    assert 20 < volumes[2] < 230
    assert 1 < volumes[3] < 60


def test_a_crop_holds_one_kidney_and_its_vessels(total):
    made = deformed_anatomy(total, np.random.default_rng(5), "crop", (1.8, 1.8, 1.8))
    extent = np.array(made.structures.shape) * 1.8
    assert ((extent > 96) & (extent < 120)).all()
    kidneys = np.bincount(kidneys_of(made).ravel(), minlength=3)[1:] * 1.8**3 / 1000
    side = int(np.argmax(kidneys)) + 1
    assert kidneys[side - 1] > 60
    within = set(np.unique(made.structures))
    assert (S.RENAL_ARTERY_LEFT if side == 1 else S.RENAL_ARTERY_RIGHT) in within
    assert (S.RENAL_VEIN_LEFT if side == 1 else S.RENAL_VEIN_RIGHT) in within


def test_an_unknown_field_of_view_is_refused(total):
    with pytest.raises(SettingsError, match="field of view"):
        deformed_anatomy(total, np.random.default_rng(0), "head", (2.0, 2.0, 2.0))
