"""The network: R1–R3, R5–R11 and the sizes of science.md §4."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_kidnet.errors import SettingsError
from napari_kidnet.network import PRESETS, KidNet, KidNetSettings


def tiny(**changes: object) -> KidNet:
    torch.manual_seed(0)
    return KidNet(KidNetSettings(base=4, levels=4, **changes)).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("edge", [16, 24])
def test_R1_a_patch_gives_four_logits_per_voxel(edge: int) -> None:
    with torch.no_grad():
        assert tiny()(torch.zeros(1, 1, edge, edge, edge)).shape == (1, 4, edge, edge, edge)


def test_R2_R3_the_same_weights_take_any_size() -> None:
    net = tiny()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for size in ((16, 16, 16), (24, 16, 40), (8, 32, 16)):
            assert net(torch.randn(1, 1, *size)).shape == (1, 4, *size)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


def test_R6_one_joint_decision() -> None:
    with torch.no_grad():
        probabilities = torch.softmax(tiny()(torch.randn(1, 1, 16, 16, 16)), dim=1)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(1, 16, 16, 16), atol=1e-5)


def test_R7_each_level_sees_its_skip() -> None:
    net = tiny()
    for fine, stage in zip(net.settings.channels, net.decoder, strict=False):
        assert stage.conv1.in_channels == 2 * fine  # what came up, and the feature of the same scale


def test_R8_residual_links_are_in_the_upsampling_phase_only() -> None:
    """A stage whose convolutions give nothing passes its residual link on; only decoder stages have one."""
    net = tiny()
    for stage in [*net.encoder, *net.decoder]:
        nn.init.zeros_(stage.conv2.weight)
        nn.init.zeros_(stage.norm2.bias)
    seen: dict[str, list[torch.Tensor]] = {"encoder": [], "decoder": []}
    for name in seen:
        for stage in getattr(net, name):
            stage.register_forward_hook(lambda _module, _args, out, name=name: seen[name].append(out))
    with torch.no_grad():
        # a bottleneck of ones, so that something comes up at all
        net.encoder[-1].norm2.bias.fill_(1.0)
        net(torch.randn(1, 1, 16, 16, 16))
    assert all(float(each.abs().max()) == 0 for each in seen["encoder"][:-1])
    assert all(float(each.abs().max()) > 0 for each in seen["decoder"])
    assert all(stage.project is None for stage in net.encoder)


def test_R9_every_scale_comes_to_full_resolution_by_itself() -> None:
    net = tiny()
    x = torch.randn(1, 1, 16, 24, 16)
    with torch.no_grad():
        _, scales = net(x, return_scales=True)
        assert [tuple(each.shape) for each in scales] == [(1, 4, 16, 24, 16)] * 4
        # scale k is constant within 2^k blocks under nearest up-sampling: it was enlarged at one go
        _, blocks = tiny(upsampling="nearest")(x, return_scales=True)
    for scale, each in enumerate(blocks):
        step = 2**scale
        coarse = each[..., ::step, ::step, ::step]
        again = coarse.repeat_interleave(step, 2).repeat_interleave(step, 3).repeat_interleave(step, 4)
        assert torch.equal(again, each)


def test_R9_changing_one_head_changes_only_its_scale() -> None:
    net = tiny()
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        _, before = net(x, return_scales=True)
        net.heads[2].bias += 1
        _, after = net(x, return_scales=True)
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert changed == [False, False, True, False]


def test_R10_the_result_is_the_mean_of_the_scales_logits() -> None:
    with torch.no_grad():
        final, scales = tiny()(torch.randn(1, 1, 16, 16, 16), return_scales=True)
    assert torch.allclose(final, torch.stack(scales).mean(dim=0), atol=1e-6)


def test_R10_mean_softmax_is_the_logarithm_of_the_mean_probability() -> None:
    with torch.no_grad():
        final, scales = tiny(average="mean_softmax")(torch.randn(1, 1, 16, 16, 16), return_scales=True)
    mean = torch.stack([torch.softmax(each, dim=1) for each in scales]).mean(dim=0)
    assert torch.allclose(final.exp(), mean, atol=1e-6)
    assert torch.allclose(torch.softmax(final, dim=1), mean, atol=1e-5)


def test_A3_a_head_before_or_after_upsampling_is_the_same() -> None:
    feature, head = torch.randn(1, 8, 4, 6, 4), nn.Conv3d(8, 4, 1)

    def grow(x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x, scale_factor=4.0, mode="trilinear", align_corners=False)

    with torch.no_grad():
        assert torch.allclose(grow(head(feature)), head(grow(feature)), atol=1e-5)


def test_A4_heads_can_read_the_encoder() -> None:
    net = tiny(heads_from="encoder")
    x = torch.randn(1, 1, 16, 16, 16)
    with torch.no_grad():
        _, before = net(x, return_scales=True)
        net.decoder[1].norm2.bias += 1  # moves the decoder's second scale
        _, after = net(x, return_scales=True)
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[0], after[0])


def test_R11_convolutions_see_across_slices() -> None:
    net = tiny(norm="batch")
    x = torch.zeros(1, 1, 16, 16, 16)
    with torch.no_grad():
        before = net(x)
        x[0, 0, 8] = 1.0
        assert not torch.equal(net(x)[0, :, 6], before[0, :, 6])


@pytest.mark.parametrize(
    ("preset", "millions"), [("tiny", 0.088), ("lite", 0.351), ("default", 5.65), ("large", 16.5)]
)
def test_parameters_of_the_presets(preset: str, millions: float) -> None:
    with torch.device("meta"):
        count = sum(each.numel() for each in KidNet(PRESETS[preset]).parameters())
    assert count == pytest.approx(millions * 1e6, rel=0.03)


def test_instance_norm_is_pytorchs() -> None:
    net = tiny()
    norm = net.encoder[1].norm1
    reference = nn.InstanceNorm3d(8, affine=True)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
        reference.load_state_dict(norm.state_dict())
        x = torch.randn(2, 8, 4, 6, 5)
        assert torch.allclose(norm(x), reference(x), atol=1e-5)
        assert torch.equal(norm(x[:1, :, :1, :1, :1]).flatten(), norm.bias)


@pytest.mark.parametrize("norm", ["instance", "batch", "group"])
def test_gradients_reach_every_weight(norm: str) -> None:
    net = tiny(norm=norm).train()
    net(torch.randn(2, 1, 16, 16, 16)).square().mean().backward()
    assert all(each.grad is not None and bool(each.grad.abs().sum() > 0) for each in net.parameters())


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"base": 0}, "base"),
        ({"levels": 9}, "levels"),
        ({"norm": "layer"}, "norm"),
        ({"base": True}, "base"),
        ({"average": "median"}, "average"),
        ({"encoder_residual": 1}, "encoder_residual"),
    ],
)
def test_impossible_networks_are_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        KidNetSettings(**changes)  # type: ignore[arg-type]
