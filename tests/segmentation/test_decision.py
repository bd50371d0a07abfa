from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_kidnet.segmentation import class_weights, decide
from napari_kidnet.segmentation.decision import log_softmax

volumes = st.tuples(*(st.floats(1e-5, 1.0) for _ in range(4)))
logits = hnp.arrays(np.float32, (4, 6, 5, 3), elements=st.floats(-20, 20, width=32))


@given(logits, volumes)
def test_full_sensitivity_is_the_argmax_of_the_paper(scores, volume):
    labels = decide(scores, class_weights(volume), 1.0)
    np.testing.assert_array_equal(labels, scores.argmax(axis=0))


@given(logits, volumes, st.floats(0, 1), st.floats(0, 1))
def test_vessels_only_grow_with_the_sensitivity(scores, volume, one, other):
    low, high = sorted((one, other))
    weights = class_weights(volume)
    fewer, more = decide(scores, weights, low) > 0, decide(scores, weights, high) > 0
    assert not (fewer & ~more).any()


@given(logits, st.floats(0, 1))
def test_the_decision_is_the_formula_where_background_is_the_most_frequent(scores, sensitivity):
    weights = class_weights([0.9, 0.05, 0.04, 0.01])
    log_p = log_softmax(scores).astype(np.float64)
    tau = 1.0 - sensitivity
    score = log_p - tau * np.log(weights)[:, None, None, None]
    best, second = np.sort(score, axis=0)[[-1, -2]]
    clear = best - second > 1e-4
    labels = decide(log_softmax(scores), weights, sensitivity)
    np.testing.assert_array_equal(labels[clear], score.argmax(axis=0)[clear])


def test_half_precision_and_any_number_of_axes_are_taken():
    log_p = np.log(np.array([[0.3, 0.9], [0.5, 0.05], [0.1, 0.03], [0.1, 0.02]], np.float32))
    weights = class_weights([0.25] * 4)
    for array in (log_p, log_p.astype(np.float16)):
        assert decide(array, weights, 0.5).tolist() == [1, 0]
        assert decide(array[:, None, :], weights, 0.5).tolist() == [[1, 0]]


def test_a_class_that_was_never_seen_has_a_finite_weight():
    assert np.isfinite(class_weights([1.0, 0.0, 0.0, 0.0])).all()


def test_log_softmax_is_the_logarithm_of_probabilities():
    log_p = log_softmax(np.array([[0.0], [1000.0], [3.0], [-5.0]], np.float32))
    assert np.exp(log_p).sum() == pytest.approx(1.0)
    assert log_p[1, 0] == pytest.approx(0.0)
