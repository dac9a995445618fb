import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from kitsolve.inference.members import ACTIVATIONS
from kitsolve.training.losses import add_margin, balance_classes, compute_loss, loss_of_outputs


def test_a_uniform_guess_costs_the_log_of_the_number_of_classes():
    loss = compute_loss(torch.zeros(5, 4), torch.arange(5) % 4, activation="softmax")
    assert loss.item() == pytest.approx(math.log(4))


def test_not_knowing_costs_the_log_of_two_for_each_label():
    targets = torch.tensor([[1, 0, 1], [0, 0, 1]], dtype=torch.uint8)
    assert compute_loss(torch.zeros(2, 3), targets, activation="sigmoid").item() == pytest.approx(math.log(2))


def test_a_value_costs_its_squared_distance():
    loss = compute_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([[0.0], [1.0]]), activation="identity")
    assert loss.item() == pytest.approx((1 + 4) / 2)


def test_smoothing_moves_the_best_answer_inwards():
    logits = torch.zeros(1, 1, requires_grad=True)
    for _ in range(500):
        loss = compute_loss(logits, torch.ones(1, 1), activation="sigmoid", smoothing=0.2)
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert torch.sigmoid(logits).item() == pytest.approx(0.9, abs=1e-3)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "identity"])
def test_the_loss_of_activated_outputs_is_that_of_the_logits(activation):
    torch.manual_seed(0)
    logits = torch.randn(7, 3)
    targets = torch.arange(7) % 3 if activation == "softmax" else torch.rand(7, 3)
    outputs = {"softmax": logits.softmax(1), "sigmoid": logits.sigmoid(), "identity": logits}[activation]
    expected = compute_loss(logits, targets, activation=activation).item()
    assert loss_of_outputs(outputs.numpy(), targets.numpy(), activation=activation) == pytest.approx(expected, abs=1e-5)


def test_a_sure_mistake_stays_finite():
    assert np.isfinite(loss_of_outputs(np.array([[1.0, 0.0]]), np.array([1]), activation="softmax"))


def test_a_focal_loss_counts_what_is_right_already_less():
    logits, targets = torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 0])
    plain, focal = (
        [compute_loss(logits[[row]], targets[[row]], activation="softmax", kind=kind).item() for row in (0, 1)]
        for kind in ("auto", "focal")
    )
    assert focal[1] == pytest.approx(plain[1] * 0.25)
    assert focal[0] < plain[0] * 0.001


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_soft_targets_of_certainty_are_the_hard_ones(activation):
    logits = torch.randn(5, 3)
    hard = torch.arange(5) % 3
    soft = torch.nn.functional.one_hot(hard, 3).float()
    for kind in ("auto", "focal"):
        given = soft if activation == "sigmoid" else hard
        expected = compute_loss(logits, given, activation=activation, kind=kind)
        torch.testing.assert_close(compute_loss(logits, soft, activation=activation, kind=kind), expected)


def test_a_large_distance_counts_by_its_length_not_by_its_square():
    logits, targets = torch.tensor([[10.0]]), torch.tensor([[0.0]])
    assert compute_loss(logits, targets, activation="identity", kind="smooth_l1").item() == pytest.approx(9.5)


def test_balanced_weights_make_rare_classes_count_as_much_as_frequent_ones():
    targets = np.array([0] * 9 + [1])
    weights = balance_classes(targets, 2)
    assert (weights[targets[targets == 0]].sum(), weights[1]) == (pytest.approx(5), pytest.approx(5))
    sets = np.array([[1, 0], [0, 0], [0, 0], [0, 0]])
    assert balance_classes(sets, 2)[0] == pytest.approx(3)


def test_a_margin_lowers_the_true_class_alone():
    cosines = torch.tensor([[0.5, 0.2, -0.3]])
    widened = add_margin(30 * cosines, torch.tensor([0]), 0.3)
    assert widened[0, 0].item() == pytest.approx(30 * math.cos(math.acos(0.5) + 0.3), abs=1e-3)
    torch.testing.assert_close(widened[0, 1:], 30 * cosines[0, 1:], atol=1e-3, rtol=0)
    torch.testing.assert_close(add_margin(30 * cosines, torch.tensor([0]), 0.0), 30 * cosines, atol=1e-3, rtol=0)


def test_a_soft_target_shares_the_margin():
    logits = 30 * torch.tensor([[0.5, 0.5]])
    widened = add_margin(logits, torch.tensor([[0.5, 0.5]]), 0.4)
    assert widened[0].tolist() == pytest.approx([30 * math.cos(math.acos(0.5) + 0.2)] * 2, abs=1e-3)


def test_arcface_is_the_cross_entropy_of_the_widened_angles():
    logits, targets = 30 * torch.tensor([[0.5, 0.2], [0.1, 0.6]]), torch.tensor([0, 1])
    expected = cross_entropy(add_margin(logits, targets, 0.3), targets)
    found = compute_loss(logits, targets, activation="softmax", kind="arcface", margin=0.3)
    torch.testing.assert_close(found, expected)


def test_corn_learns_each_threshold_from_the_rows_above_the_one_before():
    """Classes 0, 1, 2 as P(class > 0), P(class > 1): the second logit of class 0 says nothing."""
    logits, targets = torch.tensor([[0.3, 99.0], [0.2, -0.4], [1.0, 0.7]]), torch.tensor([[0.0, 0], [1, 0], [1, 1]])
    sure = torch.sigmoid(logits)
    terms = [1 - sure[0, 0], sure[1, 0], sure[2, 0], 1 - sure[1, 1], sure[2, 1]]
    expected = -sum(term.log() for term in terms) / 5
    torch.testing.assert_close(compute_loss(logits, targets, activation="corn", kind="corn"), expected)


def test_corn_probabilities_fall_from_threshold_to_threshold():
    probs = ACTIVATIONS["corn"](torch.randn(50, 4))
    assert (probs.diff(dim=1) <= 0).all()
    assert ACTIVATIONS["corn"](torch.zeros(1, 3)).tolist() == [[0.5, 0.25, 0.125]]
