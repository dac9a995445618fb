import math
import time

import numpy as np
import pytest
from tiny import MeanColour, alone, predict_with

from kitsolve.inference.deadline import Plan, Progress, Rescue, choose_views, describe_plan
from kitsolve.inference.images import read_as
from kitsolve.inference.loop import predict_probs
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
    return predict_probs(alone(MeanColour(), tta="flips"), images, workers=2, rescue=rescue), rescue


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


def test_whatever_goes_wrong_with_an_image_only_it_is_lost(images):
    def read(path, preprocessing):
        if path == images[3]:
            raise MemoryError
        return read_as(path, preprocessing)

    rescue = Rescue(np.array([0.1, 0.2, 0.7], dtype=np.float32))
    probs = predict_probs(alone(MeanColour()), images, workers=2, rescue=rescue, read=read)
    assert rescue.lost == [f"image {images[3]}: MemoryError()"]
    np.testing.assert_allclose(probs[3], rescue.prior)
    with pytest.raises(MemoryError):
        predict_probs(alone(MeanColour()), images, workers=2, read=read)


def test_when_the_time_is_over_the_rest_gets_the_mean_prediction(images):
    probs, rescue = rescued(images, end=time.monotonic() - 1)
    assert rescue.unseen == len(probs) == len(images)
    np.testing.assert_allclose(probs, np.tile([0.1, 0.2, 0.7], (len(images), 1)), atol=1e-6)
    assert "the time was over" in " ".join(describe_rescue(rescue, Progress(0.0)))


def test_when_the_time_is_short_views_are_left_out_counted_and_the_plan_is_told(images, monkeypatch, capsys):
    """Batches of 4: the first one warms up, the second one shows what a view costs."""
    monkeypatch.setattr(Rescue, "left_s", property(lambda self: -1.0))
    probs, rescue = rescued([*images, *images])
    assert (rescue.passes, rescue.wanted, rescue.unseen) == (4 * 8 + 12, 4 * 20, 0)
    assert probs.shape == (20, 3)
    assert "left out" in " ".join(describe_rescue(rescue, Progress(0.0)))
    told = capsys.readouterr().out
    assert told.count("plan: ") == 1
    assert "8 images, reading and 4 passes over each" in told
    assert "1 of them are computed" in told


def test_the_time_for_reading_is_not_the_models(images, monkeypatch):
    """When the cost of a view is known, 12 images are to come: 0.03 s would do for the model, but not to read them."""
    monkeypatch.setattr(Rescue, "left_s", property(lambda self: 0.03))

    def read_slowly(path, preprocessing):
        time.sleep(0.02)
        return read_as(path, preprocessing)

    rescue = Rescue(np.zeros(3, dtype=np.float32))
    predict_probs(alone(MeanColour(), tta="flips"), [*images, *images], workers=2, rescue=rescue, read=read_slowly)
    assert rescue.read_s >= 0.01
    assert rescue.passes == 4 * 8 + 12


def test_what_reading_takes_is_left_out_of_what_the_models_may_take():
    rescue = Rescue(np.zeros(1), end=time.monotonic() + 1000, read_s=0.25)
    assert rescue.allowed_s(images=900, devices=1) == pytest.approx(0.75, abs=0.01)
    assert rescue.allowed_s(images=900, devices=2) == pytest.approx(1.5, abs=0.01)


def test_a_plan_that_fits_is_told_once_with_its_estimate(images, capsys):
    _, rescue = rescued([*images, *images], end=time.monotonic() + 3600)
    told = capsys.readouterr().out
    assert told.count("plan: ") == 1
    assert "54 min are left: all of them are computed" in told
    assert rescue.passes == rescue.wanted == 80


def test_a_plan_says_what_it_needs_and_by_which_rule_less_is_computed():
    whole = Plan((4, 2), (4, 2), (0.5, 1.0))
    assert describe_plan(whole, images=3600, left_s=math.inf, devices=2) == (
        "plan: 3,600 images, reading and 6 passes over each need 2 h 0 min: all of them are computed"
    )
    less = describe_plan(Plan((2, 1), (4, 2), (0.5, 1.0)), images=3600, left_s=5400, devices=1, read_s=0.5)
    assert "need 4 h 30 min, 1 h 30 min are left: 3 of them are computed" in less
    assert "First views are left out, then models of the least weight; views of each model: 2, 1" in less


def test_progress_is_told_once_a_minute_and_the_start_does_not_count_for_the_pace(monkeypatch, capsys):
    now = iter([10.0, 20.0, 71.0, 72.0, 80.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    progress = Progress(started=0.0, images=100)
    for _ in range(4):
        progress.add(10)
    assert capsys.readouterr().out == "30 of 100 images, about 3 min to go\n"
    assert progress.start_s == 10
    assert progress.image_s == pytest.approx(70 / 30)
