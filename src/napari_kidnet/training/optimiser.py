"""Where and how precisely a network is trained, and the running average of its weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import torch
from torch import Tensor

from napari_kidnet.errors import DeviceError, SettingsError

if TYPE_CHECKING:
    from napari_kidnet.network.kidnet import KidNet

__all__ = ["AveragedWeights", "Precision", "pick_device", "pick_precision"]

Precision = Literal["float32", "bfloat16"]

SMALLEST_BFLOAT16_EDGE: Final = 3
"""With an edge of two voxels, the gradient of a bfloat16 convolution's weights is garbage, or not a number
(PyTorch 2.13 on processors with AVX512-BF16: it differs between equal calls); with three it is right."""


def pick_device(name: str) -> torch.device:
    """Return the device to train on.

    Raises
    ------
    DeviceError
        It is not there.
    """
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(each for each in ("cuda", "mps", "cpu") if there[each]))
    kind = name.partition(":")[0]
    if not there.get(kind, False):
        found = ", ".join(each for each, here in there.items() if here)
        raise DeviceError(f"The device {name} is not here; choose auto or one of: {found}.")
    return torch.device(name)


def pick_precision(wish: str, device: torch.device, coarsest: int, strict: bool) -> Precision:
    """Return the precision of the network's arithmetic; the loss is always computed in float32.

    "auto" is bfloat16 where the processor multiplies in it: a step is then two to four times faster (1.5 s
    against .45 s for two patches of 64³ with 8 channels on two cores), and elsewhere it would be slower.

    Parameters
    ----------
    wish : str
        "auto", "float32" or "bfloat16".
    device : torch.device
        Where it is trained.
    coarsest : int
        Edge of a patch at the network's coarsest scale, voxels.
    strict : bool
        "auto" is float32.

    Raises
    ------
    SettingsError
        bfloat16 would give wrong gradients.
    """
    broken = device.type == "cpu" and coarsest < SMALLEST_BFLOAT16_EDGE
    if wish == "bfloat16" and broken:
        raise SettingsError(
            f"Patches of {coarsest} voxels at the coarsest scale are not trained in bfloat16 on a CPU; "
            "use larger patches or float32."
        )
    if wish == "bfloat16":
        return "bfloat16"
    if wish == "float32" or strict or broken:
        return "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device.type == "cpu":
        supports = [
            getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        ]
        return "bfloat16" if any(each is not None and each() for each in supports) else "float32"
    return "float32"


class AveragedWeights:
    """Exponentially averaged weights and running statistics of a network.

    Parameters
    ----------
    net : KidNet
        The network.
    decay : float
        Of the average; in the first steps it is smaller, so that the random start is soon forgotten.
    """

    def __init__(self, net: KidNet, decay: float) -> None:
        self._decay = decay
        self.values: dict[str, Tensor] = {
            name: value.detach().clone()
            for name, value in net.state_dict().items()
            if value.is_floating_point()
        }

    @torch.no_grad()
    def update(self, net: KidNet, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        part = 1.0 - min(self._decay, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            if name in self.values:
                self.values[name].lerp_(value, part)
