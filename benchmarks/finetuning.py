"""What fine-tuning is worth, and what it must not do: the experiments of docs/finetuning.md.

    python benchmarks/finetuning.py partial      only one kidney reviewed: what happens to the other one
    python benchmarks/finetuning.py bad          corrections that are wrong in every way
    python benchmarks/finetuning.py loop         scan after scan, on two new sites
    python benchmarks/finetuning.py parts        one part switched off at a time
    python benchmarks/finetuning.py rivals       what a user would do instead
    python benchmarks/finetuning.py tables       the tables, from what was measured so far

Each result is one line of HOME/results.jsonl, so that an interrupted experiment goes on where it was. The
scans are those of `finetuning_sites.py`. One thread; times are those of the process, since other work may
share the machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from finetuning_sites import (
    base_checkpoint,
    box_of,
    case_of,
    corrected,
    earlier_cases,
    hash_of,
    measured,
    scores,
    segmented,
    truth_of,
)
from finetuning_tables import tables

from napari_kidnet.errors import KidnetError
from napari_kidnet.network import load_checkpoint, save_checkpoint
from napari_kidnet.training.augmentation import Augmentation
from napari_kidnet.training.corrections import Correction, read_correction, scan_hash
from napari_kidnet.training.finetune_run import chance_of
from napari_kidnet.training.finetune_settings import FinetuneSettings
from napari_kidnet.training.finetuning import finetune_steps
from napari_kidnet.training.guard import split_roles
from napari_kidnet.training.lineage import activate, active_checkpoint, file_hash

STEPS = 400
RATE = 1e-3
"""Of the small networks, chosen with the steps on validation scans (502, 503)."""

PATCH = 48
LEARNED = (1, 2, 3, 5, 8)
"""After how many corrected scans a loop fine-tunes."""

SHIPPED = {"steps": 80, "learning_rate": 3e-4}
"""What a fine-tuning of the shipped network does within its three minutes, at its own rate."""

MINUTES = 5.0
"""Simulated, of correcting one scan."""

TESTS = (1000, 1001, 1002)


class Results:
    """Lines of JSON, one for each key of an experiment."""

    def __init__(self, home: Path) -> None:
        self._path = home / "results.jsonl"
        self.lines = []
        if self._path.is_file():
            self.lines = [json.loads(line) for line in self._path.read_text().splitlines()]

    def has(self, **key) -> bool:
        return any(all(line.get(name) == value for name, value in key.items()) for line in self.lines)

    def of(self, **key):
        return [line for line in self.lines if all(line.get(name) == value for name, value in key.items())]

    def add(self, **line) -> None:
        self.lines.append(line)
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(json.dumps(line), flush=True)


def settings_of(seed: int, **changes) -> FinetuneSettings:
    values = {"steps": STEPS, "learning_rate": RATE, "patch_voxels": PATCH, "validations": 1, "seed": seed}
    return FinetuneSettings(**({"threads": 1, "save_every": 1000, "device": "cpu"} | values | changes))


def begin(home: Path, base: str, folder: Path) -> None:
    """Make a folder with the base checkpoint in use and its replay store, so that each run starts alike."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(base_checkpoint(home, base), folder / "0.safetensors")
    activate(folder / "0.safetensors")
    store = home / f"replay-{base}" / "kidnet.replay"
    if store.is_dir():
        shutil.copytree(store, folder / "kidnet.replay")


def keep_store(home: Path, base: str) -> None:
    """Keep the store as it was when it was first filled: without the scans that were just learned from."""
    kept = home / f"replay-{base}"
    if kept.is_dir():
        return
    from napari_kidnet.training.replay import ReplayStore

    scratch = home / "making" / base
    begin(home, base, scratch)
    ring = ReplayStore(scratch, PATCH, (1.2, 1.2, 1.2))
    if base == "shipped":
        for _ in ring.add_phantoms():
            pass
    else:
        scans = [read_correction(each) for each in earlier_cases(home, base)]
        roles = split_roles([each.hash for each in scans], {})
        for each in scans:
            ring.add(each, roles[each.hash], chance_of(each))
    shutil.copytree(scratch, kept)


