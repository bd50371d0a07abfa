"""Checkpoints: weights, and all that is needed to use them and to train on, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import CheckpointError, SettingsError
from napari_kidnet.network.header import (
    FORMAT_VERSION,
    METADATA_KEY,
    REQUIRED,
    default_checkpoint_path,
    read_checkpoint_header,
)
from napari_kidnet.network.kidnet import KidNet, KidNetSettings
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Checkpoint", "build_network", "load_checkpoint", "network_weights", "save_checkpoint"]

COUNTER = "num_batches_tracked"
"""A counter inside PyTorch's batch normalisation that nothing of ours reads; it is left out of the file."""

FLOATS = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A trained network and how it was trained.

    Attributes
    ----------
    network : KidNetSettings
        The network that the weights fit.
    weights : dict of Tensor
        By name, float32; see `network_weights`.
    window : tuple of float
        HU that the network sees as −1 and 1.
    spacing : tuple of float, optional
        The grid that the network works on, (z, y, x) mm; None means the scan's own, as in the paper.
    schema : dict
        The training schema; ``"V"`` holds the moving-average volumes, ``"patches_seen"`` their number.
    sensitivity : float
        0…1, tuned on validation scans; 1 is the paper's decision.
    temperature : float
        By which logits are divided before probabilities are shown.
    record : dict
        Cases, seed, steps, loss, validation F1.
    parent : str, optional
        Hash of the checkpoint that this one was fine-tuned from.
    """

    network: KidNetSettings
    weights: dict[str, Tensor]
    classes: tuple[str, ...] = tuple(each.name for each in CLASSES)
    window: tuple[float, float] = (-200.0, 500.0)
    spacing: tuple[float, float, float] | None = None
    schema: dict[str, Any] = field(default_factory=lambda: {"V": [0.25] * len(CLASSES), "patches_seen": 0})
    sensitivity: float = 1.0
    temperature: float = 1.0
    record: dict[str, Any] = field(default_factory=dict)
    parent: str | None = None
    _file_hash: str | None = field(init=False, default=None, repr=False)

    @property
    def hash(self) -> str:
        """The SHA-256 of its file, as ``sha256sum`` prints it; of the file to be, if it has none yet."""
        return self._file_hash or hashlib.sha256(_encoded(self, torch.float32)).hexdigest()


def network_weights(net: KidNet) -> dict[str, Tensor]:
    """Return a copy of a network's weights, float32 on the CPU, for a checkpoint."""
    return {
        name: value.detach().to("cpu", torch.float32, copy=True).contiguous()
        for name, value in net.state_dict().items()
        if not name.endswith(COUNTER)
    }


def build_network(checkpoint: Checkpoint) -> KidNet:
    """Return the checkpoint's network on the CPU, float32, in evaluation mode."""
    net = KidNet(checkpoint.network)
    # strict stands in _check_weights; only the counters are missing here
    net.load_state_dict(checkpoint.weights, strict=False)
    return net.eval()


def load_checkpoint(path: Path | str | None = None) -> Checkpoint:
    """Read and check a checkpoint.

    Parameters
    ----------
    path : Path or str, optional
        The file; the shipped checkpoint by default.

    Raises
    ------
    CheckpointError
        The file is missing, foreign, damaged, or of another network than it says.
    """
    if path is None:
        path = default_checkpoint_path()
        if not path.exists():
            raise CheckpointError(
                "No checkpoint comes with this copy of napari-kidnet; choose one that kidnet train wrote."
            )
    path = Path(path)
    header = read_checkpoint_header(path)
    try:
        content = path.read_bytes()
        weights = load_tensors(content)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror or error}); choose another checkpoint."
        ) from error
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path.name} is damaged: its weights are cut off or overlap; copy it again."
        ) from error
    network = _settings_of(header["network"], path.name)
    _check_weights(network, weights, path.name)
    if header["checksum"] not in (None, _checksum({key: header[key] for key in REQUIRED}, weights)):
        raise CheckpointError(
            f"{path.name} was changed after it was written: its checksum does not fit; copy it again."
        )
    spacing = header["spacing"]
    checkpoint = Checkpoint(
        network,
        {name: value.to(torch.float32) for name, value in weights.items()},
        classes=tuple(header["classes"]),
        window=(float(header["window"][0]), float(header["window"][1])),
        spacing=None if spacing is None else (float(spacing[0]), float(spacing[1]), float(spacing[2])),
        schema=header["schema"],
        sensitivity=float(header["sensitivity"]),
        temperature=float(header["temperature"]),
        record=header["record"],
        parent=header["parent"],
    )
    object.__setattr__(checkpoint, "_file_hash", hashlib.sha256(content).hexdigest())
    return checkpoint


