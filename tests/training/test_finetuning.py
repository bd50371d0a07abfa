"""Fine-tuning: partial labels, refusals, resuming, lineage."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from napari_kidnet.errors import CheckpointError, KidnetError, LabelsError, OutputError, SettingsError
from napari_kidnet.network import load_checkpoint, save_checkpoint
from napari_kidnet.progress import Progress
from napari_kidnet.training import finetuning
from napari_kidnet.training.corrections import Correction, check_exchanged
from napari_kidnet.training.finetuning import FinetuneProgress, FinetuneResult, finetune, finetune_steps
from napari_kidnet.training.guard import Figures, Guard
from napari_kidnet.training.learning_set import learning_set
from napari_kidnet.training.lineage import activate, active_checkpoint, describe_tree, file_hash, lineage
from napari_kidnet.training.patches import PatchStore
from napari_kidnet.training.replay import MixedStore
from napari_kidnet.training.tuner import Tuner
from napari_kidnet.training.weighting import DynamicWeighting
from tests.training.finetuning_scenes import SHAPE, checkpoint, correction, few_phantoms, quick, tubes

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@pytest.fixture(autouse=True)
def phantoms(monkeypatch: pytest.MonkeyPatch) -> None:
    few_phantoms(monkeypatch)


def mixed(each: Correction, tmp_path: Path, edited_share: float = 0.0) -> MixedStore:
    store = PatchStore(tmp_path / "store", 16)
    seen = None if each.reviewed.all() else each.reviewed
    store.add(each.name, each.scan.hu, each.scan.spacing, each.labels, seen)
    return MixedStore(store, [np.ones(4, dtype=bool)], [np.zeros((0, 3), np.int16)], edited_share)


def half() -> np.ndarray:
    reviewed = np.zeros(SHAPE, dtype=bool)
    reviewed[:, :20] = True
    return reviewed


def drained(steps: finetuning.FinetuneSteps) -> tuple[list[FinetuneProgress], FinetuneResult]:
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as stop:
            return told, stop.value


def test_a_fine_tuning_from_beginning_to_end(tmp_path: Path) -> None:
    parent = checkpoint()
    told, result = drained(
        finetune_steps(parent, [correction(1), correction(2)], tmp_path / "b.safetensors", quick())
    )
    steps = [each for each in told if each.loss == each.loss]
    assert [each.done for each in steps] == [1, 2, 3, 4]
    assert {each.total for each in told} == {4}
    assert all(each.loss > 0 and len(each.class_loss) == len(each.volumes) == 4 for each in steps)
    assert steps[-1].figures is not None
    made = load_checkpoint(result.candidate)
    assert result.activated
    assert active_checkpoint(tmp_path) == result.candidate
    assert made.parent == parent.hash
    assert made.schema["patches_seen"] == 5000 + 4 * 2
    assert made.schema["alpha"] == 0.002
    assert sum(made.schema["V"]) == pytest.approx(1)
    about = made.record["finetuning"]
    assert about["steps"] == 4
    assert {each["role"] for each in about["scans"]} == {"training", "validation"}
    assert set(about["scans"][0]) == {"name", "hash", "role"}
    assert about["after"] == result.after.as_dict()
    assert not (tmp_path / "b.finetuning").exists()
    changed = [name for name in parent.weights if not torch.equal(parent.weights[name], made.weights[name])]
    assert changed
    assert not [name for name in changed if "running" in name]  # statistics stay those of the training


def test_only_the_decoder_learns_in_the_light_mode(tmp_path: Path) -> None:
    parent = checkpoint()
    result = finetune(parent, [correction(1)], tmp_path / "b.safetensors", quick(mode="decoder"))
    made = load_checkpoint(result.candidate)
    changed = {
        name.split(".")[0]
        for name in parent.weights
        if not torch.equal(parent.weights[name], made.weights[name])
    }
    assert "encoder" not in changed
    assert changed >= {"decoder", "heads"}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "b.safetensors").write_bytes(b"hours of work")
    with pytest.raises(OutputError, match="never writes over"):
        finetune(checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick())
    assert (tmp_path / "b.safetensors").read_bytes() == b"hours of work"


@pytest.mark.parametrize("interrupted", [1, 3])
@pytest.mark.parametrize("mode", ["whole", "decoder"])
def test_a_killed_run_reaches_the_weights_of_an_unbroken_one(
    tmp_path: Path, interrupted: int, mode: str
) -> None:
    """What is on the disk after a step is all that a kill -9 leaves."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir()
    settings, cases = quick(mode=mode), [correction(1, half())]
    steps = finetune_steps(checkpoint(), cases, whole / "b.safetensors", settings)
    for step in steps:
        if step.done == interrupted and step.loss == step.loss:
            shutil.copytree(whole, broken)
    again, _ = drained(finetune_steps(checkpoint(), cases, broken / "b.safetensors", settings))
    assert [each.done for each in again if each.loss == each.loss] == list(range(interrupted + 1, 5))
    one, other = (load_checkpoint(each / "b.safetensors") for each in (whole, broken))
    assert one.schema["V"] == other.schema["V"]
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_run_killed_after_its_checkpoint_is_finished_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(finetuning, "activate", killed)
    with pytest.raises(KeyboardInterrupt):
        finetune(checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick())
    assert active_checkpoint(tmp_path) is None
    monkeypatch.setattr(finetuning, "activate", activate)
    result = finetune(checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick())
    assert result.activated
    assert active_checkpoint(tmp_path) == tmp_path / "b.safetensors"


