"""The engines agree with the network and with each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_kidnet.errors import DeviceError, SettingsError
from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, available_devices, open_engine
from napari_kidnet.network.checkpoint import network_weights

OPTIONS = [
    {"norm": "batch"},
    {"norm": "instance"},
    {"norm": "group"},
    {"average": "mean_softmax", "norm": "batch"},
    {"heads_from": "encoder", "upsampling": "nearest"},
    {"encoder_residual": True, "levels": 5},
]


def checkpoint(**changes: object) -> Checkpoint:
    """A network with norms that are not the identity, as after training."""
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(0)
    net = KidNet(KidNetSettings(**({"base": 4, "levels": 4} | changes)))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if "norm" in name and value.is_floating_point():
                value.uniform_(0.5, 1.5, generator=generator)
    return Checkpoint(net.settings, network_weights(net))


def probabilities(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=0))
    return powers / powers.sum(axis=0)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda each: "-".join(map(str, each.values())))
def test_engines_agree(options: dict[str, object]) -> None:
    ours = checkpoint(**options)
    rng = np.random.default_rng(0)
    net = KidNet(ours.network).eval()
    net.load_state_dict(ours.weights, strict=False)
    engines = [open_engine(ours, "cpu", name, threads=1) for name in ("torch", "openvino")]
    for shape in ((16, 32, 48), (16, 16, 16)):
        tile = rng.uniform(-1, 1, shape).astype(np.float32)
        with torch.no_grad():
            expected = probabilities(net(torch.from_numpy(tile)[None, None])[0].numpy())
        for engine in engines:
            found = engine.logits(tile)
            assert found.shape == (4, *shape)
            assert found.dtype == np.float32
            assert np.abs(probabilities(found) - expected).max() <= 1e-3, engine.name


def test_auto_takes_openvino_on_the_cpu() -> None:
    engine = open_engine(checkpoint(), "cpu", threads=1)
    assert (engine.name, engine.device, engine.multiple) == ("openvino", "cpu", 8)


def test_a_window_that_does_not_fit_is_named() -> None:
    for name in ("torch", "openvino"):
        engine = open_engine(checkpoint(), "cpu", name, threads=1)
        with pytest.raises(SettingsError, match=r"16 × 12 × 16 voxels.*multiple of 8"):
            engine.logits(np.zeros((16, 12, 16), np.float32))


def test_a_closed_engine_says_so() -> None:
    for name in ("torch", "openvino"):
        engine = open_engine(checkpoint(), "cpu", name, threads=1)
        engine.close()
        with pytest.raises(DeviceError, match="closed"):
            engine.logits(np.zeros((8, 8, 8), np.float32))


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"gpu9.*cpu"):
        open_engine(checkpoint(), "gpu9")
    with pytest.raises(SettingsError, match="onnx"):
        open_engine(checkpoint(), engine="onnx")
    with pytest.raises(SettingsError, match="threads"):
        open_engine(checkpoint(), threads=0)
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize("message", ["CUDA out of memory. Tried to allocate 2 GiB", "could not allocate"])
def test_too_little_memory_is_a_device_error(message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(checkpoint(), "cpu", "torch", threads=1)

    def fail(_self: KidNet, _x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(message)

    monkeypatch.setattr(KidNet, "forward", fail)
    with pytest.raises(DeviceError, match=r"memory of cpu is too small.*8 × 8 × 8"):
        engine.logits(np.zeros((8, 8, 8), np.float32))


def test_the_callers_threads_are_left_alone() -> None:
    before = torch.get_num_threads()
    open_engine(checkpoint(), "cpu", "torch", threads=before + 1).logits(np.zeros((8, 8, 8), np.float32))
    assert torch.get_num_threads() == before
