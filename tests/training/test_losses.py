import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from kitsolve.inference.members import ACTIVATIONS
from kitsolve.training.losses import (
    LossChoices,
    add_margin,
    balance_classes,
    compute_loss,
    loss_of_outputs,
    sum_losses,
    weigh_batch,
)


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


def test_a_weight_belongs_to_the_rows_true_class_not_to_what_is_smoothed():
    torch.manual_seed(0)
    logits, targets, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1]), torch.tensor([0.5, 1.0, 30.0])
    smoothed = cross_entropy(logits, targets, label_smoothing=0.2, reduction="none")
    expected = (weights[targets] * smoothed).sum() / weights[targets].sum()
    found = compute_loss(logits, targets, activation="softmax", smoothing=0.2, weights=weights)
    torch.testing.assert_close(found, expected)


def test_without_smoothing_weights_are_those_of_torch():
    logits, targets, weights = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1]), torch.tensor([0.5, 1.0, 30.0])
    found = compute_loss(logits, targets, activation="softmax", weights=weights)
    torch.testing.assert_close(found, cross_entropy(logits, targets, weight=weights))
    sets = one_hot(targets, 3).float()
    found = compute_loss(logits, sets, activation="sigmoid", weights=weights)
    torch.testing.assert_close(found, binary_cross_entropy_with_logits(logits, sets, pos_weight=weights))


@pytest.mark.parametrize(
    ("activation", "target"), [("softmax", [1.0, 0.0]), ("sigmoid", [[0.0]]), ("sigmoid", [[1.0]])]
)
def test_a_weight_does_not_move_the_best_answer_to_a_row_that_is_clear(activation, target):
    """With torch's order of the two, the best answer to a row of the frequent class would be the rare one."""
    targets = torch.tensor([0]) if activation == "softmax" else torch.tensor(target)
    weights = torch.tensor([0.5, 40.0]) if activation == "softmax" else torch.tensor([40.0])
    logits = torch.zeros(1, len(weights), requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-9)

    def close():
        optimizer.zero_grad()
        loss = sum_losses(logits, targets, LossChoices(activation, smoothing=0.2, weights=weights))
        loss.backward()
        return loss

    optimizer.step(close)
    best = logits.softmax(1)[0, 0] if activation == "softmax" else logits.sigmoid()[0, 0]
    right = 0.9 if activation == "softmax" or target == [[1.0]] else 0.1
    assert best.item() == pytest.approx(right, abs=1e-3)


@given(
    activation=st.sampled_from(["softmax", "sigmoid"]),
    kind=st.sampled_from(["auto", "focal"]),
    smoothing=st.sampled_from([0.0, 0.1, 0.6]),
    weighted=st.booleans(),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
)
def test_a_row_that_mixes_two_costs_their_losses_by_its_shares(activation, kind, smoothing, weighted, share, seed):
    rng = np.random.default_rng(seed)
    logits = torch.as_tensor(rng.normal(size=(1, 4)))
    weights = torch.as_tensor(rng.uniform(0.1, 9, 4)) if weighted else None
    choices = LossChoices(activation, kind, smoothing, weights)
    one, other = torch.as_tensor(np.eye(4)[rng.integers(0, 4, 2)])[:, None]
    if activation == "sigmoid":
        one, other = torch.as_tensor(rng.integers(0, 2, (2, 1, 4)), dtype=torch.float64)
    mixed = share * one + (1 - share) * other
    expected = share * sum_losses(logits, one, choices) + (1 - share) * sum_losses(logits, other, choices)
    torch.testing.assert_close(sum_losses(logits, mixed, choices), expected)
    weigh = [weigh_batch(targets, choices, outputs=4) for targets in (one, other, mixed)]
    torch.testing.assert_close(weigh[2].double(), share * weigh[0].double() + (1 - share) * weigh[1].double())


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_hard_classes_and_their_shares_cost_the_same_with_weights_and_smoothing(activation):
    logits, hard, weights = torch.randn(5, 3), torch.arange(5) % 3, torch.tensor([0.2, 1.0, 9.0])
    soft = one_hot(hard, 3).float()
    costs = [
        compute_loss(logits, targets, activation=activation, smoothing=0.1, weights=weights)
        for targets in (soft if activation == "sigmoid" else hard, soft)
    ]
    torch.testing.assert_close(*costs)