def test_cancelling_changes_nothing_and_other_settings_do_not_go_on_from_it(tmp_path: Path) -> None:
    steps = finetune_steps(checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick())
    while next(steps).done < 2:
        pass
    steps.close()
    assert not (tmp_path / "b.safetensors").exists()
    assert active_checkpoint(tmp_path) is None
    other = quick(learning_rate=1e-4)
    with pytest.raises(SettingsError, match="another settings"):
        finetune(checkpoint(), [correction(1)], tmp_path / "b.safetensors", other)


def test_cancelled_while_measuring_it_measures_the_next_time(tmp_path: Path) -> None:
    settings = quick(validations=2)
    steps = finetune_steps(checkpoint(), [correction(1)], tmp_path / "b.safetensors", settings)
    for step in steps:
        if step.done == 2 and step.what.startswith("Measuring"):
            break
    steps.close()
    told, result = drained(
        finetune_steps(checkpoint(), [correction(1)], tmp_path / "b.safetensors", settings)
    )
    begun = next(number for number, each in enumerate(told) if each.done == 3)
    assert any(each.done == 2 and each.what.startswith("Measuring on") for each in told[:begun])
    assert result.activated


def test_what_is_refused_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(LabelsError):
        finetune(
            checkpoint(), [correction(1, np.zeros(SHAPE, dtype=bool))], tmp_path / "b.safetensors", quick()
        )
    assert list(tmp_path.iterdir()) == []


def test_stopping_keeps_the_best_so_far(tmp_path: Path) -> None:
    steps = finetune_steps(checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick(steps=50))
    while next(steps).done < 2:
        pass
    assert steps.send("stop").done == 2
    _, result = drained(steps)
    assert load_checkpoint(result.candidate).record["finetuning"]["steps"] == 2


def test_a_budget_of_time_becomes_a_number_of_steps(tmp_path: Path) -> None:
    told, _ = drained(
        finetune_steps(
            checkpoint(), [correction(1)], tmp_path / "b.safetensors", quick(steps=None, minutes=0.001)
        )
    )
    last = [each for each in told if each.loss == each.loss][-1]
    # the time is over before the first step: a few are done all the same, or fewer on a slow machine
    assert 1 <= last.done <= last.total or last.done <= 16
    assert last.seconds_left is None or last.seconds_left >= 0


def test_without_replay_the_old_opinion_is_kept_where_nobody_reviewed(tmp_path: Path) -> None:
    def moved(distillation: float, name: str) -> float:
        settings = quick(distillation=distillation, steps=12, learning_rate=1e-2)
        parent, cases = checkpoint(), [correction(1, half())]
        result = finetune(parent, cases, tmp_path / f"{name}.safetensors", settings, replay=None)
        from napari_kidnet.network.checkpoint import build_network

        image = torch.from_numpy(np.clip(cases[0].scan.hu / 350 - 0.43, -1, 1)).float()[None, None]
        with torch.no_grad():
            before, after = (
                torch.softmax(build_network(each)(image), 1)[..., 20:, :]
                for each in (parent, load_checkpoint(result.candidate))
            )
        return float((before - after).abs().mean())

    assert moved(50.0, "held") < moved(0.0, "free")


