"""The training schema: which of the paper's two parts are on, and how ambiguous spots are read (§2)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from napari_kidnet.errors import SettingsError

__all__ = ["SCHEMAS", "Schema"]

SCHEMAS: Final = ("none", "dw", "rs", "dw+rs")
"""The four arms of the paper's comparison; Table 1 shows the second and the last."""

PUBLISHED_ALPHA: Final = 0.001
SAMPLED: Final = ("fg_mean", "fg_max", "policy")


@dataclass(frozen=True, slots=True)
class Schema:
    """How the voxels of a patch are weighted.

    The defaults are the published schema (with the most faithful reading of each ambiguous spot);
    `Schema.recommended` is what training uses unless it is told to be strict.

    Attributes
    ----------
    weighting : bool
        Dynamic weighting, Algorithm 1.
    sampling : bool
        Random sampling of background in bands.
    alpha : float
        Weight of the newest patch in the moving averages.
    start : {"uniform", "dataset"}
        V to begin with: 1/n, or the mean of patches drawn beforehand (reading A10).
    largest_class_weight, largest_patch_weight : float, optional
        Caps; none in the paper (reading A24).
    inner_radius, outer_radius : int
        Radii of the two balls, voxels: nothing is sampled within the first, "red" lies between both.
    red_share : float
        Part of the sampled voxels from the red band; the others come from beyond.
    free_share : float
        Part of the voxels sampled in a patch without foreground.
    sampled : {"fg_mean", "fg_max", "policy"} or float
        Weight of sampled voxels before PW (reading A2).
    unsampled : {"class", "zero"}
        Weight of background that was not sampled: its class weight, or none (reading A2).
    hard_share : float
        Part of the far samples drawn where the network sees foreground; 0 in the paper.
    """

    weighting: bool = True
    sampling: bool = True
    alpha: float = PUBLISHED_ALPHA
    start: Literal["uniform", "dataset"] = "uniform"
    largest_class_weight: float | None = None
    largest_patch_weight: float | None = None
    inner_radius: int = 2
    outer_radius: int = 4
    red_share: float = 0.2
    free_share: float = 0.01
    sampled: str | float = "fg_mean"
    unsampled: Literal["class", "zero"] = "class"
    hard_share: float = 0.0

    def __post_init__(self) -> None:
        for name in ("red_share", "free_share", "hard_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise SettingsError(
                    f"The schema's {name} is {getattr(self, name):g}; choose a number from 0 to 1."
                )
        if not 0.0 < self.alpha <= 1.0:
            raise SettingsError(f"The schema's alpha is {self.alpha:g}; choose a number above 0 and up to 1.")
        if not 0 < self.inner_radius < self.outer_radius <= 14:
            raise SettingsError(
                f"The bands' radii are {self.inner_radius} and {self.outer_radius} voxels; "
                "choose two rising whole numbers from 1 to 14."
            )
        if self.start not in ("uniform", "dataset"):
            raise SettingsError(f"The schema starts from {self.start!r}; choose uniform or dataset.")
        if self.unsampled not in ("class", "zero"):
            raise SettingsError(f"Unsampled voxels weigh {self.unsampled!r}; choose class or zero.")
        if isinstance(self.sampled, str) and self.sampled not in SAMPLED:
            raise SettingsError(
                f"Sampled voxels weigh {self.sampled!r}; choose {', '.join(SAMPLED)} or a number."
            )
        for name in ("largest_class_weight", "largest_patch_weight"):
            value = getattr(self, name)
            if value is not None and value < 1.0:
                raise SettingsError(f"The schema's {name} is {value:g}; choose 1 or more.")

    @classmethod
    def published(cls, name: str = "dw+rs") -> Schema:
        """Return the paper's schema, or one of its other arms.

        With sampling alone, unsampled background weighs nothing: with its full weight of 1 the sampled
        voxels, which weigh 1 too, would change nothing.
        """
        if name not in SCHEMAS:
            raise SettingsError(f"The schema is {name!r}; choose one of {', '.join(SCHEMAS)}.")
        weighting, sampling = "dw" in name, "rs" in name
        return cls(weighting, sampling, unsampled="zero" if sampling and not weighting else "class")

    @classmethod
    def recommended(cls, name: str = "dw+rs", patches: int = 20_000) -> Schema:
        """Return the schema for a run of so many patches, within which its averages settle.

        With the paper's α and V = 1/n the first 6 000 to 9 000 patches are a warm-up, and a shorter run
        would have no weighting at all.
        """
        return replace(
            cls.published(name),
            alpha=min(0.1, max(PUBLISHED_ALPHA, 5.0 / max(1, patches))),
            start="dataset",
            largest_class_weight=1000.0,
            largest_patch_weight=10.2,
        )

    @property
    def name(self) -> str:
        """Its name among `SCHEMAS`."""
        return {(False, False): "none", (True, False): "dw", (False, True): "rs", (True, True): "dw+rs"}[
            self.weighting, self.sampling
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the schema as plain values for a checkpoint's header."""
        return {"name": self.name, **asdict(self)}
