"""The state of a run on disk, from which a broken-off run goes on: safetensors and JSON, never pickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_kidnet.errors import CheckpointError
from napari_kidnet.scans.writing import write_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from napari_kidnet.network.kidnet import KidNet

__all__ = ["RunState", "load_state", "restore", "save_state", "snapshot"]

KEY = "napari-kidnet-run"
MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class RunState:
    """A run after some steps.

    Attributes
    ----------
    tensors : dict of Tensor
        Weights (``net/``), Adam's moments (``exp_avg/``, ``exp_avg_sq/``) and averaged weights (``ema/``).
    record : dict
        Plain values: step, V, settings, losses, validations.
    """

    tensors: dict[str, Tensor]
    record: dict[str, Any]


def snapshot(
    net: KidNet, optimiser: torch.optim.Adam, ema: dict[str, Tensor] | None, record: dict[str, Any]
) -> RunState:
    """Return a copy of a run's state."""
    tensors = {f"net/{name}": value for name, value in net.state_dict().items()}
    for name, parameter in net.named_parameters():
        for moment in MOMENTS:
            if parameter in optimiser.state:
                tensors[f"{moment}/{name}"] = optimiser.state[parameter][moment]
    if ema is not None:
        tensors |= {f"ema/{name}": value for name, value in ema.items()}
    return RunState(
        {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}, record
    )


def restore(state: RunState, net: KidNet, optimiser: torch.optim.Adam, ema: dict[str, Tensor] | None) -> None:
    """Put a state into a run's network, optimiser and averaged weights, in place.

    Raises
    ------
    CheckpointError
        The state is of another network.
    """
    parts: dict[str, dict[str, Tensor]] = {"net": {}, "ema": {}, **{moment: {} for moment in MOMENTS}}
    try:
        for key, value in state.tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        net.load_state_dict(parts["net"])
        for name, parameter in net.named_parameters():
            if not parameter.requires_grad or not state.record["step"]:
                continue  # Adam knows nothing of what is frozen, nor before its first step
            optimiser.state[parameter] = {
                "step": torch.tensor(float(state.record["step"])),
                **{moment: torch.empty_like(parameter).copy_(parts[moment][name]) for moment in MOMENTS},
            }
        if ema is not None:
            for name, value in ema.items():
                value.copy_(parts["ema"][name])
    except (KeyError, RuntimeError) as error:
        raise CheckpointError(
            "The saved state of this training is of another network; start it anew."
        ) from error


def save_state(path: Path, state: RunState) -> None:
    """Write a state whole, or not at all."""
    text = json.dumps(state.record, allow_nan=False)
    with write_atomically(path) as partial:
        save_file(state.tensors, partial, metadata={KEY: text})


def load_state(path: Path) -> RunState | None:
    """Read a state; None where there is none.

    Raises
    ------
    CheckpointError
        The file is damaged.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})[KEY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged; delete it to start this training anew.") from error
    return RunState(tensors, record)
