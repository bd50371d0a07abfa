"""Kid-Net as an OpenVINO graph, built operation by operation from the weights.

OpenVINO's own converter traces the PyTorch module, which takes 2 to 5 s and starts a telemetry session; this
takes some hundredths of a second, so the first labels of a scan come that much sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import nn

from napari_kidnet.network.kidnet import SLOPE, SMALLEST_PROBABILITY, KidNet, Stage

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["openvino_graph"]

SPACE = [2, 3, 4]
"""The axes z, y, x of (n, channel, z, y, x)."""


def openvino_graph(net: KidNet) -> Any:
    """Return an ``openvino.Model`` from windows (1, 1, z, y, x) of any size to logits (1, class, z, y, x).

    Parameters
    ----------
    net : KidNet
        In evaluation mode, its batch normalisation folded (`fold_batch_norm`).
    """
    import openvino
    from openvino import opset13 as ops

    settings = net.settings
    window = ops.parameter([1, 1, -1, -1, -1], np.float32, name="window")
    x: Any = window
    skips = []
    for scale, stage in enumerate(net.encoder):
        if scale:
            x = ops.max_pool(x, [2, 2, 2], [1, 1, 1], [0, 0, 0], [0, 0, 0], [2, 2, 2]).output(0)
        x = _stage(ops, x, stage)
        skips.append(x)
    features = [x]
    for scale in reversed(range(settings.levels - 1)):
        up = _transposed(ops, x, net.ups[scale])
        x = _stage(ops, ops.concat([up, skips[scale]], 1), net.decoder[scale], up)
        features.insert(0, x)
    if settings.heads_from == "encoder":
        features = [features[0], *skips[1:]]
    scales = [
        _enlarged(ops, _convolution(ops, feature, cast("nn.Conv3d", head)), 2**scale, settings.upsampling)
        for scale, (head, feature) in enumerate(zip(net.heads, features, strict=True))
    ]
    if settings.average == "mean_softmax":
        scales = [ops.softmax(each, 1) for each in scales]
    mean = scales[0]
    for each in scales[1:]:
        mean = ops.add(mean, each)
    mean = ops.multiply(mean, np.float32(1 / len(scales)))
    if settings.average == "mean_softmax":
        mean = ops.log(ops.maximum(mean, np.float32(SMALLEST_PROBABILITY)))
    return openvino.Model([mean], [window], "kidnet")


def _stage(ops: Any, x: Any, stage: nn.Module, residual: Any = None) -> Any:
    if not isinstance(stage, Stage):
        raise TypeError(f"a stage is a {type(stage).__name__}")
    y = _rectified(ops, _normalised(ops, _convolution(ops, x, stage.conv1), stage.norm1))
    y = _normalised(ops, _convolution(ops, y, stage.conv2), stage.norm2)
    if stage.project is not None:
        residual = _convolution(ops, x, stage.project)
    return _rectified(ops, y if residual is None else ops.add(y, residual))


def _convolution(ops: Any, x: Any, module: nn.Conv3d) -> Any:
    pad = [int(each) for each in module.padding]
    y = ops.convolution(x, _values(module.weight), [1, 1, 1], pad, pad, [1, 1, 1])
    return y if module.bias is None else ops.add(y, _per_channel(module.bias))


def _transposed(ops: Any, x: Any, module: Any) -> Any:
    y = ops.convolution_backprop_data(x, _values(module.weight), strides=[2, 2, 2])
    return ops.add(y, _per_channel(module.bias))


def _normalised(ops: Any, x: Any, module: nn.Module) -> Any:
    if isinstance(module, nn.Identity):
        return x
    if isinstance(module, nn.GroupNorm):
        scale, shift = (_values(each) for each in (module.weight, module.bias))
        return ops.group_normalization(x, scale, shift, module.num_groups, module.eps)
    if not isinstance(module, nn.InstanceNorm3d):
        raise TypeError(f"cannot express {type(module).__name__}; fold batch normalisation first")
    y = ops.mvn(x, SPACE, True, module.eps, "inside_sqrt")
    return ops.add(ops.multiply(y, _per_channel(module.weight)), _per_channel(module.bias))


def _rectified(ops: Any, x: Any) -> Any:
    return ops.prelu(x, np.array([SLOPE], np.float32))


def _enlarged(ops: Any, x: Any, factor: int, mode: str) -> Any:
    if factor == 1:
        return x
    nearest = mode == "nearest"
    return ops.interpolate(
        x,
        np.full(3, factor, np.float32),
        "nearest" if nearest else "linear_onnx",
        "scales",
        coordinate_transformation_mode="asymmetric" if nearest else "half_pixel",
        nearest_mode="floor",
        axes=np.array(SPACE),
    )


def _values(tensor: Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = np.ascontiguousarray(tensor.detach().cpu().numpy(), np.float32)
    return values


def _per_channel(tensor: Tensor) -> NDArray[np.float32]:
    return _values(tensor).reshape(1, -1, 1, 1, 1)
