"""Segmentation against MONAI's sliding-window inferer: same network, same volume, same machine, one run.

    python benchmarks/segment.py                       # 256³, the shipped checkpoint
    python benchmarks/segment.py --size 96 --preset lite --threads 1

Prints the ratio of the times, the F1 of both against the truth, the peak memory of ours (a process of its
own, everything included) and the largest difference of the two engines' probabilities.

The rival: ``monai.inferers.sliding_window_inference``, 96³ windows, overlap 0.25, Gaussian, PyTorch eager.
Both work on the scan's own grid, so that both do the same work; ours uses what it chooses by default.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

WINDOW = 96
SEED = 1000  # phantoms of seed 1000 and above are for tests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="edge of the volume, voxels")
    parser.add_argument("--checkpoint", type=Path, help="the shipped one by default")
    parser.add_argument("--preset", help="random weights of this preset instead of a checkpoint")
    parser.add_argument("--norm", default="batch", help="normalisation of --preset")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--engine", default="auto", help="of ours")
    parser.add_argument("--repeat", type=int, default=1, help="runs of ours; the median counts")
    parser.add_argument("--no-monai", action="store_true")
    parser.add_argument("--ours-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ours_in is not None:
        run_ours(arguments.ours_in, arguments.threads, arguments.engine)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(arguments, Path(folder))


def compare(arguments: argparse.Namespace, folder: Path) -> None:
    import torch

    from napari_kidnet.network import save_checkpoint

    print_machine(arguments)
    checkpoint = checkpoint_of(arguments)
    save_checkpoint(folder / "network.safetensors", checkpoint)
    hu, truth, spacing = volume(arguments.size)
    np.savez(folder / "scan.npz", hu=hu, spacing=spacing)
    print(
        f"volume   {' × '.join(map(str, hu.shape))}, network base {checkpoint.network.base}, "
        f"{checkpoint.network.levels} levels, {checkpoint.network.norm} normalisation"
    )
    command = [sys.executable, __file__, "--ours-in", str(folder), "--threads", str(arguments.threads)]
    seconds = []
    for _ in range(max(1, arguments.repeat)):
        subprocess.run([*command, "--engine", arguments.engine], check=True)
        told = json.loads((folder / "ours.json").read_text())
        seconds.append(told["seconds"])
    ours = np.load(folder / "labels.npy")
    first = float(np.median(seconds))
    print(f"ours     {first:.1f} s (with opening the engine), {told['where']}")
    print(f"         peak memory of the process {told['peak_gb']:.2f} GB")
    print(f"engines  largest difference of probabilities {engine_difference(checkpoint, hu, arguments):.1e}")
    torch.set_num_threads(arguments.threads)
    if arguments.no_monai:
        return
    start = time.perf_counter()
    theirs = run_monai(checkpoint, hu)
    rival = time.perf_counter() - start
    print(
        f"MONAI    {rival:.1f} s (sliding_window_inference {WINDOW}³, overlap 0.25, Gaussian, PyTorch eager)"
    )
    print(f"ratio    {rival / first:.1f} × faster")
    print(f"same     {100 * (ours == theirs).mean():.3f} % of the voxels have the same label")
    if truth is not None:
        print(f"F1       ours {f1_of(ours, truth)}, MONAI {f1_of(theirs, truth)}")
    print(f"F1       ours against MONAI's labels {f1_of(ours, theirs)}")


def checkpoint_of(arguments: argparse.Namespace):
    """Return the network, on the scan's own grid and with the paper's argmax."""
    import torch

    from napari_kidnet.network import PRESETS, Checkpoint, KidNet, load_checkpoint
    from napari_kidnet.network.checkpoint import network_weights

    if arguments.preset is None:
        return replace(load_checkpoint(arguments.checkpoint), spacing=None, sensitivity=1.0, temperature=1.0)
    torch.manual_seed(0)
    settings = replace(PRESETS[arguments.preset], norm=arguments.norm)
    return Checkpoint(settings, network_weights(KidNet(settings)))


def volume(size: int):
    """Return HU, truth and spacing of a test phantom, cut or mirrored to size³."""
    try:
        from napari_kidnet.phantom import PhantomSettings, make_case

        case = make_case(SEED, PhantomSettings(phase="arterial", field="full" if size > 160 else "crop"))
        hu, truth, spacing = case.scan.hu, case.truth, case.scan.spacing
    except ImportError:
        hu = np.random.default_rng(SEED).normal(40, 80, size=(size,) * 3).astype(np.int16)
        truth, spacing = None, (0.9, 0.8, 0.8)
    return fitted(hu, size), None if truth is None else fitted(truth, size), spacing


def fitted(array: np.ndarray, size: int) -> np.ndarray:
    cut = tuple(slice(max(0, (n - size) // 2), max(0, (n - size) // 2) + size) for n in array.shape)
    array = array[cut]
    return np.pad(array, [(0, size - n) for n in array.shape], mode="symmetric")


def run_ours(folder: Path, threads: int, engine: str) -> None:
    from napari_kidnet.network import load_checkpoint
    from napari_kidnet.progress import drain
    from napari_kidnet.scans import Scan
    from napari_kidnet.segmentation import SegmentSettings, segment_steps

    stored = np.load(folder / "scan.npz")
    scan = Scan.from_array(stored["hu"], tuple(float(each) for each in stored["spacing"]))
    checkpoint = load_checkpoint(folder / "network.safetensors")
    start = time.perf_counter()
    # Air is not skipped: MONAI computes it as well.
    settings = SegmentSettings(device="cpu", engine=engine, threads=threads, skip_air=False)
    prediction = drain(segment_steps(scan, checkpoint, settings))
    seconds = time.perf_counter() - start
    np.save(folder / "labels.npy", prediction.labels)
    told = {"seconds": seconds, "peak_gb": peak_gb(), "where": prediction.where}
    (folder / "ours.json").write_text(json.dumps(told))


def run_monai(checkpoint, hu: np.ndarray) -> np.ndarray:
    import torch
    from monai.inferers import sliding_window_inference

    from napari_kidnet.network import build_network
    from napari_kidnet.scans import normalise

    net = build_network(checkpoint).eval()
    with torch.inference_mode():
        scan = torch.from_numpy(normalise(hu, checkpoint.window))[None, None]
        logits = sliding_window_inference(
            scan, (WINDOW,) * 3, 1, net, overlap=0.25, mode="gaussian", padding_mode="constant", cval=-1.0
        )
        return logits[0].argmax(dim=0).to(torch.uint8).numpy()


def engine_difference(checkpoint, hu: np.ndarray, arguments: argparse.Namespace) -> float:
    """Return the largest difference of probabilities of PyTorch and OpenVINO on one window."""
    from napari_kidnet.network import open_engine
    from napari_kidnet.scans import normalise
    from napari_kidnet.segmentation.decision import log_softmax

    size = min(WINDOW, arguments.size)
    middle = (arguments.size - size) // 2
    window = normalise(hu[(slice(middle, middle + size),) * 3], checkpoint.window)
    answers = []
    for name in ("torch", "openvino"):
        engine = open_engine(checkpoint, device="cpu", engine=name, threads=arguments.threads)
        answers.append(np.exp(log_softmax(engine.logits(window))))
        engine.close()
    return float(np.abs(answers[0] - answers[1]).max())


def f1_of(labels: np.ndarray, truth: np.ndarray) -> str:
    found = []
    for value in (1, 2, 3):
        one, other = labels == value, truth == value
        both = int(one.sum() + other.sum())
        found.append(2 * int((one & other).sum()) / both if both else float("nan"))
    return f"{' / '.join(f'{each:.3f}' for each in found)}, mean {np.nanmean(found):.4f}"


def peak_gb() -> float:
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    status = Path("/proc/self/status")
    if status.exists():  # Linux hands ru_maxrss of the process that started this one down to it
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM"))
        return int(line.split()[1]) / 1e6 * 1.024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e9 if sys.platform == "darwin" else 1e6 / 1.024)


def print_machine(arguments: argparse.Namespace) -> None:
    print(
        f"machine  {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"{arguments.threads} threads, Python {platform.python_version()}, {cpu_name()}"
    )
    print(
        "versions " + ", ".join(f"{name} {version(name)}" for name in ("torch", "openvino", "monai", "numpy"))
    )


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
