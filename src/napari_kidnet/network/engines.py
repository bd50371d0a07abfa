"""What runs a network: PyTorch (the reference, and graphics cards) or OpenVINO (three times faster on a CPU).

Both answer the same question, one window at a time, and are checked against each other in the tests: their
probabilities differ by less than a thousandth.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from napari_kidnet.errors import DeviceError, SettingsError
from napari_kidnet.network.checkpoint import build_network
from napari_kidnet.network.openvino_graph import openvino_graph

if TYPE_CHECKING:
    from napari_kidnet.network.checkpoint import Checkpoint
    from napari_kidnet.network.kidnet import KidNet

__all__ = ["Engine", "OpenVinoEngine", "TorchEngine", "available_devices", "open_engine"]

Floats = NDArray[np.float32]

ENGINES: Final = ("auto", "torch", "openvino")

KEPT_SHAPES: Final = 2
"""Compiled networks kept at once: a plan has windows of one size, and smaller ones at a scan's end."""


class Engine(Protocol):
    """Runs a network on windows of a scan.

    Attributes
    ----------
    name : str
        "torch" or "openvino".
    device : str
        "cpu", "cuda", "cuda:1", "mps".
    multiple : int
        Each size of a window must be a multiple of this.
    """

    name: str
    device: str
    multiple: int

    def logits(self, tile: Floats) -> Floats:
        """Return logits, float32 (class, z, y, x), of a normalised window, float32 (z, y, x) in −1…1.

        Raises
        ------
        DeviceError
            The memory is too small for this window.
        SettingsError
            The window's size does not fit the network.
        """
        ...

    def close(self) -> None:
        """Free the memory; the engine cannot be used afterwards."""
        ...


class TorchEngine:
    """PyTorch on a CPU or a graphics card.

    On CUDA convolutions are computed in half precision and the scales' answers summed in float32. On a CPU
    batch normalisation is folded into the convolutions.

    Parameters
    ----------
    checkpoint : Checkpoint
        The network.
    device : str
        "cpu", "cuda", "cuda:1", "mps".
    threads : int, optional
        CPU threads; all cores by default.
    """

    name = "torch"

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        self.multiple = checkpoint.network.multiple
        self._threads = threads or os.cpu_count() or 1
        self._half = device.startswith("cuda")
        net = fold_batch_norm(build_network(checkpoint))
        try:
            self._net: KidNet | None = net.to(device)
        except (RuntimeError, AssertionError) as error:
            raise DeviceError(f"The device {device} cannot be used ({_short(error)}); choose cpu.") from error

    def logits(self, tile: Floats) -> Floats:
        """Return logits (class, z, y, x) of a normalised window (z, y, x); see `Engine`."""
        net = self._open()
        _check_shape(tile, self.multiple)
        before = torch.get_num_threads()
        if self.device == "cpu":
            torch.set_num_threads(self._threads)
        try:
            with torch.inference_mode(), torch.autocast("cuda", torch.float16, enabled=self._half):
                window = torch.from_numpy(np.ascontiguousarray(tile, np.float32))[None, None].to(self.device)
                answer: Floats = net(window)[0].float().cpu().numpy()
                return answer
        except (RuntimeError, MemoryError) as error:
            raise _device_error(error, tile, self.device) from error
        finally:
            if self.device == "cpu":
                torch.set_num_threads(before)

    def close(self) -> None:
        """Free the network, and the graphics card's memory."""
        self._net = None
        if self._half:
            torch.cuda.empty_cache()

    def _open(self) -> KidNet:
        if self._net is None:
            raise DeviceError("This engine was closed; open another one.")
        return self._net


