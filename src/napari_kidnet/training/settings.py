"""What a training run is told."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from napari_kidnet.classes import SOFT_TISSUE_WINDOW
from napari_kidnet.errors import SettingsError
from napari_kidnet.network.kidnet import PRESETS, KidNetSettings
from napari_kidnet.training.augmentation import Augmentation
from napari_kidnet.training.schema import SCHEMAS, Schema

__all__ = ["TrainSettings"]

Precision = Literal["auto", "float32", "bfloat16"]

WIDE_WINDOW = (-200.0, 500.0)
"""Keeps a 280 HU artery, a 240 HU vein and 450 HU bone apart, which window 40/400 does not (reading A11)."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of a training run.

    Attributes
    ----------
    network : KidNetSettings
        The network.
    schema : str or Schema
        "none", "dw", "rs" or "dw+rs", or every detail.
    strict : bool
        The published schema exactly (§4 of the report); every improvement is then off, and refused.
    steps, batch : int
        Optimiser's steps, and patches in each.
    patch_voxels : int
        Edge of the cubic patches.
    window : tuple of float, optional
        HU of −1 and 1; (−200, 500) by default, (−160, 240) when strict.
    spacing : tuple of float, optional
        Grid (z, y, x) in mm that all cases are brought to; None keeps each one's own, as in the paper.
    learning_rate : float
        After warm-up; it falls with the power .9.
    warm_up : int
        Steps in which the learning rate rises.
    clip_norm : float
        Largest norm of the gradient: a single voxel of the ureter can weigh thousands.
    freeze_norm : float
        Part of the steps after which batch normalisation keeps its statistics and the network learns to live
        with them: those of two patches are not those of a scan. 1 never does, as the paper.
    ema : float
        Decay of averaged weights, which then are the result; 0 for none.
    dice, skeleton_recall, deep_supervision : float
        Weights of further losses; 0 in the paper.
    free_share : float, optional
        Part of the background patches without any vessel; None gives every background point the same chance.
    augmentation : Augmentation
        Chances and ranges.
    precision : {"auto", "float32", "bfloat16"}
        "auto" takes bfloat16 where the processor computes with it, unless strict.
    device : str
        "auto", "cpu", "cuda" or "mps".
    seed : int
        Of weights, patches and augmentation.
    save_every, validate_every : int
        Steps between saved states, and between validations (0: only at the end).
    threads : int, optional
        CPU threads of the network; PyTorch's choice by default.
    """

    network: KidNetSettings = field(default_factory=lambda: PRESETS["lite"])
    schema: str | Schema = "dw+rs"
    strict: bool = False
    steps: int = 5000
    batch: int = 2
    patch_voxels: int = 64
    window: tuple[float, float] | None = None
    spacing: tuple[float, float, float] | None = None
    learning_rate: float = 1e-3
    warm_up: int = 20
    clip_norm: float = 12.0
    freeze_norm: float = 1.0
    ema: float = 0.0
    dice: float = 0.0
    skeleton_recall: float = 0.0
    deep_supervision: float = 0.0
    free_share: float | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: Precision = "auto"
    device: str = "auto"
    seed: int = 0
    save_every: int = 100
    validate_every: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "save_every"):
            if getattr(self, name) < 1:
                raise SettingsError(f"Training has {name} {getattr(self, name)}; choose 1 or more.")
        multiple = self.network.multiple
        if self.patch_voxels < 2 * multiple or self.patch_voxels % multiple:
            raise SettingsError(
                f"Patches of {self.patch_voxels} voxels do not fit {self.network.levels} levels; "
                f"choose a multiple of {multiple}, at least {2 * multiple}."
            )
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"Training has {name} {getattr(self, name):g}; choose a positive number.")
        for name in ("dice", "skeleton_recall", "deep_supervision", "warm_up", "validate_every", "seed"):
            if getattr(self, name) < 0:
                raise SettingsError(f"Training has {name} {getattr(self, name):g}; choose 0 or more.")
        if not 0.0 <= self.ema < 1.0:
            raise SettingsError(f"The decay of averaged weights is {self.ema:g}; choose from 0 to below 1.")
        if not 0.0 <= self.freeze_norm <= 1.0:
            raise SettingsError(
                f"Statistics freeze after {self.freeze_norm:g} of the steps; choose from 0 to 1."
            )
        if self.free_share is not None and not 0.0 <= self.free_share <= 1.0:
            raise SettingsError(
                f"The share of free patches is {self.free_share:g}; choose a number from 0 to 1."
            )
        if self.precision not in get_args(Precision):
            raise SettingsError(
                f"The precision is {self.precision!r}; choose {', '.join(get_args(Precision))}."
            )
        if isinstance(self.schema, str) and self.schema not in SCHEMAS:
            raise SettingsError(f"The schema is {self.schema!r}; choose one of {', '.join(SCHEMAS)}.")
        if self.spacing is not None and not (len(self.spacing) == 3 and min(self.spacing) > 0):
            raise SettingsError(
                f"The spacing is {self.spacing}; give three positive numbers (z, y, x) in mm."
            )
        if self.window is not None and not self.window[0] < self.window[1]:
            raise SettingsError(f"The window is {self.window}; give two rising numbers in HU.")
        if self.strict:
            self._refuse_improvements()

    @property
    def details(self) -> Schema:
        """The schema in every detail."""
        if isinstance(self.schema, Schema):
            return self.schema
        if self.strict:
            return Schema.published(self.schema)
        return Schema.recommended(self.schema, self.steps * self.batch)

    @property
    def input_window(self) -> tuple[float, float]:
        """HU that the network sees as −1 and 1."""
        if self.window is not None:
            return self.window
        return SOFT_TISSUE_WINDOW.limits if self.strict else WIDE_WINDOW

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0: rising, then falling as (1 − step/steps)^.9."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        return float(self.learning_rate * (1.0 - step / self.steps) ** 0.9)

    def as_dict(self) -> dict[str, Any]:
        """Return all that decides the result, as plain values for a checkpoint's record."""
        values = asdict(self)
        for name in ("save_every", "validate_every", "threads"):
            del values[name]
        values["schema"] = self.details.as_dict()
        values["window"] = self.input_window
        return values

    def _refuse_improvements(self) -> None:
        found = [
            name for name in ("ema", "dice", "skeleton_recall", "deep_supervision") if getattr(self, name)
        ]
        found += ["freeze_norm"] if self.freeze_norm < 1.0 else []
        found += ["spacing"] if self.spacing is not None else []
        found += ["free_share"] if self.free_share is not None else []
        found += ["precision"] if self.precision == "bfloat16" else []
        found += ["encoder_residual"] if self.network.encoder_residual else []
        found += ["window"] if self.window not in (None, SOFT_TISSUE_WINDOW.limits) else []
        if isinstance(self.schema, Schema) and self.schema != Schema.published(self.schema.name):
            found.append("schema")
        if self.network.average != "mean_logits":
            found.append("average")
        if found:
            raise SettingsError(
                f"Strict training is the paper's, which has no such {', '.join(found)}; "
                "leave it out, or strict."
            )
