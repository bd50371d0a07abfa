"""Bad inputs: one clear sentence, status 1, nothing written, no traceback."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_kidnet.cli import main

RAS = np.diag([0.8, 0.8, 2.0, 1.0])


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    """A tiny network that nobody trained."""
    from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, save_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    settings = KidNetSettings(base=4, levels=2)
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_checkpoint(path, Checkpoint(network=settings, weights=network_weights(KidNet(settings))))
    return path


def body(shape=(24, 20, 16)) -> np.ndarray:
    """HU (i, j, k) of something like a patient in air."""
    hu = np.full(shape, -1000, np.int16)
    hu[4:-4, 4:-4] = np.random.default_rng(0).normal(40, 20, (shape[0] - 8, shape[1] - 8, *shape[2:]))
    return hu


def nifti(path: Path, values: np.ndarray, affine=RAS) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def with_header(path: Path, **fields) -> Path:
    """Write a scan whose header says something impossible; nibabel itself would mend it."""
    image = nib.Nifti1Image(body(), RAS)
    data = bytearray(image.to_bytes())
    header = nib.Nifti1Header.from_fileobj(__import__("io").BytesIO(bytes(data)), check=False)
    for name, value in fields.items():
        header[name] = value
    data[:348] = header.binaryblock
    path.write_bytes(bytes(data))
    return path


def dicom(folder: Path, *, series="1.2.3", modality="CT", positions=range(6), prefix="") -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    folder.mkdir(exist_ok=True)
    for number, z in enumerate(positions):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{prefix}{number}.dcm"
        data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, "1.2", modality
        data.SeriesDescription, data.InstanceNumber = f"series {series}", number + 1
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.0 * z], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [0.8, 0.8], 2.0
        data.Rows, data.Columns, data.SamplesPerPixel = 16, 16, 1
        data.PhotometricInterpretation = "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = body((16, 16)).tobytes()
        data.save_as(path, enforce_file_format=True)
    return folder


def missing(folder: Path) -> Path:
    return folder / "nowhere.nii.gz"


def truncated(folder: Path) -> Path:
    whole = nifti(folder / "whole.nii.gz", body()).read_bytes()
    path = folder / "truncated.nii.gz"
    path.write_bytes(whole[: len(whole) // 2])
    (folder / "whole.nii.gz").unlink()
    return path


def text(folder: Path) -> Path:
    path = folder / "text.nii.gz"
    path.write_text("This is not a scan.\n" * 50)
    return path


def packed_text(folder: Path) -> Path:
    path = folder / "packed.nii.gz"
    path.write_bytes(gzip.compress(b"This is not a scan.\n" * 50))
    return path


def with_value(value: float):
    def make(folder: Path) -> Path:
        hu = body().astype(np.float32)
        hu[10, 10, 8] = value
        return nifti(folder / "odd.nii.gz", hu)

    return make


def missing_slice(folder: Path) -> Path:
    return dicom(folder / "gap", positions=[0, 1, 2, 4, 5, 6])


def two_series(folder: Path) -> Path:
    dicom(folder / "two", series="1.2.3", prefix="a")
    return dicom(folder / "two", series="1.2.4", prefix="b")


def empty_folder(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


BAD_SCANS = {
    "missing file": (missing, "does not exist"),
    "truncated": (truncated, "truncated.nii.gz"),
    "text": (text, "text.nii.gz"),
    "packed text": (packed_text, "packed.nii.gz"),
    "2-D": (lambda folder: nifti(folder / "flat.nii.gz", body()[:, :, 0]), "flat.nii.gz"),
    "4-D": (lambda folder: nifti(folder / "film.nii.gz", np.stack([body()] * 3, -1)), "film.nii.gz"),
    "constant": (lambda folder: nifti(folder / "same.nii.gz", body() * 0), "same.nii.gz"),
    "NaN": (with_value(np.nan), "odd.nii.gz"),
    "Inf": (with_value(np.inf), "odd.nii.gz"),
    "zero spacing": (
        lambda folder: with_header(folder / "thin.nii", pixdim=[1, 0.8, 0, 2, 0, 0, 0, 0]),
        "thin.nii",
    ),
    "negative spacing": (
        lambda folder: with_header(folder / "back.nii", pixdim=[1, 0.8, -0.8, 2, 0, 0, 0, 0]),
        "back.nii",
    ),
    "non-invertible affine": (
        lambda folder: with_header(folder / "plane.nii", srow_y=[0.8, 0, 0, 0], sform_code=1),
        "plane.nii",
    ),
    "empty folder": (empty_folder, "empty"),
    "two series": (two_series, "1.2.4"),
    "missing slice": (missing_slice, "gap"),
    "MR": (lambda folder: dicom(folder / "mr", modality="MR"), "MR"),
}


def refused(argv: list[str], folder: Path, capsys) -> str:
    """Run a command that must be refused; return its sentence."""
    before = sorted(folder.rglob("*"))
    capsys.readouterr()
    assert main(argv) == 1
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line]
    assert out == ""
    assert lines[-1].startswith("kidnet: ")
    assert len(lines) == 1, err
    assert "Traceback" not in err
    assert "should not have" not in err, err
    assert sorted(folder.rglob("*")) == before
    return lines[0].removeprefix("kidnet: ")


@pytest.mark.parametrize("kind", BAD_SCANS)
def test_a_bad_scan_is_one_sentence(kind, tmp_path, network, capsys):
    make, said = BAD_SCANS[kind]
    argv = ["segment", str(make(tmp_path)), "--out", str(tmp_path / "labels.nii.gz"), "--quiet"]
    assert said in refused([*argv, "--checkpoint", str(network)], tmp_path, capsys)


def test_a_foreign_checkpoint(tmp_path, capsys):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    foreign = tmp_path / "model.pt"
    foreign.write_bytes(b"PK\x03\x04 a pickle, says the suffix")
    argv = ["segment", str(scan), "--out", str(tmp_path / "labels.nii.gz"), "--checkpoint", str(foreign)]
    assert "model.pt" in refused(argv, tmp_path, capsys)
    assert "model.pt" in refused(["checkpoint", str(foreign)], tmp_path, capsys)


@pytest.mark.parametrize("command", ["segment", "checkpoint"])
@pytest.mark.parametrize("where", [0, 9, 40, -101])
def test_a_tampered_checkpoint(where, command, tmp_path, network, capsys):
    data = bytearray(network.read_bytes())
    data[where] ^= 0xFF if where >= 0 else 1  # the last is one bit of a weight
    tampered = tmp_path / "tampered.safetensors"
    tampered.write_bytes(bytes(data))
    argv = ["checkpoint", str(tampered)]
    if command == "segment":
        scan = nifti(tmp_path / "scan.nii.gz", body())
        argv = ["segment", str(scan), "--out", str(tmp_path / "labels.nii.gz"), "--quiet"]
        argv += ["--checkpoint", str(tampered)]
    assert "tampered.safetensors" in refused(argv, tmp_path, capsys)


def test_the_output_folder_is_not_there(tmp_path, capsys):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    argv = ["segment", str(scan), "--out", str(tmp_path / "no" / "labels.nii.gz")]
    assert "does not exist" in refused(argv, tmp_path, capsys)


@pytest.fixture
def read_only(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # permission bits do not bind a superuser; the kernel's own folders do
        folder.rmdir()
        folder = Path("/proc")
        if not folder.is_dir():
            pytest.skip("no folder that a superuser cannot write to")
    return folder


def test_the_output_folder_is_read_only_and_that_is_known_before_the_work(tmp_path, read_only, capsys):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    for out in (read_only / "labels.nii.gz", read_only, read_only / "new"):
        assert str(read_only) in refused(["segment", str(scan), "--out", str(out)], tmp_path, capsys)
    argv = ["phantom", "--out", str(read_only / "cases")]
    assert str(read_only) in refused(argv, tmp_path, capsys)


def test_a_full_disk_is_known_before_the_work(tmp_path, network, capsys, monkeypatch):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    argv = ["segment", str(scan), "--out", str(tmp_path / "labels.nii.gz"), "--checkpoint", str(network)]
    assert "make room" in refused([*argv, "--quiet"], tmp_path, capsys)


def test_a_disk_that_fills_during_the_work(tmp_path, network, capsys, monkeypatch):
    scan = nifti(tmp_path / "scan.nii.gz", body())

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    argv = ["segment", str(scan), "--out", str(tmp_path / "labels.nii.gz"), "--checkpoint", str(network)]
    assert "full" in refused([*argv, "--quiet"], tmp_path, capsys)


def test_labels_that_are_there_are_not_replaced_unasked(tmp_path, capsys):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    labels = nifti(tmp_path / "scan_labels.nii.gz", np.ones((2, 2, 2), np.uint8))
    before = labels.read_bytes()
    sentence = refused(["segment", str(scan), "--out", str(tmp_path)], tmp_path, capsys)
    assert "--overwrite" in sentence
    assert str(labels) in sentence
    assert labels.read_bytes() == before


def test_an_input_is_never_written_over(tmp_path, capsys):
    scan = nifti(tmp_path / "scan.nii.gz", body())
    argv = ["segment", str(scan), "--out", str(scan), "--overwrite"]
    assert "is an input" in refused(argv, tmp_path, capsys)


def test_evaluate_refuses_classes_that_are_not_ours(tmp_path, capsys):
    values = (np.arange(24 * 20 * 16) % 10).astype(np.uint8).reshape(24, 20, 16)
    labels, truth = nifti(tmp_path / "organs.nii.gz", values), nifti(tmp_path / "truth.nii.gz", values % 4)
    argv = ["evaluate", "--labels", str(labels), "--truth", str(truth), "--json", str(tmp_path / "f.json")]
    sentence = refused(argv, tmp_path, capsys)
    assert "organs.nii.gz" in sentence
    assert "3 collecting system" in sentence


def test_evaluate_refuses_a_truth_on_another_grid(tmp_path, capsys):
    labels = nifti(tmp_path / "labels.nii.gz", np.ones((8, 8, 8), np.uint8))
    moved = RAS.copy()
    moved[0, 3] = 5
    for name, values, affine in (
        ("size", np.ones((8, 8, 9), np.uint8), RAS),
        ("place", np.ones((8, 8, 8), np.uint8), moved),
    ):
        truth = nifti(tmp_path / f"{name}.nii.gz", values, affine)
        sentence = refused(["evaluate", "--labels", str(labels), "--truth", str(truth)], tmp_path, capsys)
        assert "labels.nii.gz" in sentence
        assert name in sentence


def test_islands_of_a_missing_file(tmp_path, capsys):
    assert "no.nii.gz" in refused(["islands", str(tmp_path / "no.nii.gz")], tmp_path, capsys)


def test_train_on_a_folder_without_cases(tmp_path, capsys):
    argv = ["train", "--cases", str(tmp_path), "--out", str(tmp_path / "n.safetensors")]
    assert "no labelled case" in refused(argv, tmp_path, capsys)


def test_what_nobody_foresaw_is_one_sentence_and_debugging_shows_where(tmp_path, capsys, monkeypatch):
    import napari_kidnet.islands

    def broken(*_):
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(napari_kidnet.islands, "find_islands", broken)
    labels = nifti(tmp_path / "labels.nii.gz", np.ones((4, 4, 4), np.uint8))
    monkeypatch.delenv("KIDNET_DEBUG", raising=False)
    assert main(["islands", str(labels)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: a fault of ours" in err
    assert "KIDNET_DEBUG=1" in err
    monkeypatch.setenv("KIDNET_DEBUG", "1")
    assert main(["islands", str(labels)]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_an_interrupt_is_130_without_a_traceback(tmp_path, capsys, monkeypatch):
    import napari_kidnet.islands

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(napari_kidnet.islands, "find_islands", interrupted)
    labels = nifti(tmp_path / "labels.nii.gz", np.ones((4, 4, 4), np.uint8))
    assert main(["islands", str(labels)]) == 130
    assert capsys.readouterr().err == "kidnet: interrupted.\n"
