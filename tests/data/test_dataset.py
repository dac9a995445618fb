import os
import pickle
import signal
import time
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import pytest
import torch
from conftest import write_image
from torch.utils.data import get_worker_info

from kitsolve.data.augment import build_augmentation, find_augmentation
from kitsolve.data.cache import ScaledImages, encode_paths, open_cache
from kitsolve.data.dataset import BatchSchedule, Look, TrainImages, derive_seed, load_batches
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Preprocessing
from kitsolve.workspace import Workspace

OWN_AUGMENTATION = """
import albumentations as A

class Invert(A.ImageOnlyTransform):
    def apply(self, img, **params):
        return 255 - img

def augmentation(image_size):
    return [A.HorizontalFlip(p=0.5), Invert(p=0.5)]
"""
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


def test_a_pickled_dataset_gives_the_same_samples_without_its_pixels(images, tmp_path):
    cache = open_cache(Workspace(tmp_path), "x", "raw", images.images, hint="")
    cached = TrainImages(replace(images.images, cache=cache), np.arange(10) % 3, look=LOOK, seed=7)
    packed = pickle.dumps(cached)
    assert len(packed) < (cache.folder / "images.bin").stat().st_size
    again = pickle.loads(packed)
    assert equal([cached[key] for key in [(0, 1), (3, 9)]], [again[key] for key in [(0, 1), (3, 9)]])


@pytest.mark.slow
@pytest.mark.parametrize("how", ["spawn", "forkserver"])
def test_batches_are_the_same_however_the_workers_are_started(tmp_path, images, how):
    folder = tmp_path / "competitions" / "x"
    folder.mkdir(parents=True)
    (folder / "competition.toml").touch()
    (folder / "prepare.py").write_text(OWN_AUGMENTATION)
    augmentation = find_augmentation(Workspace(tmp_path), "x", "prepare:augmentation", 3)
    own = TrainImages(images.images, np.arange(10) % 3, look=replace(LOOK, augmentation=augmentation), seed=7)
    spawned = load_batches(own, schedule(), workers=2, pin_memory=False, hint="", start_method=how)
    assert equal(load(own, workers=0), [(batch.clone(), targets.clone()) for batch, targets in spawned])


def test_workers_that_shared_memory_has_no_room_for_are_left_out_and_that_is_said(images, monkeypatch, capsys):
    alone = load(images, workers=0)
    batch = 4 * images.bytes_per_row
    monkeypatch.setattr("kitsolve.data.dataset.free_shared_memory", lambda: 3.5 * batch)
    assert equal(alone, load(images, workers=2))
    assert "1 of 2 loading processes" in capsys.readouterr().err
    monkeypatch.setattr("kitsolve.data.dataset.free_shared_memory", lambda: 2 * batch)
    with pytest.raises(KitsolveError, match="/dev/shm has 0 MB"):
        load(images, workers=2)


@pytest.mark.parametrize(
    "message",
    [
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of",
        "Caught RuntimeError in DataLoader worker process 0.\nunable to write to file </torch_7_1_0>: No space left",
    ],
)
def test_shared_memory_that_runs_out_is_named_with_its_repair(images, monkeypatch, message):
    def fail(*_, **__):
        raise RuntimeError(message)

    monkeypatch.setattr("kitsolve.data.dataset.DataLoader", fail)
    with pytest.raises(KitsolveError) as caught:
        load(images, workers=1)
    assert "--shm-size" in caught.value.hint
    assert "--workers 0" in caught.value.hint


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


def look(**changes):
    return Look(partial(build_augmentation, "medium"), **{"sizes": ((16, 16),), "epochs": 8, **changes})


def test_the_share_of_augmented_images_rises_and_ends():
    assert [look(ramp=3, off=2).strength(epoch) for epoch in range(8)] == [0.25, 0.5, 0.75, 1, 1, 1, 0, 0]
    assert look().strength(0) == 1


def test_the_sizes_have_equal_parts_of_the_epochs():
    steps = look(sizes=((8, 8), (12, 12), (16, 16)), epochs=6)
    assert [steps.size(epoch)[0] for epoch in range(7)] == [8, 8, 12, 12, 16, 16, 16]


def test_images_come_at_the_size_of_their_epoch(images):
    growing = TrainImages(images.images, np.arange(10), look=look(sizes=((8, 8), (16, 16)), epochs=2), seed=7)
    assert [growing[(epoch, 0)][0].shape[:2] for epoch in (0, 1)] == [(8, 8), (16, 16)]


def test_epochs_without_augmentation_show_the_image_as_it_is(images):
    plain = TrainImages(images.images, np.arange(10), look=look(off=1), seed=7)
    assert np.array_equal(plain[(7, 4)][0].numpy(), images.images.read(4))
    assert not np.array_equal(plain[(6, 4)][0].numpy(), images.images.read(4))


def test_a_crop_is_taken_from_another_place_in_every_epoch(images):
    wide = replace(PREP, image_size=(8, 16), resize="crop")
    look_on = Look(partial(build_augmentation, "none"), ((8, 16),), epochs=9)
    cropped = TrainImages(ScaledImages(images.images.paths, wide), np.arange(10), look=look_on, seed=7)
    assert len({cropped[(epoch, 0)][0].numpy().tobytes() for epoch in range(9)}) > 3


def test_changing_an_image_leaves_the_cached_one(images, tmp_path):
    stored = open_cache(Workspace(tmp_path), "grey", "raw", images.images, hint="")
    cached = TrainImages(replace(images.images, cache=stored), np.arange(10) % 3, look=look(), seed=7)
    assert equal(load(images, workers=0), load(cached, workers=2))
    np.testing.assert_array_equal(stored.read(3), images.images.read(3))


def test_each_process_gets_its_part_of_the_same_batches():
    whole = list(schedule())
    parts = [list(schedule(part=(rank, 2))) for rank in range(2)]
    assert [[*sorted(one + other)] for one, other in zip(*parts, strict=True)] == [sorted(batch) for batch in whole]


class Deadly(ScaledImages):
    """Images of which one ends the process that reads it, or never comes."""

    def read(self, row):
        if row == 3 and get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL) if self.cache == "kills" else time.sleep(60)
        return super().read(row) if self.cache is None else np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(("how", "words"), [("kills", "a loading process"), ("hangs", "no batch came for 2 s")])
def test_a_worker_that_dies_or_hangs_is_named_with_its_image(images, monkeypatch, how, words):
    monkeypatch.setattr("kitsolve.data.dataset.PATIENCE_S", 2)
    deadly = TrainImages(Deadly(images.images.paths, PREP, how), np.arange(10), look=look(), seed=7)
    with pytest.raises(KitsolveError, match=words) as caught:
        load(deadly, workers=1)
    assert "3.png" in caught.value.problem
    assert "--workers 0" in caught.value.hint
