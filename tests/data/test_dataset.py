from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from conftest import write_image

from kitsolve.data.augment import build_augmentation
from kitsolve.data.cache import ScaledImages, encode_paths
from kitsolve.data.dataset import BatchSchedule, Look, TrainImages, derive_seed, load_batches
from kitsolve.inference import Preprocessing

PREP = Preprocessing(image_size=(16, 16), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bilinear")
LOOK = Look(partial(build_augmentation, "medium"), ((16, 16),), epochs=8)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        write_image(path, "grey", seed=number)
    return TrainImages(ScaledImages(encode_paths(paths), PREP), np.arange(10) % 3, look=LOOK, seed=7)


def schedule(**changes):
    return BatchSchedule(np.arange(10), **{"batch_size": 4, "total_steps": 6, "seed": 5, **changes})


def load(images, workers, first_step=0):
    batches = load_batches(images, schedule(first_step=first_step), workers=workers, pin_memory=False, hint="")
    return [(batch.clone(), targets.clone()) for batch, targets in batches]


def equal(batches, others):
    assert len(batches) == len(others)
    return all(torch.equal(a, b) for a, b in zip(chain(*batches), chain(*others), strict=True))


def test_batches_are_the_same_for_any_number_of_workers(images):
    alone = load(images, workers=0)
    assert equal(alone, load(images, workers=1))
    assert equal(alone, load(images, workers=2))


def test_batches_go_on_exactly_where_a_training_stopped(images):
    whole = load(images, workers=0)
    for first_step in range(len(whole)):
        assert equal(whole[first_step:], load(images, workers=0, first_step=first_step))


def test_an_epoch_visits_no_row_twice_and_epochs_differ(images):
    steps = list(schedule())
    epochs = [[key for batch in steps[start : start + 2] for key in batch] for start in (0, 2, 4)]
    for number, keys in enumerate(epochs):
        assert {epoch for epoch, _ in keys} == {number}
        assert len({row for _, row in keys}) == 8
    assert len({tuple(row for _, row in keys) for keys in epochs}) == 3


def test_a_batch_is_never_larger_than_the_rows():
    small = schedule(batch_size=64, total_steps=3)
    assert [len(batch) for batch in small] == [10, 10, 10]
    assert len(small) == 3


def test_an_image_is_augmented_anew_in_every_epoch(images):
    seen = {images[(epoch, 3)][0].numpy().tobytes() for epoch in range(8)}
    assert len(seen) >= 7
    assert torch.equal(images[(2, 3)][0], images[(2, 3)][0])


def test_a_sample_is_uint8_in_rows_columns_channels_with_its_target(images):
    image, target = images[(0, 4)]
    assert (image.shape, image.dtype, target) == ((16, 16, 3), torch.uint8, 1)


def test_the_seeds_of_different_places_differ():
    seeds = {derive_seed(*place) for place in ((0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (2, 0))}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_balanced_shares_draw_every_class_alike_often():
    rows, values = np.arange(1000), np.array([0] * 900 + [1] * 100)
    shares = 1 / np.bincount(values)[values]
    schedule = BatchSchedule(rows, batch_size=50, total_steps=400, seed=0, shares=shares / shares.sum())
    drawn = [values[row] for batch in schedule for _, row in batch]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.02)
    assert len(drawn) == 20 * 1000
    later = BatchSchedule(rows, batch_size=50, total_steps=400, seed=0, first_step=45, shares=shares / shares.sum())
    assert list(later) == list(schedule)[45:]