def save_checkpoint(path: Path | str, checkpoint: Checkpoint, half: bool = False) -> None:
    """Write a checkpoint; whatever happens, the file is whole or not there.

    Parameters
    ----------
    path : Path or str
        The file to be written.
    checkpoint : Checkpoint
        What to write; it is checked as in reading.
    half : bool
        Store weights as float16: half the size, and a difference far below a label's.

    Raises
    ------
    CheckpointError
        The weights are not finite or do not fit the network.
    OutputError
        The file cannot be written.
    """
    path = Path(path)
    _check_weights(checkpoint.network, checkpoint.weights, path.name)
    content = _encoded(checkpoint, torch.float16 if half else torch.float32)
    with write_atomically(path) as partial:
        partial.write_bytes(content)


def _encoded(checkpoint: Checkpoint, dtype: torch.dtype) -> bytes:
    record = {
        "format": FORMAT_VERSION,
        "network": checkpoint.network.as_dict(),
        "classes": list(checkpoint.classes),
        "window": list(checkpoint.window),
        "spacing": None if checkpoint.spacing is None else list(checkpoint.spacing),
        "schema": checkpoint.schema,
        "sensitivity": checkpoint.sensitivity,
        "temperature": checkpoint.temperature,
        "record": checkpoint.record,
        "parent": checkpoint.parent,
    }
    weights = {name: value.to("cpu", dtype).contiguous() for name, value in checkpoint.weights.items()}
    try:
        record["checksum"] = _checksum(record, weights)
        text = json.dumps(record, allow_nan=False, sort_keys=True)
    except ValueError as error:
        raise CheckpointError(
            "The checkpoint's record holds a number that is not finite; it cannot be written."
        ) from error
    # In the one string of ours: safetensors writes several in an order that changes from run to run.
    content: bytes = save_tensors(weights, metadata={METADATA_KEY: text})
    return content


def _checksum(record: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of a description and the weights as they are stored: 7 ms for 10 MB."""
    # twice: what is read back has lists for tuples, and text for the numbers that were keys
    described = json.dumps(json.loads(json.dumps(record, allow_nan=False)), sort_keys=True)
    summed = hashlib.sha256(described.encode())
    for name in sorted(weights):
        value = weights[name]
        summed.update(f"{name} {value.dtype} {list(value.shape)}".encode())
        summed.update(value.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return summed.hexdigest()


def _settings_of(values: Mapping[str, Any], name: str) -> KidNetSettings:
    known = {each.name for each in fields(KidNetSettings)}
    if unknown := sorted(set(values) - known):
        raise CheckpointError(
            f"{name} is for another network: its settings have an unknown {', '.join(unknown)}."
        )
    if missing := sorted(known - set(values)):
        raise CheckpointError(
            f"{name} is not a valid checkpoint: its network's settings lack {', '.join(missing)}."
        )
    try:
        return KidNetSettings(**values)
    except SettingsError as error:
        raise CheckpointError(f"{name} is not a valid checkpoint: {error}") from error


def _check_weights(network: KidNetSettings, weights: Mapping[str, Tensor], name: str) -> None:
    with torch.device("meta"):  # shapes only: a header that claims a huge network costs nothing
        expected = {
            key: value.shape
            for key, value in KidNet(network).state_dict().items()
            if not key.endswith(COUNTER)
        }
    if missing := sorted(expected.keys() - weights.keys()):
        raise CheckpointError(f"{name} is damaged: it lacks the weights {_some(missing)} of its network.")
    if extra := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(f"{name} is for another network: it has unknown weights {_some(extra)}.")
    for key, shape in expected.items():
        value = weights[key]
        if value.shape != shape:
            raise CheckpointError(
                f"{name} is for another network: {key} is {list(value.shape)}, expected {list(shape)}."
            )
        if value.dtype not in FLOATS:
            raise CheckpointError(
                f"{name} is damaged: {key} holds {value.dtype}, expected floating-point numbers."
            )
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(
                f"{name} is damaged: {key} holds values that are not finite; train or copy it again."
            )
        if key.endswith("running_var") and bool((value < 0).any()):
            raise CheckpointError(
                f"{name} is damaged: {key} holds negative variances; train or copy it again."
            )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
