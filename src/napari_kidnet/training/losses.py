"""The weighted cross-entropy of the paper (R27), and what may be added to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from napari_kidnet.classes import CLASSES

__all__ = ["ExtraLosses", "class_f1", "training_loss", "weighted_cross_entropy"]

SMOOTH = 1.0
"""Voxels added above and below a quotient, so that an absent class costs nothing."""


@dataclass(frozen=True, slots=True)
class ExtraLosses:
    """Weights of the losses that the paper does not have.

    Attributes
    ----------
    dice : float
        One minus the mean F1 of the vessel classes over the whole batch.
    skeleton_recall : float
        One minus the recall of the classes' centrelines (Kirchhoff 2024): what nobody labelled costs nothing.
    deep_supervision : float
        The cross-entropy of each scale's own answer, halved with each scale.
    """

    dice: float = 0.0
    skeleton_recall: float = 0.0
    deep_supervision: float = 0.0


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return Σ w·CE / #(w ≠ 0) (reading A14): dividing by Σ w instead would cancel the patch's weight.

    Parameters
    ----------
    logits : Tensor, (n, class, z, y, x)
        Computed with in float32 whatever they are.
    labels : Tensor of int64, (n, z, y, x)
        Classes.
    weights : Tensor of float32, (n, z, y, x)
        From `voxel_weights`.
    """
    entropy = functional.cross_entropy(logits.float(), labels, reduction="none")
    return (entropy * weights).sum() / torch.count_nonzero(weights).clamp_min(1)


def training_loss(
    scales: list[Tensor], labels: Tensor, weights: Tensor, tubes: Tensor, extra: ExtraLosses
) -> Tensor:
    """Return the loss of one batch.

    Parameters
    ----------
    scales : list of Tensor, each (n, class, z, y, x)
        The network's answer, then those of its scales, finest first, where deep supervision needs them.
    labels, tubes : Tensor of int64, (n, z, y, x)
        Classes, and classes near their centrelines.
    weights : Tensor of float32, (n, z, y, x)
        From `voxel_weights`.
    extra : ExtraLosses
        Weights of further losses.
    """
    logits = scales[0]
    loss = weighted_cross_entropy(logits, labels, weights)
    for scale, each in enumerate(scales[1:]):
        loss = loss + extra.deep_supervision * 0.5**scale * weighted_cross_entropy(each, labels, weights)
    if extra.dice or extra.skeleton_recall:
        # of the reviewed voxels only; unsampled background of weight zero is left out with the unreviewed
        seen = (weights != 0).unsqueeze(1)
        probabilities = functional.softmax(logits.float(), dim=1)[:, 1:] * seen  # (n, vessel, z, y, x)
        if extra.dice:
            truth = _vessels(labels) * seen
            overlap = (probabilities * truth).sum(dim=(0, 2, 3, 4))
            total = (probabilities + truth).sum(dim=(0, 2, 3, 4))
            loss = loss + extra.dice * (1.0 - ((2 * overlap + SMOOTH) / (total + SMOOTH)).mean())
        if extra.skeleton_recall:
            line = _vessels(tubes) * seen
            found, length = (each.sum(dim=(0, 2, 3, 4)) for each in (probabilities * line, line))
            loss = loss + extra.skeleton_recall * (1.0 - ((found + SMOOTH) / (length + SMOOTH)).mean())
    return loss


def class_f1(logits: Tensor, labels: Tensor) -> tuple[float | None, ...]:
    """Return the F1 of each vessel class in a batch, None where it is neither there nor found."""
    found = logits.detach().argmax(dim=1)
    count = len(CLASSES)
    pairs = (
        torch.bincount((labels * count + found).flatten(), minlength=count * count)
        .reshape(count, count)
        .tolist()
    )
    scores: list[float | None] = []
    for each in range(1, count):
        total = sum(pairs[each]) + sum(row[each] for row in pairs)
        scores.append(2 * pairs[each][each] / total if total else None)
    return tuple(scores)


def _vessels(labels: Tensor) -> Tensor:
    return torch.stack([labels == each.id for each in CLASSES[1:]], dim=1).float()
