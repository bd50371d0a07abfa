import numpy as np
import pytest

from napari_kidnet.islands import Context, find_islands
from napari_kidnet.segmentation.decision import decide, log_softmax
from napari_kidnet.segmentation.prediction import Answer
from napari_kidnet.segmentation.uncertainty import (
    calibration_error,
    corrected,
    entropy,
    entropy_where_asked,
    fit_temperature,
    uncertainty_of,
)

WEIGHTS = np.array([0.3, 20.0, 20.0, 60.0])
SHAPE = (6, 7, 8)


@pytest.fixture
def logits(rng):
    return (3 * rng.normal(size=(4, *SHAPE))).astype(np.float32)


def prediction_of(logits, keep, sensitivity=0.3):
    answer = Answer(logits.shape[1:], WEIGHTS, sensitivity, 1.0, keep)
    answer.take(tuple(slice(0, n) for n in logits.shape[1:]), logits)
    return answer.finish("test")


def test_a_sure_voxel_has_none_and_four_equal_classes_have_all():
    log = np.log(np.array([[0.25, 1 - 3e-9], [0.25, 1e-9], [0.25, 1e-9], [0.25, 1e-9]])).reshape(4, 1, 1, 2)
    assert entropy(log).reshape(-1).tolist() == pytest.approx([1.0, 0.0], abs=1e-3)


def test_zero_probability_is_no_accident():
    with np.errstate(divide="ignore"):
        log = np.log(np.array([1.0, 0.0, 0.0, 0.0])).reshape(4, 1, 1, 1)
    assert entropy(log).tolist() == [[[0.0]]]


def test_what_is_labelled_is_the_most_probable_class_after_correction(logits):
    log = log_softmax(logits)
    assert np.array_equal(corrected(log, WEIGHTS, 0.3, 1.7).argmax(axis=0), decide(log, WEIGHTS, 0.3))


def test_asked_voxel_by_voxel_it_is_the_same(logits):
    log = log_softmax(logits)
    place = np.nonzero(logits[0] > 0)
    asked = entropy_where_asked(log, WEIGHTS, 0.3)
    assert asked.shape == SHAPE
    assert np.allclose(asked[place], entropy(log, WEIGHTS, 0.3)[place], atol=2e-3)


def test_a_higher_temperature_is_less_sure(logits):
    log = log_softmax(logits)
    assert entropy(log, temperature=3.0).mean() > entropy(log, temperature=1.0).mean()


def test_candidates_know_what_the_dense_probabilities_know(logits):
    logits[:, 0] = np.array([9.0, 0, 0, 0])[:, None, None]  # no candidates here
    prediction = prediction_of(logits, keep=True)
    labels, sparse = prediction.labels, uncertainty_of(prediction)
    dense = entropy(prediction.log_probabilities, prediction.class_weights, prediction.sensitivity)
    where = np.nonzero(labels)
    assert sparse[where] == pytest.approx(dense[where].astype(float), abs=2e-3)
    assert not sparse[np.nonzero(labels[:1] == 0)].any()


def test_the_table_of_islands_takes_it(logits):
    prediction = prediction_of(logits, keep=False)
    table = find_islands(prediction.labels, Context(uncertainty=uncertainty_of(prediction)))
    assert np.isfinite(table.uncertainty).all()
    assert ((table.uncertainty >= 0) & (table.uncertainty <= 1)).all()


def test_nothing_is_known_without_a_prediction():
    assert uncertainty_of(None) is None


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_again(rng, true):
    log = log_softmax((2 * rng.normal(size=(4, 20_000))).astype(np.float32))
    truth = np.array([rng.choice(4, p=q / q.sum()) for q in np.exp(log.T.astype(float))])
    scaled = log * true  # too sure by this factor
    found = fit_temperature([(scaled, truth)])
    assert found == pytest.approx(true, rel=0.05)
    assert calibration_error(log_softmax(scaled / np.float32(found)), truth) < 0.02
