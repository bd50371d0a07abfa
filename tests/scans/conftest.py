"""A small CT and ways to store it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

if TYPE_CHECKING:
    from numpy.typing import NDArray

WriteDicom = Callable[..., list[Path]]
WriteNifti = Callable[..., Path]


@pytest.fixture
def small_ct(rng: np.random.Generator) -> NDArray[np.int16]:
    """(z, y, x) HU: a body of soft tissue with fat around it, in air; no two axes of one size."""
    z, y, x = np.ogrid[-1:1:11j, -1:1:13j, -1:1:15j]
    radius = np.sqrt(0.3 * z**2 + y**2 + x**2)
    hu = np.where(radius < 0.6, 50.0, np.where(radius < 0.8, -100.0, -1000.0))
    return np.round(hu + rng.normal(0, 7, hu.shape)).clip(-1023).astype(np.int16)


@pytest.fixture
def write_nifti(tmp_path: Path) -> WriteNifti:
    """Write an array along (i, j, k) with nibabel, changed header fields last."""

    def write(
        values: NDArray[Any], affine: NDArray[Any] | None = None, name: str = "ct.nii.gz", **fields: Any
    ) -> Path:
        image = nibabel.Nifti1Image(values, np.diag([-0.8, 0.9, 2.5, 1.0]) if affine is None else affine)
        path = tmp_path / name
        if not fields:
            nibabel.save(image, path)
            return path
        import gzip

        header = image.header
        header.set_slope_inter(1, 0)
        header.set_data_offset(352)
        for field, value in fields.items():
            header[field] = value
        data = header.binaryblock + bytes(4) + np.asarray(values).tobytes("F")
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


@pytest.fixture
def write_dicom(tmp_path: Path) -> WriteDicom:
    """Write (k, row, column) HU as a series, one file a slice, in shuffled order of names."""

    def write(
        hu: NDArray[Any],
        folder: str = "series",
        *,
        step: NDArray[Any] | None = None,
        direction: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
        change: Callable[[FileDataset, int], None] | None = None,
        encode: str | None = None,
        **tags: Any,
    ) -> list[Path]:
        target = tmp_path / folder
        target.mkdir(exist_ok=True)
        start = np.array([-100.0, -120.0, 40.0])
        way = np.array([0.0, 0.0, 2.5]) if step is None else step
        uid = tags.pop("SeriesInstanceUID", generate_uid())
        paths = []
        for k, part in enumerate(hu):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID = CTImageStorage
            meta.MediaStorageSOPInstanceUID = generate_uid()
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            path = target / f"I{(k * 7919) % 1000:03d}"
            data = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
            data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
            data.SeriesInstanceUID, data.Modality, data.SeriesDescription = uid, "CT", "Kidneys 2.5"
            data.ImagePositionPatient = [float(value) for value in start + k * way]
            data.ImageOrientationPatient = [float(value) for value in direction]
            data.PixelSpacing = [0.9, 0.8]  # rows, columns
            data.Rows, data.Columns = part.shape
            data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
            data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
            data.RescaleSlope, data.RescaleIntercept = 1, -1024
            data.PixelData = (part.astype(np.int32) + 1024).astype("<u2").tobytes()
            for tag, value in tags.items():
                setattr(data, tag, value)
            if change:
                change(data, k)
            if encode:
                data.compress(pydicom.uid.UID(encode))
            data.save_as(path, enforce_file_format=True)
            paths.append(path)
        return paths

    return write