# --- partial labels ---


def test_unreviewed_voxels_weigh_nothing_whatever_their_labels_say(tmp_path: Path) -> None:
    honest = correction(1, half())
    nonsense = honest.labels.copy()
    nonsense[:, 20:] = np.random.default_rng(0).integers(0, 4, nonsense[:, 20:].shape)
    found = []
    for name, labels in (("a", honest.labels), ("b", nonsense)):
        result = finetune(
            checkpoint(), [replace(honest, labels=labels)], tmp_path / f"{name}.safetensors", quick()
        )
        shutil.rmtree(tmp_path / "kidnet.replay")
        found.append(load_checkpoint(result.candidate))
    one, other = found
    assert one.schema["V"] == other.schema["V"]
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_a_likely_vessel_nobody_reviewed_keeps_background_samples_away(tmp_path: Path) -> None:
    from napari_kidnet.segmentation.prediction import Candidates, Prediction
    from napari_kidnet.training.corrections import with_suspected

    each = correction(1, half())
    _, truth = tubes(1)
    index = np.flatnonzero(truth == 3)
    sure, unsure = index[: len(index) // 2], index[len(index) // 2 :]
    odds = np.full((3, len(index)), -5.0, np.float32)
    odds[2] = np.where(np.isin(index, sure), 2.5, 2.0)  # p = .92 and .88
    prediction = Prediction(
        np.zeros(SHAPE, np.uint8), 1.0, np.ones(4), Candidates(SHAPE, index.astype(np.uint32), odds)
    )
    labels = with_suspected(each, prediction)
    assert (labels.ravel()[sure] == 3).all()
    assert (labels.ravel()[unsure] == 0).all()
    assert np.array_equal(labels[each.reviewed], each.labels[each.reviewed])


def test_a_class_nobody_reviewed_keeps_its_volume() -> None:
    weighting = DynamicWeighting(0.1, [0.9, 0.05, 0.04, 0.01])
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[0] = 1
    for _ in range(50):
        weighting.weigh(labels, None, np.array([True, True, True, False]))
    assert weighting.volumes[3] == pytest.approx(0.01)
    assert weighting.volumes.sum() == pytest.approx(1)
    assert weighting.volumes[2] < 0.001
    assert weighting.volumes[1] == pytest.approx(0.25 * 0.99, rel=0.05)


def test_class_weights_are_capped_and_the_loss_stays_a_number(tmp_path: Path) -> None:
    """A class that the checkpoint has never seen has V = 0."""
    parent = checkpoint()
    parent = replace(parent, schema=parent.schema | {"V": [0.95, 0.05, 0.0, 0.0]})
    told, _ = drained(finetune_steps(parent, [correction(1)], tmp_path / "b.safetensors", quick()))
    steps = [each for each in told if each.loss == each.loss]
    assert steps
    assert all(max(each.class_weights) <= 1000 and np.isfinite(each.loss) for each in steps)


def test_patches_are_drawn_where_the_person_disagreed(tmp_path: Path) -> None:
    each = correction(1)
    wrong = np.zeros(SHAPE, dtype=bool)
    wrong[12, 16, 10:12] = True
    found = learning_set([replace(each, edited=wrong)], checkpoint(), tmp_path, quick())
    assert found.edited[0].tolist() == np.argwhere(wrong).tolist()
    mixture = MixedStore(found.store, [np.ones(4, dtype=bool)], found.edited, 0.5)
    places = [mixture.draw(np.random.default_rng(seed)) for seed in range(200)]
    hits = sum(place.centre in {(12, 16, 10), (12, 16, 11)} for place in places)
    assert 70 < hits < 130


def test_a_loss_that_is_no_number_ends_the_run_with_a_sentence(tmp_path: Path) -> None:
    store = mixed(correction(1), tmp_path)
    tuner = Tuner(checkpoint(), store, quick(), {})
    batch = next(tuner.batches(lambda _: 1))
    batch.weights[:] = np.nan
    with pytest.raises(SettingsError, match="learning rate"):
        tuner.step(batch)
    assert tuner.done == 0


# --- bad corrections ---


def test_nothing_reviewed(tmp_path: Path) -> None:
    nothing = correction(1, np.zeros(SHAPE, dtype=bool))
    with pytest.raises(LabelsError, match="Nothing in scan1 is marked as reviewed"):
        finetune(checkpoint(), [nothing], tmp_path / "b.safetensors", quick())


def test_all_labels_empty(tmp_path: Path) -> None:
    empty = correction(1, labels=np.zeros(SHAPE, np.uint8))
    with pytest.raises(LabelsError, match="holds no vessel"):
        finetune(checkpoint(), [empty], tmp_path / "b.safetensors", quick())


def test_a_label_that_is_no_class(tmp_path: Path) -> None:
    each = correction(1)
    fourth = np.where(each.labels == 3, 4, each.labels).astype(np.uint8)
    with pytest.raises(LabelsError, match="scan1 have class 4"):
        finetune(checkpoint(), [replace(each, labels=fourth)], tmp_path / "b.safetensors", quick())


def test_the_old_opinion_is_held_beside_replay_where_nobody_reviewed(tmp_path: Path) -> None:
    """With everything reviewed there is nothing to hold: the same weights come out, whatever it weighs."""
    same, apart = [], []
    for reviewed, found in ((None, same), (half(), apart)):
        for distillation in (0.0, 20.0):
            folder = tmp_path / f"{reviewed is None}-{distillation}"
            folder.mkdir()
            settings = quick(distillation=distillation)
            case = correction(1, reviewed)
            found.append(
                load_checkpoint(finetune(checkpoint(), [case], folder / "b.safetensors", settings).candidate)
            )
    for found, alike in ((same, True), (apart, False)):
        one, other = found
        assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights) == alike


