"""Runs: the same batches every time, state on disk, kill -9, resume, validation, the final checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_kidnet.errors import CheckpointError, OutputError, SettingsError
from napari_kidnet.network import KidNetSettings, load_checkpoint
from napari_kidnet.scans import Case, Scan, read_case, write_labels, write_scan
from napari_kidnet.training import Augmentation, PatchStore, Schema, TrainInputs, train, train_steps
from napari_kidnet.training.batches import BatchMaker, dataset_volumes
from napari_kidnet.training.optimiser import AveragedWeights, pick_precision
from napari_kidnet.training.validation import best_of
from napari_kidnet.training.weighting import DynamicWeighting, patch_volumes
from tests.training.conftest import EDGE, quick, tubes


def maker(store: PatchStore, **changes: object) -> tuple[BatchMaker, DynamicWeighting]:
    settings = quick(**changes)
    weighting = DynamicWeighting(settings.details.alpha)
    return BatchMaker(store, settings, weighting), weighting


def test_batches_are_the_same_whichever_step_they_begin_with(store: PatchStore) -> None:
    whole, _ = maker(store)
    batches = list(whole.batches(0, 6))
    assert [each.step for each in batches] == list(range(6))
    late, weighting = maker(store)
    weighting.volumes[:] = batches[2].volumes
    for expected, found in zip(batches[3:], late.batches(3, 6), strict=True):
        assert np.array_equal(expected.images, found.images)
        assert np.array_equal(expected.weights, found.weights)
        assert expected.volumes == found.volumes


def test_R18_volumes_are_those_of_the_augmented_patches(store: PatchStore) -> None:
    turned, plain = (
        maker(store, augmentation=each)[0].make(0)
        for each in (Augmentation(geometry=1.0), Augmentation.off())
    )
    assert turned.volumes != plain.volumes
    made, _ = maker(store, augmentation=Augmentation(geometry=1.0), schema=Schema(alpha=0.5))
    expected = DynamicWeighting(0.5)
    for step in range(3):
        batch = made.make(step)
        for part in batch._parts:
            expected.update(patch_volumes(part.labels, part.reviewed))
        assert batch.volumes == pytest.approx(expected.volumes.tolist(), abs=1e-12)
        assert batch.patches_seen == 2 * (step + 1)


def test_A9_each_patch_is_weighted_after_its_own_update(store: PatchStore) -> None:
    """With sampling off, a voxel's weight says which V it was made from."""
    made, _ = maker(store, augmentation=Augmentation.off(), schema=Schema(alpha=0.5, sampling=False))
    batch = made.make(0)
    expected = DynamicWeighting(0.5)
    for labels, weights in zip(batch.labels, batch.weights, strict=True):
        assert np.allclose(weights, expected.weigh(labels).voxel[labels])


def test_images_are_normalised_by_the_window(store: PatchStore) -> None:
    made, _ = maker(store, augmentation=Augmentation.off(), window=(-200.0, 500.0))
    images = made.make(0).images
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert float(np.median(images)) == pytest.approx((40 - 150) / 350, abs=0.05)


def test_A10_dataset_volumes_are_the_mean_of_drawn_patches(store: PatchStore) -> None:
    found = dataset_volumes(store, quick(), patches=60)
    assert sum(found) == pytest.approx(1.0)
    assert found == dataset_volumes(store, quick(), patches=60)
    assert 0.005 < found[3] < found[1] < found[2] < 0.2


def test_without_weighting_the_checkpoint_asks_for_no_correction(store: PatchStore, tmp_path: Path) -> None:
    result = train(store, tmp_path / "a.safetensors", quick(schema="none", steps=1))
    assert result.schema["V"] == [0.25] * 4


def test_training_learns(store: PatchStore, tmp_path: Path) -> None:
    settings = quick(steps=40, schema="none", learning_rate=1e-2, augmentation=Augmentation.off())
    losses = [each.loss for each in train_steps(store, tmp_path / "a.safetensors", settings)]
    assert len(losses) == 40
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:4])


