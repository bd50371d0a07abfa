"""The weighted cross-entropy (R27, A14) and the losses beside it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from napari_kidnet.training.losses import ExtraLosses, class_f1, training_loss, weighted_cross_entropy


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 4, 5, 6, generator=generator)
    labels = torch.randint(0, 4, (2, 4, 5, 6), generator=generator)
    return logits, labels, torch.rand(2, 4, 5, 6, generator=generator) + 0.1


def test_R27_it_is_the_categorical_cross_entropy(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, weights = batch
    chosen = torch.log_softmax(logits, dim=1).gather(1, labels.unsqueeze(1))[:, 0]
    expected = (-chosen * weights).mean()
    assert float(weighted_cross_entropy(logits, labels, weights)) == pytest.approx(float(expected), rel=1e-5)


def test_A14_zero_weights_leave_the_denominator_and_others_do_not(
    batch: tuple[Tensor, Tensor, Tensor],
) -> None:
    logits, labels, weights = batch
    whole = float(weighted_cross_entropy(logits, labels, weights))
    assert float(weighted_cross_entropy(logits, labels, 3 * weights)) == pytest.approx(3 * whole, rel=1e-5)
    half = weights.clone()
    half[1] = 0
    first = float(weighted_cross_entropy(logits[:1], labels[:1], weights[:1]))
    assert float(weighted_cross_entropy(logits, labels, half)) == pytest.approx(first, rel=1e-5)
    assert float(weighted_cross_entropy(logits, labels, 0 * weights)) == 0.0


def test_it_is_computed_in_float32(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, weights = batch
    loss = weighted_cross_entropy(logits.bfloat16(), labels, 1e4 * weights)
    assert loss.dtype == torch.float32


def test_further_losses_fall_to_nothing_for_the_truth(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    _, labels, weights = batch
    right = 50 * (torch.nn.functional.one_hot(labels, 4).permute(0, 4, 1, 2, 3).float() - 0.5)
    extra = ExtraLosses(dice=1.0, skeleton_recall=1.0, deep_supervision=1.0)
    assert float(training_loss([right, right, right], labels, weights, labels, extra)) < 1e-3
    wrong = torch.roll(right, 1, dims=1)
    for each in (ExtraLosses(dice=1.0), ExtraLosses(skeleton_recall=1.0)):
        base = float(training_loss([wrong], labels, weights, labels, ExtraLosses()))
        assert float(training_loss([wrong], labels, weights, labels, each)) > base + 0.5


def test_unreviewed_voxels_change_no_loss(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    logits, labels, weights = batch
    weights = weights.clone()
    weights[:, 2:] = 0
    extra = ExtraLosses(dice=1.0, skeleton_recall=1.0)
    before = training_loss([logits], labels, weights, labels, extra)
    other = labels.clone()
    other[:, 2:] = 3 - other[:, 2:]
    assert torch.equal(before, training_loss([logits], other, weights, other, extra))


def test_skeleton_recall_does_not_punish_more_than_was_labelled() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    labels[0, :, 1, 1] = 1
    logits = torch.zeros(1, 4, 4, 4, 4)
    logits[:, 1] = 50.0  # artery everywhere
    weights, none = torch.ones(1, 4, 4, 4), ExtraLosses()
    with_recall = training_loss([logits], labels, weights, labels, ExtraLosses(skeleton_recall=1.0))
    assert float(with_recall) == pytest.approx(float(training_loss([logits], labels, weights, labels, none)))


def test_the_f1_of_a_batch() -> None:
    labels = torch.tensor([[[[0, 1, 1, 2]]]])
    logits = torch.nn.functional.one_hot(torch.tensor([[[[0, 1, 2, 2]]]]), 4).permute(0, 4, 1, 2, 3).float()
    assert class_f1(logits, labels) == (pytest.approx(2 / 3), pytest.approx(2 / 3), None)