@pytest.mark.parametrize(("wrong", "told"), [(0.0, False), (0.85, False), (0.95, True)])
def test_exchanged_artery_and_vein_are_told(wrong: float, told: bool) -> None:
    """A network that is wrong about much of one class may well be corrected."""
    size = 2000
    labels = np.repeat(np.array([1, 2], np.uint8), size)[None, None]
    said = labels.copy()
    said[..., : int(wrong * size)] = 2
    said[..., size : size + int(0.95 * size)] = 1
    scan, _ = tubes(1)
    case = Correction("scan1", "0" * 64, scan, labels, np.ones(labels.shape, dtype=bool))
    if told:
        with pytest.raises(LabelsError, match=r"exchanged in scan1: .* calls 95% vein"):
            check_exchanged(case, said)
    else:
        check_exchanged(case, said)


def test_one_stray_voxel(tmp_path: Path) -> None:
    stray = np.zeros(SHAPE, np.uint8)
    stray[5, 5, 5] = 2
    with pytest.raises(LabelsError, match="specks"):
        finetune(checkpoint(), [correction(1, labels=stray)], tmp_path / "b.safetensors", quick())


def test_no_scans(tmp_path: Path) -> None:
    with pytest.raises(KidnetError, match="no corrected scans"):
        finetune(checkpoint(), [], tmp_path / "b.safetensors", quick())


def test_an_unusable_checkpoint_in_use(tmp_path: Path) -> None:
    (tmp_path / "active.json").write_text('{"active": "gone.safetensors"}')
    with pytest.raises(CheckpointError, match="gone"):
        finetune(None, [correction(1)], tmp_path / "b.safetensors", quick())


@pytest.mark.parametrize(
    ("name", "value"),
    [("steps", 0), ("minutes", float("nan")), ("mode", "all"), ("schema", "x"), ("replay_share", 1.0)],
)
def test_settings_are_refused_with_a_sentence(name: str, value: object) -> None:
    with pytest.raises(SettingsError, match="choose"):
        quick(**{name: value})


# --- lineage ---


