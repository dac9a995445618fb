import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import PREP, LeftMinusRight, MeanColour, alone, predict_with, together
from torch import nn

from kitsolve.inference.bundle import TTA, Blend
from kitsolve.inference.ensemble import TURNS, group_members, one_member
from kitsolve.inference.images import iter_batches, read_as, read_image
from kitsolve.inference.loop import iter_probs, predict_probs
from kitsolve.inference.members import VIEWS, Member


def test_tta_makes_an_image_and_its_mirror_equal(images):
    mirrored = []
    for path in images:
        mirrored.append(path.with_name(f"mirrored_{path.name}"))
        cv2.imwrite(str(mirrored[-1]), cv2.imread(str(path))[:, ::-1])
    plain = [predict_with(LeftMinusRight(), paths) for paths in (images, mirrored)]
    assert np.abs(plain[0] - plain[1]).max() > 1e-3
    both = [predict_with(LeftMinusRight(), paths, tta="hflip") for paths in (images, mirrored)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-3)  # cv2's resize rounds a mirrored pixel now and then


def test_neither_batch_size_nor_order_matters(images):
    all_at_once = predict_with(MeanColour(), images, batch_size=64)
    np.testing.assert_allclose(predict_with(MeanColour(), images, batch_size=3), all_at_once, atol=1e-6)
    np.testing.assert_allclose(predict_with(MeanColour(), images[::-1])[::-1], all_at_once, atol=1e-6)
    np.testing.assert_allclose(all_at_once.sum(axis=1), 1, atol=1e-6)


def members_of(*kinds_and_runs, tta="none"):
    return [Member(MeanColour(), kind, TTA[tta], torch.float32, run=run) for kind, run in kinds_and_runs]


SMALL, LARGE, DARK = PREP, replace(PREP, image_size=(12, 12)), replace(PREP, mean=(0.9, 0.9, 0.9))


def test_members_with_another_input_size_get_their_own_images_of_one_decode(images):
    reads = []

    def read(path, preprocessing):
        reads.append(path)
        return read_as(path, preprocessing)

    ensemble = together(members_of((SMALL, "a"), (LARGE, "b")), Blend(("a", "b"), "weighted", (0.25, 0.75)))
    both = predict_probs(ensemble, images, workers=2, read=read)
    assert len(reads) == len(images)
    apart = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (SMALL, LARGE)]
    np.testing.assert_allclose(both, (apart[0] + 3 * apart[1]) / 4, atol=1e-6)


def test_predicting_nothing_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        predict_with(MeanColour(), [])


def test_members_of_one_run_count_alike_whatever_their_number(images):
    """Two members of run a, one of run b: the runs are mixed, not the members."""
    members = members_of((PREP, "a"), (PREP, "a"), (DARK, "b"))
    mixed = predict_probs(together(members, Blend(("a", "b"), "mean", (0.5, 0.5))), images, workers=1)
    apart = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (PREP, DARK)]
    np.testing.assert_allclose(mixed, (apart[0] + apart[1]) / 2, atol=1e-6)


def test_several_devices_take_turns_and_keep_the_order(images):
    one = predict_with(MeanColour(), images)
    for batch_size in (1, 3, 100):
        ensembles = [alone(MeanColour(), batch_size=batch_size) for _ in range(2)]
        both = np.concatenate(list(iter_probs(ensembles, images, workers=2)))
        np.testing.assert_allclose(both, one, atol=1e-6)


def test_models_that_do_not_fit_together_take_turns_on_the_device(images):
    members, blend = members_of((SMALL, "a"), (LARGE, "b"), (DARK, "b")), Blend(("a", "b"), "mean", (0.5, 0.5))
    whole = predict_probs(together(members, blend), images, workers=1)
    ensemble = together(members, blend, batch_size=2, groups=[[0, 1], [2]])
    assert ensemble.batch_size == 2 * TURNS
    np.testing.assert_allclose(predict_probs(ensemble, images, workers=1), whole, atol=1e-6)