def finetuned(folder: Path, corrections, name: str, settings: FinetuneSettings, replay="beside"):
    """Fine-tune the checkpoint in use; give the result, or the sentence with which it was refused."""
    losses = []
    began = time.process_time()
    steps = finetune_steps(active_checkpoint(folder), corrections, folder / name, settings, replay)
    try:
        while True:
            step = next(steps)
            if step.loss == step.loss:
                losses.append(step.loss)
    except StopIteration as stop:
        return stop.value, losses, time.process_time() - began
    except KidnetError as error:
        return error, losses, time.process_time() - began


# --- only one kidney reviewed ---


def one_kidney(home: Path, site: str, seed: int):
    """Give a scan with both kidneys, cut to both, the box about each and the complete truth."""
    file = home / "cases" / f"both-{site}-{seed}.npz"
    if not file.is_file():
        scan, truth, kidneys = truth_of(home, site, seed, "full")
        where = box_of(kidneys > 0, scan.spacing, 14.0)
        np.savez_compressed(file, hu=scan.hu[where], truth=truth[where], kidneys=kidneys[where])
        shutil.rmtree(home / "cases" / f"{site}-full" / f"{seed:04d}")
    with np.load(file) as found:
        hu, truth, kidneys = (found[name] for name in ("hu", "truth", "kidneys"))
    from napari_kidnet.scans import Scan

    scan = Scan.from_array(hu, (1.2, 1.2, 1.2), f"{site}-{seed}")
    boxes = []
    for side in (1, 2):
        inside = np.zeros(truth.shape, dtype=bool)
        inside[box_of(kidneys == side, scan.spacing)] = True
        boxes.append(inside)
    return scan, truth, boxes[0] & ~boxes[1], boxes[1] & ~boxes[0]


PARTIAL_ARMS = {
    "as it is": {},
    "no distillation": {"distillation": 0.0},
    "no replay": {"replay": None},
    "no replay, no distillation": {"replay": None, "distillation": 0.0},
    "unreviewed taken for background": {"zero_weight": False},
}


def partial(home: Path, results: Results, seeds=(1010, 1011, 1012), arms=tuple(PARTIAL_ARMS), what="kidney"):
    """Review one kidney (or only the trunks, where no collecting system is); look at the other voxels."""
    for seed in seeds:
        for arm in arms:
            key = {"experiment": "partial", "what": what, "arm": arm, "seed": seed}
            if results.has(**key):
                continue
            scan, truth, left, right = one_kidney(home, "venous", seed)
            reviewed, other = left, right
            if what == "trunks":
                reviewed, other = trunks(truth), left | right
            changes = dict(PARTIAL_ARMS[arm])
            replay = changes.pop("replay", "beside")
            labels = np.where(reviewed, truth, 0).astype(np.uint8)
            if not changes.pop("zero_weight", True):
                reviewed_by = np.ones(truth.shape, dtype=bool)
            else:
                reviewed_by = reviewed
            case = Correction(f"venous-{seed}", scan_hash(scan), scan, labels, reviewed_by)
            folder = home / "partial" / f"{what}-{seed}-{arm.replace(' ', '-').replace(',', '')}"
            keep_store(home, "shipped")
            begin(home, "shipped", folder)
            settings = settings_of(seed, **{**SHIPPED, "largest_drop": 1.0, **changes})
            result, losses, seconds = finetuned(folder, [case], "1.safetensors", settings, replay)
            before = segmented(folder / "0.safetensors", scan)
            after = segmented(result.candidate, scan)
            results.add(
                **key,
                base=hash_of(folder / "0.safetensors"),
                before=scores(before, truth, other),
                after=scores(after, truth, other),
                reviewed_before=scores(before, truth, reviewed),
                reviewed_after=scores(after, truth, reviewed),
                guard=[result.before.as_dict(), result.after.as_dict()],
                seconds=round(seconds, 1),
                loss=[losses[0], losses[-1]],
            )


def trunks(truth: np.ndarray) -> np.ndarray:
    """Give the surroundings of arteries and veins, far from any collecting system: it is seen nowhere."""
    from scipy.ndimage import distance_transform_edt

    vessels = distance_transform_edt((truth != 1) & (truth != 2)) <= 6
    return vessels & (distance_transform_edt(truth != 3) > 6)


# --- bad corrections ---


