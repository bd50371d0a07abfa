"""What a fine-tuning is told."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from napari_kidnet.errors import SettingsError
from napari_kidnet.training.augmentation import Augmentation
from napari_kidnet.training.losses import ExtraLosses
from napari_kidnet.training.schema import PUBLISHED_ALPHA, SCHEMAS, Schema
from napari_kidnet.training.settings import TrainSettings

if TYPE_CHECKING:
    from napari_kidnet.network.checkpoint import Checkpoint

__all__ = ["FinetuneSettings", "Mode", "all_cores_but_one"]

Mode = Literal["whole", "decoder"]

LARGEST_CLASS_WEIGHT: Final = 1000.0
LARGEST_PATCH_WEIGHT: Final = 10.2
"""1 − ln 1e-4: a stray voxel of the brush would weigh its patch with 14.7 (§1.4)."""

DEFAULT_PATCH: Final = 64

EXPECTED_STEPS: Final = 200
"""Told as the total until the first steps have shown how many fit into the time."""


@dataclass(frozen=True, slots=True)
class FinetuneSettings:
    """Settings of a fine-tuning.

    Attributes
    ----------
    steps : int, optional
        Optimiser's steps; None does as many as fit into ``minutes``.
    minutes : float
        Time for all of it, measuring before and after included; unused where ``steps`` is given.
    learning_rate : float
        After warm-up; a third of that of training: more forgets the old scans.
    mode : {"whole", "decoder"}
        What learns: the whole network, or all but its encoder.
    schema : {"none", "dw", "rs", "dw+rs"}, optional
        Weighting and sampling; the checkpoint's own by default.
    strict : bool
        No caps on class and patch weights, and V counts every class in every patch, as published.
    batch, patch_voxels : int
        Patches in a step, and their edge; the checkpoint's own edge by default.
    replay_share : float
        Part of the patches that come from earlier scans.
    edited_share : float
        Part of the other patches that are centred where the person and the network disagreed.
    distillation : float
        Where nothing is replayed: weight of staying with the old network's opinion in unreviewed voxels.
    validations : int
        How often the guard measures on the way, the end included; the best is kept.
    largest_drop : float
        Of the mean F1, old scans or new ones; beyond it the old checkpoint stays active.
    warm_up : int
        Steps in which the learning rate rises.
    clip_norm : float
        Largest norm of the gradient.
    augmentation : Augmentation, optional
        Chances and ranges; those of the checkpoint's own training by default. A network that has never seen
        changed contrasts spends its steps on them, and learns less from the scans themselves.
    precision, device, seed, save_every, threads
        As in `TrainSettings`; all cores but one by default.
    """

    steps: int | None = None
    minutes: float = 3.0
    learning_rate: float = 3e-4
    mode: Mode = "whole"
    schema: str | None = None
    strict: bool = False
    batch: int = 2
    patch_voxels: int | None = None
    replay_share: float = 0.5
    edited_share: float = 0.5
    distillation: float = 1.0
    validations: int = 2
    largest_drop: float = 0.02
    warm_up: int = 10
    clip_norm: float = 12.0
    augmentation: Augmentation | None = None
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    seed: int = 0
    save_every: int = 20
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validations", "save_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"Fine-tuning has {name} {value}; choose 1 or more.")
        for name in ("minutes", "learning_rate", "clip_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise SettingsError(
                    f"Fine-tuning has {name} {getattr(self, name):g}; choose a positive number."
                )
        for name in ("replay_share", "edited_share"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingsError(
                    f"Fine-tuning has {name} {getattr(self, name):g}; choose from 0 to below 1."
                )
        for name in ("distillation", "largest_drop", "warm_up", "seed"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"Fine-tuning has {name} {getattr(self, name):g}; choose 0 or more.")
        if self.mode not in get_args(Mode):
            raise SettingsError(f"The mode is {self.mode!r}; choose whole or decoder.")
        if self.schema is not None and self.schema not in SCHEMAS:
            raise SettingsError(f"The schema is {self.schema!r}; choose one of {', '.join(SCHEMAS)}.")

    def patch_edge(self, checkpoint: Checkpoint) -> int:
        """Return the edge of the patches, voxels: that of the checkpoint's training unless one is set."""
        if self.patch_voxels is not None:
            return self.patch_voxels
        known = self._trained(checkpoint).get("patch_voxels")
        multiple = checkpoint.network.multiple
        if isinstance(known, int) and known >= 2 * multiple and known % multiple == 0:
            return known
        return max(2 * multiple, DEFAULT_PATCH // multiple * multiple)

    def schema_for(self, checkpoint: Checkpoint) -> Schema:
        """Return the schema: the checkpoint's details, this one's parts, and the caps (A24)."""
        known = {each.name for each in fields(Schema)}
        found = Schema(**{name: value for name, value in checkpoint.schema.items() if name in known})
        name = found.name if self.schema is None else self.schema
        if self.strict:
            return Schema.published(name)
        schema = replace(
            found,
            weighting="dw" in name,
            sampling="rs" in name,
            unsampled="zero" if name == "rs" else "class" if found.name == "rs" else found.unsampled,
            start="uniform",
            largest_class_weight=found.largest_class_weight or LARGEST_CLASS_WEIGHT,
            largest_patch_weight=found.largest_patch_weight or LARGEST_PATCH_WEIGHT,
        )
        if schema.weighting and not found.weighting:
            # its V has never moved, so it starts from the data, and settles within this run
            schema = replace(schema, start="dataset", alpha=max(PUBLISHED_ALPHA, schema.alpha, 0.01))
        return schema

    def training(self, checkpoint: Checkpoint) -> TrainSettings:
        """Return what the training's own parts are told."""
        return TrainSettings(
            network=checkpoint.network,
            schema=self.schema_for(checkpoint),
            steps=self.steps or EXPECTED_STEPS,
            batch=self.batch,
            patch_voxels=self.patch_edge(checkpoint),
            window=checkpoint.window,
            spacing=checkpoint.spacing,
            learning_rate=self.learning_rate,
            warm_up=self.warm_up,
            clip_norm=self.clip_norm,
            free_share=self._trained(checkpoint).get("free_share"),
            freeze_norm=0.0,  # statistics of two patches would spoil those of a whole training
            augmentation=self._augmentation(checkpoint),
            precision=self.precision,
            device=self.device,
            seed=self.seed,
            save_every=self.save_every,
            threads=self.threads or all_cores_but_one(),
        )

    def extra_losses(self, checkpoint: Checkpoint) -> ExtraLosses:
        """Return the further losses that the checkpoint was trained with; none when strict."""
        trained = self._trained(checkpoint)
        if self.strict:
            return ExtraLosses()
        names = ("dice", "skeleton_recall", "deep_supervision")
        return ExtraLosses(**{name: float(trained.get(name) or 0.0) for name in names})

    def _augmentation(self, checkpoint: Checkpoint) -> Augmentation:
        if self.augmentation is not None:
            return self.augmentation
        known = self._trained(checkpoint).get("augmentation")
        names = {each.name for each in fields(Augmentation)}
        if not isinstance(known, dict):
            return Augmentation()
        return Augmentation(**{name: float(value) for name, value in known.items() if name in names})

    @staticmethod
    def _trained(checkpoint: Checkpoint) -> dict[str, Any]:
        """Return the settings that the checkpoint was trained with, as far as it says so."""
        found = checkpoint.record.get("settings")
        return found if isinstance(found, dict) else {}

    def as_dict(self) -> dict[str, Any]:
        """Return all that decides the result, as plain values for a checkpoint's record."""
        values = asdict(self)
        for name in ("save_every", "threads"):
            del values[name]
        return values


def all_cores_but_one() -> int:
    """Return how many threads leave one core to whoever works meanwhile."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on Windows and macOS
        cores = os.cpu_count() or 1
    return max(1, cores - 1)