@pytest.mark.parametrize(
    ("sizes", "room", "groups"),
    [
        ([3, 3, 3], math.inf, [[0, 1, 2]]),
        ([3, 3, 3], 9, [[0, 1, 2]]),
        ([3, 3, 3], 8, [[0, 1], [2]]),
        ([3, 9, 3, 1], 4, [[0], [1], [2, 3]]),
        ([9, 9], 1, [[0], [1]]),
    ],
)
def test_groups_hold_as_many_members_as_fit_in_their_order(sizes, room, groups):
    assert group_members(sizes, room) == groups


class SmallMemory(nn.Module):
    """Takes three images at most."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        if len(images) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images.mean(dim=(2, 3))


def test_a_batch_that_does_not_fit_into_the_memory_is_halved_and_stays_so(images):
    model = SmallMemory()
    ensemble = alone(model, batch_size=8)
    np.testing.assert_array_equal(predict_probs(ensemble, images, workers=1), predict_with(MeanColour(), images))
    assert model.seen == [8, 4, 2, 2, 2, 2, 2]
    assert ensemble.at_once == 2


def test_an_image_that_does_not_fit_alone_is_an_error(images):
    class NoMemory(nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        predict_with(NoMemory(), images)


class Exceeds(nn.Module):
    """On the way to its logits are sums of some 100,000."""

    def __init__(self):
        super().__init__()
        self.sum = nn.Linear(8 * 8, 1, bias=False)
        nn.init.constant_(self.sum.weight, 30_000.0)

    def forward(self, images):
        sums = self.sum(images.flatten(2)).squeeze(2)
        return (sums - sums.mean(dim=1, keepdim=True)) / 100_000


def test_a_model_that_exceeds_float16_goes_on_in_float32(images, capsys):
    whole = predict_with(Exceeds(), images)
    half = Member(Exceeds().half(), PREP, TTA["none"], torch.float16, run="wide")
    ensemble = one_member(half, torch.device("cpu"), batch_size=4)
    assert np.ptp(whole) > 0.5
    np.testing.assert_allclose(predict_probs(ensemble, images, workers=1), whole, atol=1e-6)
    assert capsys.readouterr().err.count("model of wide exceeds float16") == 1
    assert ensemble.members[0].dtype is torch.float32


def test_a_view_is_laid_once_for_all_members_that_want_it(images, monkeypatch):
    laid = []
    monkeypatch.setitem(VIEWS, "hflip", lambda images: laid.append(len(images)) or images.flip(-1))
    members = members_of((PREP, "a"), (PREP, "a"), (PREP, "b"), tta="hflip")
    predict_probs(together(members, Blend(("a", "b"), "mean", (0.5, 0.5)), batch_size=5), images, workers=1)
    assert laid == [5, 5]


def test_members_that_read_transparency_otherwise_decode_each_its_own_way(tmp_path):
    path = tmp_path / "half.png"
    Image.new("RGBA", (8, 8), (10, 20, 30, 100)).save(path)
    white, black = replace(PREP, background="white"), replace(PREP, background="black")
    kinds = [PREP, white, black, replace(white, image_size=(12, 12))]
    ((tensors, lost),) = iter_batches([path], kinds, batch_size=4, workers=1)
    assert not lost
    for kind, tensor in zip(kinds, tensors, strict=True):
        alone = read_image(path, background=kind.background)
        assert (tensor[0] == torch.from_numpy(alone)[0, 0]).all()
    assert tensors[0][0, 0, 0].tolist() == [10, 20, 30]


def test_members_that_scale_numbers_otherwise_decode_each_its_own_way(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(0, 0.5, 192, dtype=np.float32).reshape(8, 8, 3))
    kinds = [replace(PREP, scale="image"), replace(PREP, scale="set")]
    (((stretched, scaled), _),) = iter_batches([tmp_path / "x.npy"], kinds, batch_size=4, workers=1)
    assert (stretched.max(), scaled.max()) == (255, 128)
