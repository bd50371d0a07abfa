"""kill -9 while a network is fine-tuned: the checkpoint in use always loads, and resuming loses nothing.

    python benchmarks/finetune_kill.py --kills 50

A real process fine-tunes a tiny network on a small scan, its state saved after each step; it is killed with
SIGKILL: at a random moment, while any file is being written, or (from the end of the steps on) while the new
checkpoint or the note that it is in use is being written, a third each. After each kill the checkpoint in
use must load and be the old one, or the new one, whole; the next process goes on. Each time one gets to its
end, its weights must be those of an unbroken run, bit by bit, and all begins anew.
Exit status 0 when all of this was so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # a process with more threads could not be forked

import numpy as np
import torch

from napari_kidnet.network import Checkpoint, KidNet, KidNetSettings, load_checkpoint, save_checkpoint
from napari_kidnet.network.checkpoint import network_weights
from napari_kidnet.scans import Scan, list_cases, write_labels, write_scan
from napari_kidnet.training.finetune_settings import FinetuneSettings
from napari_kidnet.training.finetuning import finetune
from napari_kidnet.training.lineage import activate, active_checkpoint, file_hash

SHAPE = (24, 32, 32)
MOMENTS = ("a random moment", "the writing of any file", "the writing of the new checkpoint")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=12, help="of each fine-tuning")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as home:
        root = Path(home)
        prepare(root / "start")
        shutil.copytree(root / "start", root / "whole")
        began = time.monotonic()
        wait(fork(root / "whole", arguments.steps))
        seconds = time.monotonic() - began
        wanted = load_checkpoint(active_checkpoint(root / "whole"))
        print(f"an unbroken run of {arguments.steps} steps: {seconds:.1f} s, hash {wanted.hash[:12]}")
        told = killing(root, wanted, seconds, arguments, rng)
    print(told)
    return 0


def killing(
    root: Path, wanted: Checkpoint, seconds: float, wish: argparse.Namespace, rng: np.random.Generator
) -> str:
    kills, steps = wish.kills, wish.steps
    old = file_hash(root / "start" / "old.safetensors")
    count = dict.fromkeys(MOMENTS, 0)
    done = finished = late = 0
    here = root / "broken"
    while done < kills:
        if not here.exists():
            shutil.copytree(root / "start", here)
        process = fork(here, steps)
        moment = MOMENTS[int(rng.integers(len(MOMENTS)))]
        ended = wait_for_moment(process, here, seconds, moment, rng)
        if not ended:
            os.kill(process, signal.SIGKILL)
            ended = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
        if not ended:
            done += 1
            count[moment] += 1
            late += (here / "new.safetensors").exists()
        in_use = active_checkpoint(here)
        # killed on its way out, when all was done
        ended = ended or ((here / "new.safetensors").exists() and not (here / "new.finetuning").exists())
        found = load_checkpoint(in_use)  # whole, or this raises
        if in_use.name == "old.safetensors":
            expect(file_hash(in_use) == old, "the old checkpoint was changed")
        else:
            expect(same(found, wanted), "the checkpoint in use is not that of an unbroken run")
        if ended:
            expect(in_use.name == "new.safetensors", "a run that ended did not put its checkpoint in use")
            finished += 1
            shutil.rmtree(here)
    wait(fork(here, steps) if here.exists() else None)
    if here.exists():
        expect(same(load_checkpoint(active_checkpoint(here)), wanted), "resuming reached other weights")
        finished += 1
    kinds = ", ".join(f"{number} at {what}" for what, number in count.items())
    return (
        f"{done} kills ({kinds}; {late} when the new checkpoint was there already): the checkpoint in use "
        f"loaded each time; {finished} resumed runs reached the unbroken run's weights"
    )


def fork(folder: Path, steps: int) -> int:
    """Fine-tune in a process of its own; PyTorch is there already, so that it starts at once."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        settings = FinetuneSettings(
            **{"steps": steps, "patch_voxels": 16, "warm_up": 2, "save_every": 1, "validations": 2},
            **{"largest_drop": 1.0, "device": "cpu", "precision": "float32", "threads": 1},
        )
        cases, earlier = list_cases(folder / "corrected"), list_cases(folder / "earlier")
        finetune(None, cases, folder / "new.safetensors", settings, earlier)
        code = 0
    except Exception:
        traceback.print_exc()  # this process ends without telling anybody else
        raise
    finally:
        os._exit(code)


def wait(process: int | None) -> None:
    if process is not None:
        status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        expect(status == 0, f"a run ended with status {status}")


def wait_for_moment(
    process: int, folder: Path, seconds: float, moment: str, rng: np.random.Generator
) -> bool:
    """Wait for the moment to kill; say whether the process ended by itself before."""
    begun = time.monotonic()
    start = 0.0 if moment == MOMENTS[2] else float(rng.uniform(0.02, 1.1 * seconds))
    while time.monotonic() < begun + 3 * seconds:
        if ended(process):
            return True
        if time.monotonic() < begun + start:
            time.sleep(0.002)
            continue
        names = [each.name for each in files_in(folder) if each.suffix == ".partial"]
        if moment == MOMENTS[2]:
            names = [each for each in names if each.startswith((".new.safetensors", ".active.json"))]
        if names or moment == MOMENTS[0]:
            time.sleep(float(rng.uniform(0, 0.002)))
            return False
    return False


def files_in(folder: Path):
    for place, folders, names in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *names))


def ended(process: int) -> bool:
    found, status = os.waitpid(process, os.WNOHANG)
    if found:
        code = os.waitstatus_to_exitcode(status)
        expect(code == 0, f"a resumed run ended with status {code}")
    return bool(found)


def same(one: Checkpoint, other: Checkpoint) -> bool:
    alike = all(torch.equal(one.weights[name], other.weights[name]) for name in other.weights)
    return alike and one.schema["V"] == other.schema["V"]


def expect(so: bool, what: str) -> None:
    if not so:
        print(what, file=sys.stderr)
        sys.exit(1)


def prepare(folder: Path) -> None:
    """Write a tiny checkpoint, put it in use, and small scans: a corrected one, two earlier ones."""
    for number, kind in enumerate(("corrected", "earlier", "earlier")):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        scan, labels = tubes(number)
        write_scan(folder / kind / f"scan{number}_ct.nii.gz", scan)
        write_labels(folder / kind / f"scan{number}_labels.nii.gz", labels, like=scan)
    torch.manual_seed(3)
    settings = KidNetSettings(base=2, levels=3, norm="batch")
    schema = {"name": "dw+rs", "alpha": 0.002, "V": [0.9, 0.04, 0.05, 0.01], "patches_seen": 5000}
    save_checkpoint(
        folder / "old.safetensors",
        Checkpoint(settings, network_weights(KidNet(settings)), schema=schema, sensitivity=1.0),
    )
    activate(folder / "old.safetensors")


def tubes(seed: int) -> tuple[Scan, np.ndarray]:
    """Give a scan with three tubes along z, one of each class."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(size) for size in SHAPE)]
    hu = rng.normal(40, 10, SHAPE)
    labels = np.zeros(SHAPE, np.uint8)
    for each, (value, at) in enumerate([(280, 6), (170, 16), (10, 26)], start=1):
        inside = (y - at) ** 2 + (x - 10 - 2 * np.sin(z / 5 + seed)) ** 2 < 7
        labels[inside] = each
        hu[inside] += value - 40
    hu[:, :, -4:] = -1000
    return Scan.from_array(hu.astype(np.int16), (1.0, 1.0, 1.0), f"scan{seed}"), labels


if __name__ == "__main__":
    sys.exit(main())
