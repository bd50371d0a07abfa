"""The header of a checkpoint: JSON inside the safetensors file, read and checked without PyTorch.

The file is eight bytes of length, a JSON header with the tensors' names, kinds, shapes and places, and the
bytes of the tensors. Ours is one more string in that header. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import CheckpointError

__all__ = [
    "FORMAT_VERSION",
    "METADATA_KEY",
    "default_checkpoint_path",
    "parse_record",
    "read_checkpoint_header",
]

FORMAT_VERSION: Final = 1
METADATA_KEY: Final = "napari-kidnet"
CLASS_NAMES: Final = [each.name for each in CLASSES]

LARGEST_HEADER = 10_000_000
"""Bytes; ours has some tens of thousands. A foreign file's first eight bytes may claim anything."""

REQUIRED: Final[dict[str, type | tuple[type, ...]]] = {
    "format": int,
    "network": dict,
    "classes": list,
    "window": list,
    "spacing": (list, type(None)),
    "schema": dict,
    "sensitivity": (int, float),
    "temperature": (int, float),
    "record": dict,
    "parent": (str, type(None)),
}


def default_checkpoint_path() -> Path:
    """Return where the shipped checkpoint is."""
    return Path(__file__).resolve().parent.parent / "checkpoints" / "default.safetensors"


def read_checkpoint_header(path: Path | str) -> dict[str, Any]:
    """Return a checkpoint's header: network, classes, window, schema, record, parent, tensors' shapes.

    Parameters
    ----------
    path : Path or str
        The checkpoint's file.

    Returns
    -------
    dict
        The header's JSON, under ``"tensors"`` the shape of each tensor by its name, and under ``"checksum"``
        the SHA-256 of description and weights, or None in a file that was written without.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or not a checkpoint of ours.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
            length = int.from_bytes(head, "little")
            # pickles and zip archives claim far larger headers; their first bytes alone may be ours by chance
            if len(head) < 8 or not 2 <= length <= LARGEST_HEADER:
                raise CheckpointError(
                    f"{path.name} is not a safetensors file; choose a checkpoint of kidnet train."
                )
            text = file.read(length)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}); choose another checkpoint."
        ) from error
    try:
        header = json.loads(text)
    except ValueError as error:
        raise CheckpointError(
            f"{path.name} is damaged: its header is cut off or not JSON; copy it again."
        ) from error
    if len(text) < length or not isinstance(header, dict):
        raise CheckpointError(f"{path.name} is damaged: its header is cut off; copy it again.")
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get(METADATA_KEY), str):
        raise CheckpointError(
            f"{path.name} is a safetensors file of another program; choose a checkpoint of kidnet train."
        )
    record = parse_record(metadata[METADATA_KEY], path.name)
    record.setdefault("checksum", None)
    record["tensors"] = {
        name: [int(size) for size in each["shape"]]
        for name, each in header.items()
        if isinstance(each, dict) and isinstance(each.get("shape"), list)
    }
    return record


def parse_record(text: str, name: str) -> dict[str, Any]:
    """Return the header's own JSON, checked.

    Parameters
    ----------
    text : str
        The JSON.
    name : str
        The file's name, for messages.

    Raises
    ------
    CheckpointError
        A key is missing, unknown, or holds what it may not.
    """
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise CheckpointError(
            f"{name} is damaged: its description is not valid JSON; copy it again."
        ) from error
    if not isinstance(record, dict):
        raise CheckpointError(f"{name} is damaged: its description is not a JSON object; copy it again.")
    version = record.get("format")
    if version != FORMAT_VERSION:
        raise CheckpointError(
            f"{name} has checkpoint format {version!r}, this program reads {FORMAT_VERSION}; "
            "update napari-kidnet."
        )
    missing, unknown = (
        sorted(REQUIRED.keys() - record.keys()),
        sorted(record.keys() - REQUIRED.keys() - {"checksum"}),
    )
    if missing or unknown:
        found = [f"lacks {key}" for key in missing] + [f"has an unknown {key}" for key in unknown]
        raise CheckpointError(f"{name} is not a valid checkpoint: its description {' and '.join(found)}.")
    for key, kind in REQUIRED.items():
        if not isinstance(record[key], kind) or isinstance(record[key], bool):
            raise CheckpointError(f"{name} is not a valid checkpoint: its {key} is {record[key]!r}.")
    _check_values(record, name)
    return record


def _check_values(record: dict[str, Any], name: str) -> None:
    def refuse(what: str) -> None:
        raise CheckpointError(f"{name} is not a valid checkpoint: {what}.")

    if record["classes"] != CLASS_NAMES:
        refuse(f"its classes are {record['classes']}, expected {CLASS_NAMES}")
    window = record["window"]
    if not _numbers(window, 2) or not window[0] < window[1]:
        refuse(f"its window is {window}, expected two rising numbers in HU")
    spacing = record["spacing"]
    if spacing is not None and not (_numbers(spacing, 3) and min(spacing) > 0):
        refuse(f"its spacing is {spacing}, expected three positive numbers in mm")
    volumes = record["schema"].get("V")
    if not _numbers(volumes, len(CLASSES)) or min(volumes) < 0 or abs(sum(volumes) - 1.0) > 1e-3:
        refuse(f"its schema's volumes V are {volumes}, expected four numbers that add up to 1")
    if not 0.0 <= record["sensitivity"] <= 1.0:
        refuse(f"its sensitivity is {record['sensitivity']}, expected 0 to 1")
    if not 0.0 < record["temperature"] < 1e3:
        refuse(f"its temperature is {record['temperature']}, expected a positive number")


def _numbers(values: object, count: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == count
        and all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
        and all(math.isfinite(each) for each in values)
    )


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")