def bad(home: Path, results: Results, seeds=(310, 311)) -> None:
    keep_store(home, "shipped")
    for seed in seeds:
        good = corrected(home, "venous", seed)
        exchanged = np.array([0, 2, 1, 3], np.uint8)
        rng = np.random.default_rng(seed)
        stray = np.zeros_like(good.labels)
        stray[tuple(np.argwhere(good.reviewed)[rng.integers(good.reviewed.sum())])] = 2
        fourth = np.where(good.labels == 3, 4, good.labels).astype(np.uint8)
        cases = {
            "all labels empty": replace(good, labels=np.zeros_like(good.labels)),
            "artery and vein exchanged": replace(good, labels=exchanged[good.labels]),
            "vessels moved by 12 mm": replace(good, labels=np.roll(good.labels, 10, axis=2)),
            "one stray voxel": replace(good, labels=stray),
            "nothing reviewed": replace(good, reviewed=np.zeros_like(good.reviewed)),
            "a label that is no class": replace(good, labels=fourth),
            "a class never seen": replace(good, labels=np.where(good.labels == 3, 3, 0).astype(np.uint8)),
            "good": good,
        }
        for name, case in cases.items():
            for rate in (3e-4,) if name != "good" else (3e-4, 1e-2):
                key = {"experiment": "bad", "what": name, "rate": rate, "seed": seed}
                if results.has(**key):
                    continue
                folder = home / "bad" / f"{seed}-{name.replace(' ', '-')}-{rate:g}"
                begin(home, "shipped", folder)
                if name == "a class never seen":
                    blind(folder / "0.safetensors")
                was = file_hash(active_checkpoint(folder))
                settings = settings_of(seed, steps=40, learning_rate=rate)
                result, losses, seconds = finetuned(folder, [case], "1.safetensors", settings)
                active = active_checkpoint(folder)
                refused = isinstance(result, KidnetError)
                line = {
                    "told": str(result) if refused else result.reason,
                    "activated": not refused and result.activated,
                    "same_active": file_hash(active) == was,
                    "finite": all(np.isfinite(losses)) and finite(active),
                    "steps": len(losses),
                    "seconds": round(seconds, 1),
                    "base": hash_of(folder / "0.safetensors"),
                }
                if not refused:
                    line["guard"] = [result.before.as_dict(), result.after.as_dict()]
                    line["finite"] &= finite(result.candidate)
                results.add(**key, **line)


def finite(path: Path) -> bool:
    return all(bool(each.isfinite().all()) for each in load_checkpoint(path).weights.values())


def blind(path: Path) -> None:
    """Make the checkpoint one that has never seen the collecting system."""
    import torch

    found = load_checkpoint(path)
    weights = {
        name: torch.cat([each[:3], each[3:] * 0 - (10 if "bias" in name else 0)]) if "heads" in name else each
        for name, each in found.weights.items()
    }
    volumes = [*found.schema["V"][:3], 0.0]
    total = sum(volumes)
    schema = found.schema | {"V": [each / total for each in volumes]}
    path.unlink()
    save_checkpoint(path, replace(found, weights=weights, schema=schema))
    activate(path)


# --- scan after scan ---


def lesson(home: Path, site: str, seed: int, checkpoint: Path, by: str) -> Correction:
    """Give a scan as it was corrected.

    By "slices", the simulated annotator corrects what the checkpoint says for five simulated minutes, the
    worst slice first, and declares each slice reviewed when it is right ("paint-worst"). By "islands", it
    works by our order of review, and reviewed is what was accepted, edited or deleted. By "box", all is
    right, and reviewed, within a box about the kidney; by "crop", everywhere.
    """
    whole = corrected(home, site, seed)
    if by == "box":
        return whole
    if by == "crop":
        truth = truth_of(home, site, seed)[1].astype(np.uint8)
        return replace(whole, labels=truth, reviewed=np.ones_like(whole.reviewed))
    policy = {"slices": "paint-worst", "islands": "ours"}[by]
    done = annotated(home, site, seed, checkpoint, policy, seconds=60 * MINUTES)
    return replace(whole, labels=done.labels.astype(np.uint8), reviewed=done.states != 0)


def annotated(home: Path, site: str, seed: int, checkpoint: Path, policy: str = "ours", **budget):
    from annotator import Budget, annotate, predict_case

    case = predict_case(case_of(home, site, seed), load_checkpoint(checkpoint))
    return annotate(case, policy, Budget(**({"actions": None} | budget)))