def test_generations_form_a_tree_and_rolling_back_is_bit_identical(tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    save_checkpoint(first, checkpoint())
    before = first.read_bytes()
    finetune(first, [correction(1)], tmp_path / "second.safetensors", quick())
    finetune(None, [correction(2)], tmp_path / "third.safetensors", quick())
    (tmp_path / "foreign.safetensors").write_bytes(b"something else")
    nodes = lineage(tmp_path)
    assert [(each.path.stem, each.depth, each.active) for each in nodes] == [
        ("first", 0, False),
        ("second", 1, False),
        ("third", 2, True),
    ]
    assert nodes[2].parent == nodes[1].hash == file_hash(tmp_path / "second.safetensors")
    lines = describe_tree(nodes).splitlines()
    assert lines[2].startswith("    * third.safetensors")
    assert "scan2" in lines[2]
    ancestry = load_checkpoint(tmp_path / "third.safetensors").record["ancestry"]
    assert [each["hash"] for each in ancestry] == [nodes[1].hash]
    activate(first)
    assert active_checkpoint(tmp_path) == first
    assert first.read_bytes() == before


def test_a_worse_network_is_a_candidate_and_the_old_one_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "first.safetensors"
    save_checkpoint(first, checkpoint())
    own = load_checkpoint(first).hash

    def measure(self: object, asked: object) -> Generator[Progress, None, Figures]:
        yield Progress(0, 1, "measuring")
        value = 0.8 if getattr(asked, "parent", None) is None else 0.7
        return Figures({"artery": value}, value, value, None, 0)

    def choose(self: object, asked: object) -> Generator[Progress, None, tuple[float, Figures]]:
        return 0.5, (yield from measure(self, asked))

    monkeypatch.setattr(Guard, "measure_steps", measure)
    monkeypatch.setattr(Guard, "choose_steps", choose)
    result = finetune(first, [correction(1)], tmp_path / "b.safetensors", quick(largest_drop=0.02))
    assert not result.activated
    assert "0.800" in result.reason
    assert "0.700" in result.reason
    assert load_checkpoint(result.candidate).parent == own
    assert active_checkpoint(tmp_path) == first
    assert json.loads((tmp_path / "active.json").read_text())["hash"] == own


# --- what it is for ---


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint that has learned a little."""
    path = tmp_path_factory.mktemp("learned") / "first.safetensors"
    start = checkpoint()
    start = replace(start, schema=start.schema | {"V": [0.9, 0.035, 0.035, 0.03]})
    with pytest.MonkeyPatch.context() as patching:
        few_phantoms(patching)
        result = finetune(start, [correction(1)], path, quick(steps=60, learning_rate=1e-2, save_every=100))
    assert result.after.mean_f1 > result.before.mean_f1 + 0.2
    return path


def test_exchanged_classes_are_caught_and_the_old_checkpoint_stays(learned: Path, tmp_path: Path) -> None:
    first = tmp_path / "first.safetensors"
    shutil.copy(learned, first)
    exchanged = correction(2)
    exchanged = replace(exchanged, labels=np.array([0, 2, 1, 3], np.uint8)[exchanged.labels])
    settings = quick(steps=20, learning_rate=1e-2, largest_drop=0.02)
    result = finetune(first, [exchanged], tmp_path / "second.safetensors", settings, replay=None)
    assert not result.activated
    assert "stays active" in result.reason
    assert active_checkpoint(tmp_path) == first


def test_vessels_nobody_reviewed_are_not_erased(learned: Path, tmp_path: Path) -> None:
    """One half was reviewed, and the vessels of the other one are not labelled."""
    from napari_kidnet.segmentation import SegmentSettings, segment

    half_way = SHAPE[0] // 2
    reviewed = np.zeros(SHAPE, dtype=bool)
    reviewed[:half_way] = True
    whole = correction(2)
    half_done = replace(whole, reviewed=reviewed, labels=np.where(reviewed, whole.labels, 0).astype(np.uint8))
    settings = quick(steps=30, learning_rate=3e-3)

    def recall(made: Path) -> float:
        wish = SegmentSettings(device="cpu", engine="torch", threads=1)
        found = segment(whole.scan, load_checkpoint(made), wish)[half_way:]
        truth = whole.labels[half_way:]
        return float((found[truth > 0] == truth[truth > 0]).mean())

    def after(case: Correction, name: str) -> float:
        return recall(finetune(learned, [case], tmp_path / name, settings, replay=None).candidate)

    before = recall(learned)
    partial = after(half_done, "partial.safetensors")
    as_if_all = after(replace(half_done, reviewed=np.ones(SHAPE, dtype=bool)), "all.safetensors")
    assert before > 0.4
    assert partial > before - 0.02
    assert as_if_all < partial - 0.03
