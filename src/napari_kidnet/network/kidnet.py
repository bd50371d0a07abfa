"""Kid-Net: a 3-D U-Net with one full-resolution result per scale, which are averaged (paper §2, Fig. 2).

::

    scan ─ stage ─────────────── skip ─────────────── up ─ head ──────────► ┐
             └ stage ─────────── skip ─────── up ─ head ─ ×2 ─────────────► ├ mean ─► softmax
                 └ stage ─────── skip ─ up ─ head ─ ×4 ───────────────────► │
                     └ stage (bottleneck) ─ head ─ ×8 ────────────────────► ┘

A head is a 1×1×1 convolution and commutes with linear up-sampling: it runs at its own resolution, and
only the four channels of its answer are up-sampled, 8^k times cheaper than up-sampling the features.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, overload

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PRESETS", "KidNet", "KidNetSettings"]

Norm = Literal["instance", "batch", "group"]
Average = Literal["mean_logits", "mean_softmax"]
HeadsFrom = Literal["decoder", "encoder"]
Upsampling = Literal["trilinear", "nearest"]

SLOPE: Final = 0.01
"""Slope of the leaky ReLU below zero."""

SMALLEST_PROBABILITY: Final = 1e-7
"""Below this the logarithm of a mean of softmaxes is cut off (reading A3)."""


@dataclass(frozen=True, slots=True)
class KidNetSettings:
    """What a Kid-Net is made of.

    Attributes
    ----------
    base : int
        Channels of the finest scale; they double with every scale.
    levels : int
        Number of scales; sizes must be multiples of ``2 ** (levels - 1)``.
    max_channels : int
        No scale has more channels than these.
    norm : {"instance", "batch", "group"}
        Normalisation after each convolution. With "batch" the answer does not depend on the tile.
    average : {"mean_logits", "mean_softmax"}
        What of the scales is averaged (reading A3).
    heads_from : {"decoder", "encoder"}
        Which features the scales' heads read (reading A4).
    upsampling : {"trilinear", "nearest"}
        How a head's answer comes to full resolution (reading A5).
    encoder_residual : bool
        Residual links in the encoder too. Not Kid-Net (R8), and better elsewhere; off in every preset.
    """

    base: int = 16
    levels: int = 5
    max_channels: int = 320
    norm: Norm = "instance"
    average: Average = "mean_logits"
    heads_from: HeadsFrom = "decoder"
    upsampling: Upsampling = "trilinear"
    encoder_residual: bool = False

    def __post_init__(self) -> None:
        for name, low, high in (("base", 1, 128), ("levels", 2, 7), ("max_channels", 1, 1024)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise SettingsError(
                    f"The network's {name} is {value!r}; choose a whole number from {low} to {high}."
                )
        choices: dict[str, object] = {
            "norm": Norm,
            "average": Average,
            "heads_from": HeadsFrom,
            "upsampling": Upsampling,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise SettingsError(
                    f"The network's {name} is {getattr(self, name)!r}; "
                    f"choose one of {', '.join(get_args(kind))}."
                )
        if type(self.encoder_residual) is not bool:
            raise SettingsError(
                f"The network's encoder_residual is {self.encoder_residual!r}; choose true or false."
            )

    @property
    def multiple(self) -> int:
        """Sizes must be multiples of this, the stride of the coarsest scale."""
        return int(2 ** (self.levels - 1))

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each scale, finest first."""
        return tuple(min(self.base * 2**scale, self.max_channels) for scale in range(self.levels))

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for a checkpoint's header."""
        return asdict(self)


PRESETS: Final[dict[str, KidNetSettings]] = {
    "tiny": KidNetSettings(base=4, levels=4),
    "lite": KidNetSettings(base=8, levels=4),
    "default": KidNetSettings(base=16, levels=5),
    "large": KidNetSettings(base=32, levels=5),
}
"""Named networks: tests; a CPU; the default; a GPU of 8 GB or more."""