class OpenVinoEngine:
    """OpenVINO on a CPU.

    The network is compiled for each size of window when it first comes (0.1 to 0.3 s): a network of variable
    size is slower by more than that on the first window already.

    Parameters
    ----------
    checkpoint : Checkpoint
        The network.
    threads : int, optional
        CPU threads; all cores by default.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, checkpoint: Checkpoint, threads: int | None = None) -> None:
        import openvino

        self.multiple = checkpoint.network.multiple
        self._core: Any = openvino.Core()
        self._config = {
            # the hint's default on newer processors is bfloat16, which moves probabilities by per cents
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads or os.cpu_count() or 1,
        }
        self._model: Any = openvino_graph(fold_batch_norm(build_network(checkpoint)))
        self._compiled: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def logits(self, tile: Floats) -> Floats:
        """Return logits (class, z, y, x) of a normalised window (z, y, x); see `Engine`."""
        if self._model is None:
            raise DeviceError("This engine was closed; open another one.")
        _check_shape(tile, self.multiple)
        try:
            request = self._request(tile.shape)
            window = np.ascontiguousarray(tile, np.float32)[None, None]
            answer: Floats = np.array(request.infer([window], share_inputs=True)[0][0], np.float32)
            return answer
        except (RuntimeError, MemoryError) as error:
            raise _device_error(error, tile, self.device) from error

    def close(self) -> None:
        """Free the compiled networks."""
        self._compiled.clear()
        self._model = None

    def _request(self, shape: tuple[int, ...]) -> Any:
        if shape in self._compiled:
            self._compiled.move_to_end(shape)
            return self._compiled[shape]
        while len(self._compiled) >= KEPT_SHAPES:
            self._compiled.popitem(last=False)
        model = self._model.clone()
        model.reshape([1, 1, *shape])
        request = self._core.compile_model(model, "CPU", self._config).create_infer_request()
        self._compiled[shape] = request
        return request


def open_engine(
    checkpoint: Checkpoint, device: str = "auto", engine: str = "auto", threads: int | None = None
) -> Engine:
    """Return an engine for a network.

    Parameters
    ----------
    checkpoint : Checkpoint
        The network.
    device : str
        "auto" takes a graphics card where there is one; or "cpu", "cuda", "cuda:1", "mps".
    engine : {"auto", "torch", "openvino"}
        "auto" takes OpenVINO on a CPU, if it is installed, and PyTorch elsewhere.
    threads : int, optional
        CPU threads; all cores by default. A program with a window should leave some.

    Raises
    ------
    DeviceError
        The device or the engine is not there.
    """
    if engine not in ENGINES:
        raise SettingsError(f"The engine is {engine!r}; choose one of {', '.join(ENGINES)}.")
    if threads is not None and threads < 1:
        raise SettingsError(f"The number of threads is {threads}; choose 1 or more.")
    there = available_devices()
    if device == "auto":
        device = "cpu" if engine == "openvino" else there[0]
    if device not in there and not (device == "cuda:0" and "cuda" in there):
        raise DeviceError(f"The device {device} is not here; choose auto or one of: {', '.join(there)}.")
    if engine == "openvino" and device != "cpu":
        raise DeviceError(f"OpenVINO runs on the CPU only, not on {device}; choose the engine torch for it.")
    if device == "cpu" and engine != "torch":
        try:
            return OpenVinoEngine(checkpoint, threads)
        except ImportError as error:
            if engine == "openvino":
                raise DeviceError(
                    "OpenVINO is not installed; install openvino, or choose the engine torch."
                ) from error
    return TorchEngine(checkpoint, device, threads)


def available_devices() -> list[str]:
    """Return the devices of this computer, the fastest first; the last one is always "cpu"."""
    found = []
    if torch.cuda.is_available():
        found += ["cuda"] + [f"cuda:{number}" for number in range(1, torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def fold_batch_norm(net: KidNet) -> KidNet:
    """Fold each batch normalisation into the convolution before it, in place; other norms stay."""
    for stage in [*net.encoder, *net.decoder]:
        for number in (1, 2):
            norm = getattr(stage, f"norm{number}")
            if isinstance(norm, nn.BatchNorm3d):
                setattr(stage, f"conv{number}", fuse_conv_bn_eval(getattr(stage, f"conv{number}"), norm))
                setattr(stage, f"norm{number}", nn.Identity())
    return net


def _check_shape(tile: Floats, multiple: int) -> None:
    if tile.ndim != 3 or any(size < multiple or size % multiple for size in tile.shape):
        raise SettingsError(
            f"A window of {' × '.join(map(str, tile.shape))} voxels does not fit the network; "
            f"each size must be a multiple of {multiple}."
        )


def _device_error(error: Exception, tile: Floats, device: str) -> DeviceError:
    text = str(error).lower()
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in text or "alloc" in text:
        size = " × ".join(map(str, tile.shape))
        return DeviceError(
            f"The memory of {device} is too small for a window of {size} voxels; use smaller tiles."
        )
    return DeviceError(f"The network failed on {device} ({_short(error)}); choose another device or engine.")


def _short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
