"""One fine-tuning of a network: its steps, its state on disk, and the checkpoint it makes."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from napari_kidnet.classes import CLASSES
from napari_kidnet.errors import SettingsError
from napari_kidnet.network.checkpoint import build_network, network_weights
from napari_kidnet.training.batches import Batch, BatchMaker, dataset_volumes
from napari_kidnet.training.losses import class_f1, training_loss
from napari_kidnet.training.optimiser import pick_device, pick_precision
from napari_kidnet.training.state import load_state, restore, save_state, snapshot
from napari_kidnet.training.weighting import DynamicWeighting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_kidnet.network.checkpoint import Checkpoint
    from napari_kidnet.training.finetune_settings import FinetuneSettings
    from napari_kidnet.training.replay import MixedStore

__all__ = ["StepFigures", "Tuner"]

PROBE_STEPS: Final = 6
"""Steps that are timed, all within the warm-up, before it is known how many fit into the time."""

FEWEST_STEPS: Final = 10

TEMPERATURE: Final = 2.0
"""Of the distillation: softer opinions say more about the second-best class (§2.5)."""


@dataclass(frozen=True, slots=True)
class StepFigures:
    """What one step showed.

    Attributes
    ----------
    loss : float
        The weighted loss.
    class_loss : tuple of float or None
        Mean cross-entropy of each class's reviewed voxels, without weights; None where there were none.
    f1 : tuple of float or None
        Of the vessel classes in this step's patches.
    volumes, class_weights : tuple of float
        V and CW of Algorithm 1 after this step.
    """

    loss: float
    class_loss: tuple[float | None, ...]
    f1: tuple[float | None, ...]
    volumes: tuple[float, ...]
    class_weights: tuple[float, ...]


class Tuner:
    """Goes on with a checkpoint's training, on corrected scans.

    Parameters
    ----------
    parent : Checkpoint
        Where it starts.
    store : MixedStore
        What it learns from.
    settings : FinetuneSettings
        Everything else.
    identity : dict
        Plain values that decide the result; a saved state of others is refused.
    distil : bool
        Stay with the parent's opinion in unreviewed voxels.
    """

    def __init__(
        self,
        parent: Checkpoint,
        store: MixedStore,
        settings: FinetuneSettings,
        identity: dict[str, Any],
        distil: bool = False,
    ) -> None:
        self._parent, self._settings, self._identity = parent, settings, identity
        self._training = settings.training(parent)
        self._schema = self._training.details
        self._extra = settings.extra_losses(parent)
        self._device = pick_device(settings.device)
        coarsest = self._training.patch_voxels // parent.network.multiple
        self._precision = pick_precision(settings.precision, self._device, coarsest, settings.strict)
        net = build_network(parent)
        if settings.mode == "decoder":
            net.encoder.requires_grad_(False)
        self._net = net.to(self._device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
        for each in self._net.modules():
            if isinstance(each, torch.nn.BatchNorm3d):
                each.eval()  # its statistics are those of a whole training
        learning = [each for each in self._net.parameters() if each.requires_grad]
        self._optimiser = torch.optim.Adam(learning, lr=settings.learning_rate)
        self._teacher = None
        if distil and settings.distillation:
            teacher = build_network(parent).to(self._device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            self._teacher = teacher.requires_grad_(False)
        volumes = [float(each) for each in parent.schema["V"]]
        seen = int(parent.schema.get("patches_seen", 0))
        if self._schema.weighting and self._schema.start == "dataset":
            volumes, seen = dataset_volumes(store, self._training), 0
        self._weighting = DynamicWeighting(
            self._schema.alpha, volumes, seen, self._schema.largest_class_weight
        )
        self._volumes, self._seen = volumes, seen
        self._maker = BatchMaker(store, self._training, self._weighting)
        self.done = 0
        self.total = settings.steps
        self.notes: dict[str, Any] = {}
        self._losses: list[float] = []
        self._step_seconds = 0.0
        self._timed = 0
        self._whole = True

    @property
    def where(self) -> str:
        """Device and precision, for a person."""
        return f"{self._device.type}, {self._precision}"

    @property
    def seconds_of_step(self) -> float:
        """How long a step takes; NaN before the second one."""
        return self._step_seconds / self._timed if self._timed else math.nan

    def batches(self, fit: Callable[[float], int]) -> Generator[Batch, None, None]:
        """Yield the batches to come.

        Parameters
        ----------
        fit : callable
            Says how many further steps of so many seconds are to be done, where the settings leave it open.
        """
        if self.total is None:
            yield from self._maker.batches(self.done, PROBE_STEPS)
            seconds = self.seconds_of_step
            self.total = self.done + max(FEWEST_STEPS, fit(seconds) if seconds == seconds else 0)
        yield from self._maker.batches(self.done, self.total)

    def step(self, batch: Batch) -> StepFigures:
        """Do one step of the optimiser.

        Raises
        ------
        SettingsError
            The loss is no longer a number; the network has not been changed by it.
        """
        began = time.perf_counter()
        device = self._device
        images = torch.from_numpy(batch.images).unsqueeze(1).to(device, memory_format=torch.channels_last_3d)
        labels, tubes = (torch.from_numpy(each).to(device).long() for each in (batch.labels, batch.tubes))
        reviewed = torch.from_numpy(batch.reviewed).to(device)
        for group in self._optimiser.param_groups:
            group["lr"] = self._learning_rate(batch.step)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            if self._extra.deep_supervision:
                logits, each_scale = self._net(images, return_scales=True)
                scales = [logits, *each_scale]
            else:
                scales = [self._net(images)]
        if not batch.weights.size:
            foreground = 1.0 - torch.softmax(scales[0].detach().float(), dim=1)[:, 0]
            batch = self._maker.with_weights(batch, foreground.cpu().numpy())
        weights = torch.from_numpy(batch.weights).to(device)
        loss = training_loss(scales, labels, weights, tubes, self._extra)
        if self._teacher is not None:
            table = self._class_weights(batch.volumes)
            loss = loss + self._settings.distillation * self._distance(images, scales[0], ~reviewed, table)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SettingsError(
                f"The loss is no longer a number at step {batch.step + 1}, so the old checkpoint stays; "
                "lower the learning rate, or use float32."
            )
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self._net.parameters(), self._settings.clip_norm)
        self._whole = False  # from here to the end of the step, weights and counters do not fit together
        if bool(torch.isfinite(norm)):
            self._optimiser.step()
        self.done = batch.step + 1
        self._volumes, self._seen = batch.volumes, batch.patches_seen
        self._losses.append(value)
        self._whole = True
        if batch.step:  # the first one prepares kernels and memory
            self._step_seconds += time.perf_counter() - began
            self._timed += 1
        return StepFigures(
            value,
            _class_losses(scales[0], labels, reviewed),
            class_f1(scales[0], torch.where(reviewed, labels, 0)),
            tuple(batch.volumes),
            tuple(float(each) for each in self._class_weights(batch.volumes)),
        )

    def checkpoint(self, record: dict[str, Any], ancestry: list[dict[str, Any]]) -> Checkpoint:
        """Return the network as it is now.

        Parameters
        ----------
        record : dict
            What this fine-tuning was.
        ancestry : list of dict
            What those before it were, the oldest first.
        """
        tail = self._losses[-50:]
        about = {**record, "steps": self.done, "loss": sum(tail) / len(tail) if tail else None}
        schema = self._schema.as_dict() | {"V": list(self._volumes), "patches_seen": self._seen}
        whole = {**self._parent.record, "finetuning": about, "ancestry": ancestry}
        return replace(
            self._parent,
            weights=network_weights(self._net),
            schema=schema,
            record=json.loads(json.dumps(whole)),
            parent=self._parent.hash,
        )

    def save(self, path: Path, seconds: float) -> None:
        """Write the state, from which an interrupted run goes on; ``seconds`` is the time used up so far.

        Nothing is written in the middle of a step.
        """
        if not self._whole:
            return
        record = {
            "step": self.done,
            "total": self.total,
            "V": self._volumes,
            "patches_seen": self._seen,
            "losses": self._losses,
            "timed": [self._step_seconds, self._timed],
            "seconds": seconds,
            "notes": self.notes,
            "identity": self._identity,
        }
        save_state(path, snapshot(self._net, self._optimiser, None, record))

    def resume(self, path: Path) -> float:
        """Go on from a saved state, if there is one; return the seconds used up before.

        Raises
        ------
        SettingsError
            It is of other settings or corrections.
        """
        state = load_state(path)
        if state is None:
            return 0.0
        record = state.record
        before, now = record["identity"], json.loads(json.dumps(self._identity))
        if differing := sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key)):
            raise SettingsError(
                f"{path.parent} holds an interrupted fine-tuning with another {', '.join(differing)}; "
                "write to another file, or begin anew (--restart)."
            )
        restore(state, self._net, self._optimiser, None)
        self.done, self.total = int(record["step"]), record["total"]
        self._volumes, self._seen = list(record["V"]), int(record["patches_seen"])
        self._weighting.volumes[:] = self._volumes
        self._weighting.patches_seen = self._seen
        self._losses, self.notes = list(record["losses"]), record["notes"]
        self._step_seconds, self._timed = float(record["timed"][0]), int(record["timed"][1])
        return float(record["seconds"])

    def _learning_rate(self, step: int) -> float:
        settings = self._settings
        rate = settings.learning_rate * min(1.0, (step + 1) / max(1, settings.warm_up))
        if self.total is None or step < settings.warm_up:
            return rate
        return float(rate * max(0.0, 1.0 - step / self.total) ** 0.9)

    def _class_weights(self, volumes: list[float]) -> NDArray[np.float64]:
        cap = self._schema.largest_class_weight
        return DynamicWeighting(volumes=volumes, largest_class_weight=cap).class_weights

    def _distance(
        self, images: Tensor, logits: Tensor, where: Tensor, class_weights: NDArray[np.float64]
    ) -> Tensor:
        """Return the mean over voxels ``where`` (n, z, y, x) of KL(before ‖ now), each with its own weight.

        Its weight is what its class would weigh by the opinion before: with the same for all, some vessels
        lost among so much background would cost next to nothing.
        """
        rows = where.flatten(1).any(dim=1)
        if self._teacher is None or not bool(rows.any()):
            return torch.zeros((), device=images.device)
        enabled = self._precision == "bfloat16"
        with torch.no_grad(), torch.autocast(self._device.type, torch.bfloat16, enabled=enabled):
            opinion = self._teacher(images[rows]).float()
        table = torch.tensor(class_weights, dtype=torch.float32, device=images.device)
        weight = torch.einsum("nczyx,c->nzyx", functional.softmax(opinion, dim=1), table)[where[rows]]
        before = functional.log_softmax(opinion / TEMPERATURE, dim=1)
        now = functional.log_softmax(logits[rows].float() / TEMPERATURE, dim=1)
        gap = functional.kl_div(now, before, reduction="none", log_target=True).sum(dim=1)[where[rows]]
        return TEMPERATURE**2 * (weight * gap).mean()


@torch.no_grad()
def _class_losses(logits: Tensor, labels: Tensor, reviewed: Tensor) -> tuple[float | None, ...]:
    entropy = functional.cross_entropy(logits.float(), labels, reduction="none")
    found: list[float | None] = []
    for each in CLASSES:
        mine = entropy[(labels == each.id) & reviewed]
        found.append(float(mine.mean()) if mine.numel() else None)
    return tuple(found)