class InstanceNorm(nn.InstanceNorm3d):
    """Instance normalisation as a batch normalisation of each sample alone.

    The numbers are the same. PyTorch's own rearranges the channels of each layer and back, a quarter of a
    training step; on a single voxel it fails, where the answer is the shift.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return features (n, channel, z, y, x), each channel of each sample with mean 0, variance 1."""
        if input[0, 0].numel() == 1:
            return (input * 0 + self.bias.view(1, -1, 1, 1, 1)).to(input.dtype)
        parts = [
            functional.batch_norm(each, None, None, self.weight, self.bias, training=True, eps=self.eps)
            for each in torch.split(input, 1)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


class Stage(nn.Module):
    """Two 3×3×3 convolutions, each normalised, then rectified; with a residual link where one is given."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, project: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.norm1 = _norm(norm, outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = _norm(norm, outputs)
        self.project = nn.Conv3d(inputs, outputs, 1, bias=False) if project else None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Return features of x (n, inputs, z, y, x).

        ``residual`` (n, outputs, z, y, x) is added before the last rectifying.
        """
        y = functional.leaky_relu(self.norm1(self.conv1(x)), SLOPE, inplace=True)
        y = self.norm2(self.conv2(y))
        if self.project is not None:
            residual = self.project(x)
        if residual is not None:
            y = y + residual
        return functional.leaky_relu(y, SLOPE, inplace=True)


class KidNet(nn.Module):
    """The network.

    Parameters
    ----------
    settings : KidNetSettings
        Its size and options.

    Examples
    --------
    >>> net = KidNet(PRESETS["tiny"])
    >>> net(torch.zeros(1, 1, 16, 24, 32)).shape
    torch.Size([1, 4, 16, 24, 32])
    """

    def __init__(self, settings: KidNetSettings) -> None:
        super().__init__()
        self.settings = settings
        channels, classes = settings.channels, len(CLASSES)
        self.encoder = nn.ModuleList(
            Stage(inputs, outputs, settings.norm, settings.encoder_residual)
            for inputs, outputs in zip((1, *channels[:-1]), channels, strict=True)
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose3d(coarse, fine, 2, stride=2) for fine, coarse in itertools.pairwise(channels)
        )
        self.decoder = nn.ModuleList(Stage(2 * fine, fine, settings.norm) for fine in channels[:-1])
        self.heads = nn.ModuleList(nn.Conv3d(each, classes, 1) for each in channels)
        self.apply(_initialise)

    @overload
    def forward(self, x: Tensor) -> Tensor: ...
    @overload
    def forward(self, x: Tensor, return_scales: Literal[True]) -> tuple[Tensor, list[Tensor]]: ...
    def forward(self, x: Tensor, return_scales: bool = False) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Return logits (n, class, z, y, x) of normalised scans (n, 1, z, y, x).

        With ``average="mean_softmax"`` they are logarithms of the mean probabilities, so that a softmax or
        a cross-entropy of them is right in both modes.

        Parameters
        ----------
        x : Tensor, (n, 1, z, y, x)
            Intensities in −1…1; each size a multiple of ``settings.multiple``.
        return_scales : bool
            Also return each scale's own logits at full resolution, finest first.
        """
        scales = [
            _enlarge(head(feature), 2**scale, self.settings.upsampling)
            for scale, (head, feature) in enumerate(zip(self.heads, self._features(x), strict=True))
        ]  # each (n, class, z, y, x)
        total = scales[0]
        if self.settings.average == "mean_logits":
            for each in scales[1:]:
                total = total + each
            result = total / len(scales)
        else:
            mean = functional.softmax(total, dim=1)
            for each in scales[1:]:
                mean = mean + functional.softmax(each, dim=1)
            result = torch.log((mean / len(scales)).clamp_min(SMALLEST_PROBABILITY))
        return (result, scales) if return_scales else result

    def _features(self, x: Tensor) -> list[Tensor]:
        skips: list[Tensor] = []
        for scale, stage in enumerate(self.encoder):
            x = stage(x if scale == 0 else functional.max_pool3d(x, 2))
            skips.append(x)
        features = [x]
        for scale in reversed(range(self.settings.levels - 1)):
            up = self.ups[scale](x)
            # R8: the residual link of the up-sampling phase, an identity around the decoder's stage
            x = self.decoder[scale](torch.cat([up, skips[scale]], dim=1), up)
            features.append(x)
        features.reverse()
        return features if self.settings.heads_from == "decoder" else [features[0], *skips[1:]]


def _enlarge(logits: Tensor, factor: int, mode: str) -> Tensor:
    logits = logits.float()
    if factor == 1:
        return logits
    if mode == "nearest":
        return functional.interpolate(logits, scale_factor=float(factor), mode="nearest")
    return functional.interpolate(logits, scale_factor=float(factor), mode="trilinear", align_corners=False)


def _norm(kind: Norm, channels: int) -> nn.Module:
    makers: dict[str, Callable[[], nn.Module]] = {
        "instance": lambda: InstanceNorm(channels, affine=True),
        # a batch is two patches: running statistics need some hundred of them, not ten
        "batch": lambda: nn.BatchNorm3d(channels, momentum=0.02),
        "group": lambda: nn.GroupNorm(_groups(channels), channels),
    }
    return makers[kind]()


def _groups(channels: int) -> int:
    # eight channels a group, as far as they divide
    return next(groups for groups in range(max(1, channels // 8), 0, -1) if channels % groups == 0)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        if module.weight.is_meta:  # only shapes are asked for; drawing them would import a second of PyTorch
            return
        nn.init.kaiming_normal_(module.weight, a=SLOPE, nonlinearity="leaky_relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