VARIANTS = {
    "recommended": {},
    "strict": {"strict": True},
    "everything": {
        "ema": 0.9,
        "dice": 0.5,
        "skeleton_recall": 0.5,
        "deep_supervision": 0.3,
        "free_share": 0.5,
        "freeze_norm": 0.5,
        "schema": replace(Schema(), hard_share=0.5, alpha=0.02),
        "network": KidNetSettings(base=2, levels=3, norm="instance", average="mean_softmax"),
    },
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_off_run_reaches_the_same_weights(store: PatchStore, tmp_path: Path, variant: str) -> None:
    settings = quick(**VARIANTS[variant])
    whole = train(store, tmp_path / "whole.safetensors", settings)
    steps = train_steps(store, tmp_path / "broken.safetensors", settings)
    assert [each.done for each in islice(steps, 3)] == [1, 2, 3]
    steps.close()
    assert not (tmp_path / "broken.safetensors").exists()
    going_on = list(train_steps(store, tmp_path / "broken.safetensors", settings))
    assert [each.done for each in going_on] == [4, 5, 6]
    broken = load_checkpoint(tmp_path / "broken.safetensors")
    assert all(torch.equal(value, broken.weights[name]) for name, value in whole.weights.items())
    assert broken.hash == load_checkpoint(tmp_path / "whole.safetensors").hash
    assert broken.schema["patches_seen"] == 12


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from training.conftest import SPACING, quick, tubes
from napari_kidnet.training import PatchStore, train_steps
store = PatchStore(Path({out!r}) / "store", 16)
for seed in range(2):
    hu, labels = tubes(seed=seed)
    store.add(f"case{{seed}}", hu, SPACING, labels)
for each in train_steps(store, Path({out!r}) / "net.safetensors", quick(steps=40)):
    print(each.done, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 on this system")
def test_kill_9_loses_little_and_leaves_nothing_half_written(store: PatchStore, tmp_path: Path) -> None:
    code = SCRIPT.format(tests=str(Path(__file__).parents[1]), out=str(tmp_path))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 5:
            break
    time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    out = tmp_path / "net.safetensors"
    assert not out.exists()
    settings = quick(steps=40)
    left = list(train_steps(store, out, settings))
    assert 4 < left[0].done
    whole = train(store, tmp_path / "whole.safetensors", settings)
    assert all(
        torch.equal(value, whole.weights[name]) for name, value in load_checkpoint(out).weights.items()
    )


def test_other_settings_do_not_go_on_from_a_state(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    list(islice(train_steps(store, out, quick()), 2))
    with pytest.raises(SettingsError, match="another seed"):
        next(train_steps(store, out, quick(seed=1)))
    assert next(train_steps(store, out, quick(seed=1), resume=False)).done == 1
    state = tmp_path / "a.training" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:-50])
    with pytest.raises(CheckpointError, match="damaged"):
        next(train_steps(store, out, quick(seed=1)))


def test_a_failure_in_the_middle_of_a_step_saves_no_state(
    store: PatchStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, settings = tmp_path / "a.safetensors", quick(ema=0.9, save_every=100)
    steps = train_steps(store, out, settings)
    next(steps)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(AveragedWeights, "update", fail)  # after Adam's step, before it is counted
        with pytest.raises(KeyboardInterrupt):
            next(steps)
    resumed = train(store, out, settings)
    whole = train(store, tmp_path / "whole.safetensors", settings)
    assert all(torch.equal(value, whole.weights[name]) for name, value in resumed.weights.items())


def test_the_result_says_how_it_was_made(store: PatchStore, tmp_path: Path) -> None:
    out = tmp_path / "a.safetensors"
    given = train(store, out, quick(seed=5))
    found = load_checkpoint(out)
    assert found.hash == load_checkpoint(tmp_path / "a.training" / "latest.safetensors").hash
    assert found.record["cases"] == ["case0", "case1"]
    assert (found.record["seed"], found.record["steps"], len(found.record["loss_curve"])) == (5, 6, 6)
    assert found.record["settings"]["patch_voxels"] == EDGE
    assert found.schema["name"] == "dw+rs"
    assert found.schema["patches_seen"] == 12
    assert sum(found.schema["V"]) == pytest.approx(1)
    assert found.window == (-200.0, 500.0)
    assert given.sensitivity == 0.5
    strict = train(store, tmp_path / "strict.safetensors", quick(strict=True, steps=1))
    assert (strict.sensitivity, strict.window) == (1.0, (-160.0, 240.0))


def test_weights_to_start_from(store: PatchStore, tmp_path: Path) -> None:
    first = train(store, tmp_path / "a.safetensors", quick(steps=2))
    settings = quick(steps=1, learning_rate=1e-12)
    second = train(TrainInputs(store, initial=first), tmp_path / "b.safetensors", settings)
    assert second.parent == first.hash
    same = [name for name in first.weights if "running" not in name]
    assert all(torch.allclose(first.weights[name], second.weights[name], atol=1e-6) for name in same)
    other = TrainInputs(store, initial=replace(first, network=KidNetSettings(base=4, levels=3)))
    with pytest.raises(SettingsError, match="another network"):
        next(train_steps(other, tmp_path / "c.safetensors", settings))


def test_a_place_that_cannot_be_written_is_told_at_once(store: PatchStore, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        next(train_steps(store, tmp_path / "none" / "a.safetensors", quick()))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    folder = tmp_path_factory.mktemp("cases")
    for seed in range(2):
        hu, labels = tubes((32, 48, 40), seed)
        hu[:, :, 37:] = -1000
        scan = Scan.from_array(hu, (1.0, 1.0, 1.0), f"c{seed}")
        write_scan(folder / f"c{seed}_ct.nii.gz", scan)
        write_labels(folder / f"c{seed}_labels.nii.gz", labels, like=scan)
    return [read_case(folder / f"c{seed}_ct.nii.gz") for seed in range(2)]


def test_validation_chooses_the_checkpoint_and_its_sensitivity(cases: list[Case], tmp_path: Path) -> None:
    settings = quick(steps=4, validate_every=2, spacing=(1.25, 1.25, 1.25))
    out = tmp_path / "a.safetensors"
    reports = list(train_steps(TrainInputs(cases[:1], cases[1:]), out, settings))
    found = [each for each in reports if each.validation is not None]
    assert [each.done for each in found] == [2, 4]
    best = max((each.validation.mean_f1 for each in found if each.validation), default=-1)
    result = load_checkpoint(out)
    assert result.spacing == (1.25, 1.25, 1.25)
    listed = result.record["validations"]
    assert max(each["mean_f1"] for each in listed) == pytest.approx(best)
    chosen = next(each for each in listed if each["mean_f1"] == best)
    assert result.sensitivity == chosen["sensitivity"]
    assert (tmp_path / "a.training" / "patches" / "c0" / "hu.npy").exists()


def test_the_best_sensitivity_is_that_of_the_mean_over_cases_and_classes() -> None:
    scores = np.full((2, 11, 3), 0.2)
    scores[:, 4] = [[0.9, 0.8, np.nan], [0.7, 0.6, np.nan]]
    scores[:, :, 2] = np.nan  # no case has a ureter
    found = best_of(scores)
    assert found.sensitivity == 0.4
    assert found.f1 == {"artery": pytest.approx(0.8), "vein": pytest.approx(0.7)}
    assert found.mean_f1 == pytest.approx(0.75)
    assert best_of(np.full((1, 11, 3), 0.5)).sensitivity == 1.0  # a tie goes to the paper's decision
    assert best_of(np.full((1, 11, 3), np.nan)).mean_f1 == 0.0


def test_bfloat16_is_not_used_where_its_gradients_are_wrong() -> None:
    cpu = torch.device("cpu")
    assert pick_precision("auto", cpu, 2, False) == "float32"
    assert pick_precision("auto", cpu, 8, True) == "float32"
    assert pick_precision("bfloat16", cpu, 4, False) == "bfloat16"
    with pytest.raises(SettingsError, match="2 voxels"):
        pick_precision("bfloat16", cpu, 2, False)
