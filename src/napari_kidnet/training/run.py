"""One run of training: the network, its optimiser and averages, and where they are kept."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import torch

from napari_kidnet.errors import SettingsError
from napari_kidnet.network.checkpoint import Checkpoint, load_checkpoint, network_weights, save_checkpoint
from napari_kidnet.network.kidnet import KidNet
from napari_kidnet.training.batches import Batch, BatchMaker, dataset_volumes
from napari_kidnet.training.losses import ExtraLosses, class_f1, training_loss
from napari_kidnet.training.optimiser import AveragedWeights, Precision, pick_device, pick_precision
from napari_kidnet.training.state import load_state, restore, save_state, snapshot
from napari_kidnet.training.validation import SENSITIVITIES, Validation, Validator
from napari_kidnet.training.weighting import DynamicWeighting

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from napari_kidnet.training.patches import PatchStore
    from napari_kidnet.training.settings import TrainSettings

__all__ = ["Run"]

UNTUNED_SENSITIVITY: Final = 0.5
"""Of a checkpoint without validation: half of the weights taken back, the middle of what was best in trials
(τ = .25 to .75); a strict one keeps the paper's 1."""


class Run:
    """One run: network, optimiser, averages, and where they are kept."""

    def __init__(
        self, store: PatchStore, initial: Checkpoint | None, folder: Path, settings: TrainSettings
    ) -> None:
        self._settings = settings
        self._store = store
        self._folder = folder
        self._device = pick_device(settings.device)
        coarsest = settings.patch_voxels // settings.network.multiple
        self._precision: Precision = pick_precision(
            settings.precision, self._device, coarsest, settings.strict
        )
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        generator = torch.random.get_rng_state()
        torch.manual_seed(settings.seed)
        net = KidNet(settings.network)
        torch.random.set_rng_state(generator)
        if initial is not None:
            if initial.network != settings.network:
                raise SettingsError(
                    "The checkpoint to start from is of another network; choose the same preset."
                )
            net.load_state_dict(initial.weights, strict=False)
        self._parent = initial.hash if initial is not None else None
        self._net = net.to(self._device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
        self._optimiser = torch.optim.Adam(net.parameters(), lr=settings.learning_rate)
        self._average = AveragedWeights(net, settings.ema) if settings.ema else None
        self._extra = ExtraLosses(settings.dice, settings.skeleton_recall, settings.deep_supervision)
        self.done = 0
        self._validated_at = -1
        self._best = -1.0
        self._losses: list[float] = []
        self._validations: list[dict[str, Any]] = []
        self._weighting = self._begin_weighting()
        self._volumes = [float(each) for each in self._weighting.volumes]
        self._patches_seen = 0
        self._maker = BatchMaker(store, settings, self._weighting)
        self._seconds = 0.0
        self._whole = True

    @property
    def where(self) -> str:
        """Device and precision, for a person."""
        return f"{self._device.type}, {self._precision}"

    @property
    def validated(self) -> bool:
        """Whether the last step has been validated."""
        return self._validated_at == self.done

    def due(self, every: int) -> bool:
        """Return whether something that happens so often happens now."""
        return every > 0 and self.done % every == 0

    def batches(self) -> Generator[Batch, None, None]:
        """Yield the batches that are still to come."""
        yield from self._maker.batches(self.done, self._settings.steps)

    def weighting_after(self, batch: Batch) -> list[float]:
        """Return CW after a batch; the maker itself is some batches ahead."""
        return [float(each) for each in self._weights_of(batch.volumes)]

    def step(self, batch: Batch) -> tuple[float, tuple[float | None, ...]]:
        """Do one step of the optimiser; return its loss and each vessel class's F1."""
        began = time.perf_counter()
        settings, device = self._settings, self._device
        images = torch.from_numpy(batch.images).unsqueeze(1).to(device, memory_format=torch.channels_last_3d)
        labels, tubes = (torch.from_numpy(each).to(device).long() for each in (batch.labels, batch.tubes))
        if batch.step >= settings.freeze_norm * settings.steps:
            _freeze_statistics(self._net)
        for group in self._optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(batch.step)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bfloat16"):
            if settings.deep_supervision:
                logits, each = self._net(images, return_scales=True)
                scales = [logits, *each]
            else:
                scales = [self._net(images)]
        if not batch.weights.size:
            foreground = 1.0 - torch.softmax(scales[0].detach().float(), dim=1)[:, 0]
            batch = self._maker.with_weights(batch, foreground.cpu().numpy())
        weights = torch.from_numpy(batch.weights).to(device)
        loss = training_loss(scales, labels, weights, tubes, self._extra)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise SettingsError(
                f"The loss is no longer a number at step {batch.step + 1}; "
                "lower the learning rate or use float32."
            )
        self._optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_(self._net.parameters(), settings.clip_norm)
        self._whole = False  # from here to the end of the step, weights and counters do not fit together
        if bool(torch.isfinite(norm)):
            self._optimiser.step()
        if self._average is not None:
            self._average.update(self._net, batch.step)
        self.done = batch.step + 1
        self._volumes, self._patches_seen = batch.volumes, batch.patches_seen
        self._losses.append(value)
        self._seconds += time.perf_counter() - began
        self._whole = True
        return value, class_f1(scales[0], labels)

    def validate(self, validator: Validator) -> Validation:
        """Validate, and keep the checkpoint if it is the best one."""
        tried = (1.0,) if self._settings.strict else SENSITIVITIES
        found = validator.validate(self._checkpoint(), tried)
        self._validated_at = self.done
        self._validations.append({"step": self.done, **found.as_dict()})
        checkpoint = replace(self._checkpoint(), sensitivity=found.sensitivity)
        save_checkpoint(self._folder / "latest.safetensors", checkpoint)
        if found.mean_f1 > self._best:
            self._best = found.mean_f1
            save_checkpoint(self._folder / "best.safetensors", checkpoint)
        return found

    def result(self) -> Checkpoint:
        """Return the best checkpoint by validation, or this one."""
        best = self._folder / "best.safetensors"
        if self._validations and best.exists():
            return replace(
                load_checkpoint(best), record=self._checkpoint().record | {"best_of": len(self._validations)}
            )
        return self._checkpoint()

    def save(self) -> None:
        """Write the state, so that the run can go on from here; nothing in the middle of a step."""
        if not self._whole:
            return
        record = {
            "step": self.done,
            "V": self._volumes,
            "patches_seen": self._patches_seen,
            "best": self._best,
            "validated_at": self._validated_at,
            "losses": self._losses,
            "validations": self._validations,
            "seconds": self._seconds,
            "run": self._identity(),
        }
        average = None if self._average is None else self._average.values
        save_state(self._folder / "state.safetensors", snapshot(self._net, self._optimiser, average, record))
        if not self._validations:
            save_checkpoint(self._folder / "latest.safetensors", self._checkpoint())

    def resume(self) -> None:
        """Go on from a saved state, if there is one.

        Raises
        ------
        SettingsError
            It is of other settings or cases.
        """
        state = load_state(self._folder / "state.safetensors")
        if state is None:
            return
        record = state.record
        if differing := _differing(record["run"], self._identity()):
            raise SettingsError(
                f"{self._folder} holds a training with another {', '.join(differing)}; "
                "write to another file, or begin anew (resume off)."
            )
        restore(state, self._net, self._optimiser, None if self._average is None else self._average.values)
        self.done = int(record["step"])
        self._volumes, self._patches_seen = list(record["V"]), int(record["patches_seen"])
        self._weighting.volumes[:] = self._volumes
        self._weighting.patches_seen = self._patches_seen
        self._best, self._validated_at = float(record["best"]), int(record["validated_at"])
        self._losses, self._validations = list(record["losses"]), list(record["validations"])
        self._seconds = float(record["seconds"])

    def forget(self) -> None:
        """Remove what an earlier run has left."""
        for name in ("state", "latest", "best"):
            (self._folder / f"{name}.safetensors").unlink(missing_ok=True)

    def _begin_weighting(self) -> DynamicWeighting:
        schema = self._settings.details
        volumes = None
        if schema.weighting and schema.start == "dataset":
            volumes = dataset_volumes(self._store, self._settings)
        return DynamicWeighting(schema.alpha, volumes, largest_class_weight=schema.largest_class_weight)

    def _weights_of(self, volumes: list[float]) -> NDArray[np.float64]:
        cap = self._settings.details.largest_class_weight
        return DynamicWeighting(volumes=volumes, largest_class_weight=cap).class_weights

    def _checkpoint(self) -> Checkpoint:
        settings = self._settings
        schema = settings.details.as_dict() | {"V": self._volumes, "patches_seen": self._patches_seen}
        tail = self._losses[-100:]
        record = {
            "settings": settings.as_dict(),
            "cases": list(self._store.names),
            "seed": settings.seed,
            "steps": self.done,
            "loss": sum(tail) / len(tail) if tail else None,
            "loss_curve": _thinned(self._losses),
            "validations": self._validations,
        }
        weights = network_weights(self._net)
        if self._average is not None:
            weights = {
                name: self._average.values[name].detach().to("cpu", torch.float32, copy=True)
                for name in weights
            }
        return Checkpoint(
            settings.network,
            weights,
            window=settings.input_window,
            spacing=settings.spacing,
            schema=schema,
            sensitivity=1.0 if settings.strict else UNTUNED_SENSITIVITY,
            record=json.loads(json.dumps(record)),
            parent=self._parent,
        )

    def _identity(self) -> dict[str, Any]:
        values = {**self._settings.as_dict(), "cases": list(self._store.names), "initial": self._parent}
        plain: dict[str, Any] = json.loads(json.dumps(values))
        return plain


def _freeze_statistics(net: torch.nn.Module) -> None:
    """Let batch normalisation use its running statistics, in training as in use."""
    for each in net.modules():
        if isinstance(each, torch.nn.BatchNorm3d):
            each.eval()


def _differing(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))


def _thinned(losses: list[float], points: int = 200) -> list[float]:
    """Return the losses as means of equal stretches, at most so many."""
    width = max(1, math.ceil(len(losses) / points))
    return [
        round(sum(part) / len(part), 5)
        for part in (losses[at : at + width] for at in range(0, len(losses), width))
    ]