def loop(
    home: Path, results: Results, base: str, site: str, seeds=(0, 1, 2), scans=8, by="slices", **changes
):
    """Correct scan after scan, as the checkpoint in use predicts it; fine-tune on all of them at times."""
    for seed in seeds:
        name = f"{base}-{site}-{by}-{seed}" + "".join(f"-{key}-{value}" for key, value in changes.items())
        key = {"experiment": "loop", "base": base, "site": site, "by": by, "seed": seed, "changes": changes}
        folder = home / "loop" / name
        if not results.has(**key, scans=0):
            keep_store(home, base)
            begin(home, base, folder)
            results.add(**key, scans=0, **both_sites(home, folder / "0.safetensors", site))
        done = []
        for number in range(1, scans + 1):
            at = 300 + 10 * seed + number - 1
            where = folder / f"{number}.safetensors"
            kept = folder / f"lesson-{number}.npz"
            if not kept.is_file():
                case = lesson(home, site, at, active_checkpoint(folder), by)
                np.savez_compressed(kept, labels=case.labels, reviewed=case.reviewed)
            with np.load(kept) as found:
                whole = corrected(home, site, at)
                done.append(replace(whole, labels=found["labels"], reviewed=found["reviewed"]))
            if results.has(**key, scans=number) or number not in LEARNED:
                continue
            where.unlink(missing_ok=True)
            settings = settings_of(seed, **changes)
            result, losses, seconds = finetuned(folder, done, where.name, settings, earlier_cases(home, base))
            line = {"guard": [result.before.as_dict(), result.after.as_dict()], "told": result.reason}
            line |= both_sites(home, active_checkpoint(folder), site)
            if not result.activated:
                line |= {"candidate": both_sites(home, where, site)}
            results.add(
                **key,
                scans=number,
                activated=result.activated,
                seconds=round(seconds, 1),
                loss=[losses[0], losses[-1]],
                reviewed=[
                    int((each.labels[each.reviewed] == c).sum()) for each in done[-1:] for c in range(4)
                ],
                **line,
            )


def both_sites(home: Path, checkpoint: Path, site: str):
    return {
        "hash": hash_of(checkpoint),
        "new": measured(home, checkpoint, site, TESTS),
        "old": measured(home, checkpoint, "arterial", TESTS),
    }


def effort(home: Path, results: Results, base: str, site: str, seeds=(0, 1, 2), scans=3, by="slices") -> None:
    """Count what the annotator does on an unseen scan until as little is wrong as it was left with before.

    The mark is what is left wrong after five simulated minutes of correcting the first checkpoint's
    prediction.
    """
    for seed in seeds:
        folder = home / "loop" / f"{base}-{site}-{by}-{seed}"
        for unseen in TESTS[:2]:
            key = {"experiment": "effort", "base": base, "site": site, "by": by, "seed": seed, "on": unseen}
            if results.has(**key):
                continue
            first = annotated(home, site, unseen, folder / "0.safetensors", seconds=300.0)
            mark = min(step.wrong for step in first.steps)
            ran = first
            rows = []
            for number in (0, scans):
                file = folder / f"{number}.safetensors"
                if number:
                    ran = annotated(home, site, unseen, file, seconds=600.0)
                seconds, actions = ran.opening, None if ran.wrong_before > mark else 0
                for count, step in enumerate(ran.steps, start=1):
                    if actions is not None:
                        break
                    seconds += step.seconds
                    actions = count if step.wrong <= mark else None
                rows.append([number, ran.wrong_before, actions, round(seconds, 1)])
            results.add(**key, mark=mark, rows=rows)


# --- what each part is worth, and what a user would do instead ---

PARTS = {
    "all parts": {},
    "no replay, rate 3e-3": {"replay": None, "distillation": 0.0, "learning_rate": 3e-3},
    "no replay": {"replay": None},
    "no dynamic weighting": {"schema": "rs"},
    "no random sampling": {"schema": "dw"},
    "rate 3e-4": {"learning_rate": 3e-4},
    "changes of contrast": {"augmentation": Augmentation()},
    "unreviewed taken for background": {"zero_weight": False},
    "no distillation": {"distillation": 0.0},
    "hard negatives": {"hard_share": 0.5},
    "plain cross-entropy, no replay": {"schema": "none", "replay": None, "distillation": 0.0},
    "rate 1e-4": {"learning_rate": 1e-4},
    "decoder only": {"mode": "decoder"},
}


