import math
import time

import numpy as np
import pytest
import torch
from tiny import PREP, MeanColour, predict_with

from kitsolve.inference.deadline import Rescue, choose_views
from kitsolve.inference.ensemble import predict_probs
from kitsolve.inference.members import Member
from kitsolve.inference.predict import describe_rescue


@pytest.mark.parametrize(
    ("allowed_s", "chosen"),
    [(100, [4, 4]), (11, [4, 3]), (9.5, [3, 3]), (3, [1, 1]), (2.9, [1, 0]), (0, [1, 0]), (-5, [1, 0])],
)
def test_first_views_are_left_out_then_members_of_the_least_weight(allowed_s, chosen):
    """A view of the first member takes 1 s, of the second 2 s."""
    assert choose_views([1.0, 2.0], [4, 4], [0.7, 0.3], allowed_s) == chosen


def test_before_anything_is_measured_everything_is_computed():
    assert choose_views([0.0, 0.0], [8, 1], [0.5, 0.5], 1e-9) == [8, 1]


def test_the_heaviest_member_is_the_last_to_go():
    assert choose_views([1.0, 1.0, 1.0], [1, 1, 1], [0.2, 0.5, 0.3], 1.5) == [0, 1, 0]


def rescued(images, **changes):
    rescue = Rescue(np.array([0.1, 0.2, 0.7], dtype=np.float32), **changes)
    member = Member(MeanColour(), PREP, "flips", torch.float32)
    settings = {"device": torch.device("cpu"), "batch_size": 4, "workers": 2, "rescue": rescue}
    return predict_probs([member], images, **settings), rescue


def test_an_image_that_cannot_be_read_gets_the_mean_prediction_and_the_others_their_own(images):
    whole, _ = rescued(images)
    images[2].write_bytes(images[2].read_bytes()[:40])
    images[5].unlink()
    probs, rescue = rescued(images)
    np.testing.assert_allclose(probs[[2, 5]], [[0.1, 0.2, 0.7]] * 2, atol=1e-6)
    kept = [row for row in range(len(images)) if row not in (2, 5)]
    np.testing.assert_array_equal(probs[kept], whole[kept])
    assert all(str(images[row]) in reason for row, reason in zip((2, 5), rescue.lost, strict=True))
    with pytest.raises(ValueError, match="cannot be read"):
        predict_with(MeanColour(), images[5:6])


def test_when_the_time_is_over_the_rest_gets_the_mean_prediction(images):
    probs, rescue = rescued(images, end=time.monotonic() - 1)
    assert rescue.unseen == len(probs) == len(images)
    np.testing.assert_allclose(probs, np.tile([0.1, 0.2, 0.7], (len(images), 1)), atol=1e-6)
    assert "the time was over" in " ".join(describe_rescue(rescue, images=len(images)))


def test_when_the_time_is_short_views_are_left_out_and_counted(images, monkeypatch):
    monkeypatch.setattr(Rescue, "allow", lambda self, left: -1.0 if left < 3 else math.inf)
    probs, rescue = rescued(images)
    assert (rescue.passes, rescue.wanted, rescue.unseen) == (4 + 1 + 1, 12, 0)
    assert probs.shape == (len(images), 3)
    assert "left out" in " ".join(describe_rescue(rescue, images=len(images)))
