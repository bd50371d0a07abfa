"""Train the checkpoint that is shipped: draw the phantoms, then train in stages.

    python scripts/train_default_checkpoint.py cases --anatomy DIR --out runs/default --source procedural
    python scripts/train_default_checkpoint.py train --out runs/default --stage transfer
    python scripts/train_default_checkpoint.py train --out runs/default --stage reverse
    python scripts/train_default_checkpoint.py train --out runs/default --stage shipped
    python scripts/train_default_checkpoint.py train --out runs/default --stage longer

DIR holds the two label maps named in docs/checkpoint.md. Stage ``transfer`` never sees the SPL map, and
stage ``reverse`` sees nothing else: their figures on what each has not seen say whether the recipe carries
over to a body it does not know. Stage ``shipped`` goes on from ``transfer`` with all sources, and ``longer``
from there. An interrupted stage goes on where it stopped.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_kidnet.training import PatchStore

SPACING_MM = (1.2, 1.2, 1.2)


@dataclass(frozen=True)
class Source:
    """Where anatomy comes from, and the seeds drawn from it (train below 500, test from 1000)."""

    name: str
    labels: str | None
    train: range
    validation: range
    test: range


SOURCES = {
    "procedural": Source("procedural", None, range(0, 30), range(500, 502), range(1000, 1004)),
    "spl": Source("spl", "spl_abdomen_labels", range(100, 144), range(600, 602), range(1100, 1104)),
    "torso": Source("torso", "ct_abdomen_3mm_labels", range(200, 233), range(700, 702), range(1200, 1204)),
}
PHASES = ("arterial", "venous", "excretory")


@dataclass(frozen=True)
class Stage:
    """One run of training: on which sources, going on from which stage, and how fast it learns."""

    sources: tuple[str, ...]
    after: str | None = None
    learning_rate: float = 2e-3
    freeze_norm: float = 0.4
    ema: float = 0.0


STAGES = {
    "transfer": Stage(("procedural", "torso")),
    "reverse": Stage(("spl",)),
    "shipped": Stage(tuple(SOURCES), after="transfer", learning_rate=1.5e-3),
    "longer": Stage(tuple(SOURCES), after="shipped", learning_rate=1.5e-3, freeze_norm=0.2, ema=0.998),
}


def draw(arguments: argparse.Namespace) -> None:
    """Draw the cases of one source: two renderings of each training anatomy, the phases in turn."""
    from napari_kidnet.phantom import PhantomSettings, load_label_map, make_renderings, write_case
    from napari_kidnet.scans import read_case

    source = SOURCES[arguments.source]
    label_map = None
    if source.labels:
        folder = arguments.anatomy
        label_map = load_label_map(folder / f"{source.labels}.nii.gz", folder / f"{source.labels}.json")
    for part, seeds, field in (
        ("validation", source.validation, "crop"),
        ("train", source.train, "full"),
        ("test", source.test, "crop"),
    ):
        if part not in arguments.parts:
            continue
        out = arguments.out / "cases" / part / source.name
        for number, seed in enumerate(seeds):
            phases = [PHASES[number % 3], PHASES[(number + 1) % 3]] if part == "train" else list(PHASES)
            if part != "train" and (out / f"phantom-{seed:04d}-{phases[-1]}_ct.nii.gz").exists():
                continue
            if part == "train" and (out / f"phantom-{seed:04d}-{phases[1]}_ct.nii.gz").exists():
                continue
            wide = "typical" if part == "test" else "wide"
            spacing = None if part == "test" else SPACING_MM
            settings = PhantomSettings(field=field, spacing=spacing, label_map=label_map, variety=wide)
            for case in make_renderings(seed, settings, phases):
                ct = write_case(out, case)
                if part == "train":
                    store(arguments.out).add_files(read_case(ct))
                print(ct, flush=True)


def store(root: Path) -> PatchStore:
    """Return the store of presliced patches that both stages draw from."""
    from napari_kidnet.training import PatchStore

    return PatchStore(root / "patches", 64, SPACING_MM)


def train(arguments: argparse.Namespace) -> None:
    """Train one stage with the published schema's recommended reading (DW+RS) and a Dice term."""
    from napari_kidnet.network import KidNetSettings, load_checkpoint
    from napari_kidnet.scans import list_cases
    from napari_kidnet.training import TrainInputs, TrainSettings, train_steps

    root = arguments.out / "cases"
    stage = STAGES[arguments.stage]
    cases = [case for name in stage.sources for case in list_cases(root / "train" / name)]
    validation = [case for name in stage.sources for case in list_cases(root / "validation" / name)]
    patches = store(arguments.out)
    for case in cases:
        patches.add_files(case)
        print("ready", case.name, flush=True)
    before = None
    if stage.after is not None:
        before = load_checkpoint(arguments.start or arguments.out / f"{stage.after}.safetensors")
    settings = TrainSettings(
        network=KidNetSettings(base=12, levels=5, max_channels=128, norm="batch"),
        steps=arguments.steps,
        spacing=SPACING_MM,
        learning_rate=stage.learning_rate,
        dice=1.0,
        freeze_norm=stage.freeze_norm,
        ema=stage.ema,
        seed=20261123,
        save_every=200,
        validate_every=arguments.validate_every,
        threads=arguments.threads,
    )
    out = arguments.out / f"{arguments.stage}.safetensors"
    for report in train_steps(TrainInputs(patches, validation, before), out, settings):
        if report.validation is not None or report.done % 25 == 0:
            weights = " ".join(f"{each:.2f}" for each in report.class_weights)
            print(
                report.done,
                f"loss {report.loss:.4f}",
                "f1",
                report.f1,
                "CW",
                weights,
                report.validation or "",
                flush=True,
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True)
    drawing = verbs.add_parser("cases")
    drawing.add_argument("--anatomy", type=Path)
    drawing.add_argument("--source", choices=list(SOURCES), required=True)
    drawing.add_argument("--parts", nargs="+", default=["validation", "train", "test"])
    drawing.set_defaults(run=draw)
    training = verbs.add_parser("train")
    training.add_argument("--stage", choices=list(STAGES), required=True)
    training.add_argument("--steps", type=int, default=3000)
    training.add_argument("--validate-every", type=int, default=500)
    training.add_argument("--threads", type=int)
    training.add_argument("--start", type=Path, help="go on from this checkpoint, not the stage before")
    training.set_defaults(run=train)
    for each in (drawing, training):
        each.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
