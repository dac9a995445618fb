from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from tiny import PREP, LeftMinusRight, MeanColour, predict_with

from kitsolve.inference.bundle import (
    Blend,
)
from kitsolve.inference.ensemble import predict_probs
from kitsolve.inference.images import read_image
from kitsolve.inference.members import Member


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


def test_members_with_another_input_size_get_their_own_images_of_one_decode(images):
    reads = []

    def read(path, channels):
        reads.append(path)
        return read_image(path)

    small, large = PREP, replace(PREP, image_size=(12, 12))
    members = [Member(MeanColour(), kind, "none", torch.float32, run=run) for kind, run in ((small, "a"), (large, "b"))]
    mixed = Blend(("a", "b"), "weighted", (0.25, 0.75))
    both = predict_probs(members, images, device=torch.device("cpu"), batch_size=4, workers=2, read=read, blend=mixed)
    assert len(reads) == len(images)
    alone = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (small, large)]
    np.testing.assert_allclose(both, (alone[0] + 3 * alone[1]) / 4, atol=1e-6)


def test_predicting_nothing_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        predict_with(MeanColour(), [])


def test_members_of_one_run_count_alike_whatever_their_number(images):
    """Two members of run a, one of run b: the runs are mixed, not the members."""
    dark = replace(PREP, mean=(0.9, 0.9, 0.9))
    members = [
        Member(MeanColour(), kind, "none", torch.float32, run=run)
        for kind, run in ((PREP, "a"), (PREP, "a"), (dark, "b"))
    ]
    mixed = predict_probs(
        members,
        images,
        device=torch.device("cpu"),
        batch_size=4,
        workers=1,
        blend=Blend(("a", "b"), "mean", (0.5, 0.5)),
    )
    alone = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (PREP, dark)]
    np.testing.assert_allclose(mixed, (alone[0] + alone[1]) / 2, atol=1e-6)


def test_several_devices_take_turns_and_keep_the_order(images):
    one = predict_with(MeanColour(), images)
    member = Member(MeanColour(), PREP, "none", torch.float32)
    settings = {"device": torch.device("cpu"), "others": {torch.device("cpu", 0): [member]}, "workers": 2}
    for batch_size in (1, 3, 100):
        both = predict_probs([member], images, batch_size=batch_size, **settings)
        np.testing.assert_allclose(both, one, atol=1e-6)