def lessons_of(home: Path, base: str, site: str, seed: int, scans: int, by: str):
    """Give scans as they are corrected from what the base checkpoint says."""
    found = []
    for number in range(scans):
        at = 300 + 10 * seed + number
        kept = home / "lessons" / f"{base}-{site}-{by}-{at}.npz"
        if not kept.is_file():
            case = lesson(home, site, at, base_checkpoint(home, base), by)
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(kept, labels=case.labels, reviewed=case.reviewed)
        with np.load(kept) as done:
            whole = corrected(home, site, at)
            found.append(replace(whole, labels=done["labels"], reviewed=done["reviewed"]))
    return found


def parts(
    home: Path,
    results: Results,
    base: str,
    site: str,
    seeds=(0,),
    scans=3,
    arms=tuple(PARTS),
    by="slices",
    **_,
):
    """Fine-tune once on some corrected scans; the guard only tells, so that the damage can be measured."""
    keep_store(home, base)
    for seed in seeds:
        for arm in arms:
            key = {"experiment": "parts", "base": base, "site": site, "by": by, "arm": arm, "seed": seed}
            if results.has(**key):
                continue
            folder = home / "parts" / f"{base}-{site}-{seed}-{arm.replace(' ', '-').replace(',', '')}"
            begin(home, base, folder)
            changes = dict(PARTS[arm])
            cases = lessons_of(home, base, site, seed, scans, by)
            replay = changes.pop("replay", earlier_cases(home, base))
            if not changes.pop("zero_weight", True):
                cases = [replace(each, reviewed=np.ones_like(each.reviewed)) for each in cases]
            hard = changes.pop("hard_share", None)
            if hard is not None:
                found = load_checkpoint(folder / "0.safetensors")
                (folder / "0.safetensors").unlink()
                changed = replace(found, schema=found.schema | {"hard_share": hard})
                save_checkpoint(folder / "0.safetensors", changed)
                activate(folder / "0.safetensors")
            result, losses, seconds = finetuned(
                folder, cases, "1.safetensors", settings_of(seed, **changes), replay
            )
            results.add(
                **key,
                **both_sites(home, result.candidate, site),
                activated=result.activated,
                told=result.reason,
                guard=[result.before.as_dict(), result.after.as_dict()],
                seconds=round(seconds, 1),
                loss=[losses[0], losses[-1]],
            )


def rivals(
    home: Path, results: Results, base: str, site: str, seeds=(0,), scans=3, arms=(), by="slices", **_
) -> None:
    """Train MONAI's networks for as long as ours took, from scratch and from the old site's scans."""
    from finetuning_rivals import compare

    for seed in seeds:
        lines = results.of(experiment="parts", base=base, site=site, by=by, arm="all parts", seed=seed)
        seconds = lines[0]["seconds"]
        for arm in arms or ("DynUNet, scratch", "DynUNet, old site", "U-Net, scratch", "U-Net, old site"):
            key = {"experiment": "rivals", "base": base, "site": site, "by": by, "arm": arm, "seed": seed}
            if results.has(**key):
                continue
            name, start = arm.split(", ")
            lessons = lessons_of(home, base, site, seed, scans, by)
            results.add(**key, **compare(home, name, start, lessons, site, seconds, seed, TESTS))


RUNS = {"loop": loop, "effort": effort, "parts": parts, "rivals": rivals}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=[*RUNS, "partial", "trunks", "bad", "tables"])
    parser.add_argument("--base", default="narrow")
    parser.add_argument("--site", default="venous")
    parser.add_argument("--by", default="slices", choices=("slices", "islands", "box", "crop"))
    parser.add_argument("--scans", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="of FinetuneSettings")
    parser.add_argument("--home", type=Path, default=Path("runs/finetuning"))
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--arms", nargs="+")
    arguments = parser.parse_args()
    arguments.home.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.home)
    given = {"seeds": arguments.seeds, "arms": arguments.arms}
    given = {name: value for name, value in given.items() if value}
    if arguments.experiment == "tables":
        print(tables(results.lines))
    elif arguments.experiment in RUNS:
        for pair in arguments.set:
            name, value = pair.split("=")
            given[name] = json.loads(value)
        given |= {"by": arguments.by} | ({"scans": arguments.scans} if arguments.scans else {})
        RUNS[arguments.experiment](arguments.home, results, arguments.base, arguments.site, **given)
    elif arguments.experiment == "bad":
        bad(arguments.home, results, **given)
    else:
        what = "trunks" if arguments.experiment == "trunks" else "kidney"
        partial(arguments.home, results, **given, what=what)


if __name__ == "__main__":
    main()
