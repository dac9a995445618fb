import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.data.duplicates import group_duplicates, hash_image, merge_groups

hashes_lists = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=8)
labels_pairs = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=30)


def scene(seed, height=120, width=160):
    """(height, width, 3) uint8 as photographs are: slow waves are the strongest."""
    rng = np.random.default_rng(seed)
    speed = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / width
    noise = np.fft.rfft2(rng.normal(size=(3, height, width))) / speed**1.5
    image = np.moveaxis(np.fft.irfft2(noise, s=(height, width)), 0, -1)
    return (255 * (image - image.min()) / np.ptp(image)).astype(np.uint8)


def as_jpeg(image, quality):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def scaled(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)


def bits_between(one, other):
    return (int(one) ^ int(other)).bit_count()


def with_near_ones(hashes, seed):
    """The hashes and some that differ from one of them in 1 to 6 bits."""
    rng, more = np.random.default_rng(seed), list(hashes)
    for _ in range(3 * len(hashes)):
        flips = rng.choice(64, rng.integers(1, 7), replace=False)
        more.append(more[rng.integers(len(more))] ^ sum(1 << int(bit) for bit in flips))
    return more


def group_one_by_one(hashes, distance):
    """What group_duplicates promises, pair by pair."""
    groups = list(range(len(hashes)))
    for first, one in enumerate(hashes):
        for second in range(first):
            if bits_between(one, hashes[second]) <= distance:
                groups = [groups[second] if group == groups[first] else group for group in groups]
    return groups


def first_come(labels):
    order = list(dict.fromkeys(labels))
    return [order.index(label) for label in labels]


@pytest.mark.parametrize(
    "copy",
    [
        lambda image: as_jpeg(image, 90),
        lambda image: as_jpeg(image, 50),
        lambda image: scaled(image, 0.5),
        lambda image: scaled(image, 2.0),
        lambda image: as_jpeg(scaled(image, 0.7), 80),
        lambda image: (image * 0.9).astype(np.uint8),
        lambda image: cv2.resize(image, (160, 160)),
    ],
    ids=["jpeg 90", "jpeg 50", "half", "double", "smaller jpeg", "darker", "squared"],
)
def test_a_copy_in_another_form_lies_in_the_group_of_its_image(copy):
    images = [scene(seed) for seed in range(20)]
    groups = group_duplicates(np.array([hash_image(image) for image in images + [copy(image) for image in images]]))
    assert groups.tolist() == [*range(20), *range(20)]


def test_different_images_differ_in_about_half_of_the_bits():
    hashes = [hash_image(scene(seed)) for seed in range(40)]
    distances = [bits_between(one, other) for number, one in enumerate(hashes) for other in hashes[:number]]
    assert min(distances) > 10
    assert np.mean(distances) == pytest.approx(32, abs=1)


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_the_hash_of_an_image_of_one_colour_is_0(channels):
    rng = np.random.default_rng(0)
    images = [np.full((50, 70, channels), rng.integers(0, 256, channels), dtype=np.uint8) for _ in range(50)]
    assert {int(hash_image(image)) for image in images} == {0}


@pytest.mark.parametrize("channels", [1, 4, 6])
def test_images_of_any_number_of_channels_have_a_hash_near_that_of_their_grey(channels):
    grey = scene(0)[..., :1]
    assert bits_between(hash_image(np.repeat(grey, channels, axis=-1)), hash_image(np.repeat(grey, 3, axis=-1))) <= 1


def test_a_hash_is_64_bits_also_of_tiny_images():
    assert hash_image(scene(0, 8, 8)).dtype == np.uint64
    assert hash_image(np.zeros((1, 1, 3), dtype=np.uint8)) == 0


@given(hashes=hashes_lists, seed=st.integers(0, 99), distance=st.integers(0, 5))
def test_groups_are_those_of_comparing_each_pair(hashes, seed, distance):
    hashes = with_near_ones(hashes, seed)
    groups = group_duplicates(np.array(hashes, dtype=np.uint64), distance=distance)
    assert groups.tolist() == first_come(group_one_by_one(hashes, distance))


@given(center=st.integers(0, 2**64 - 1), bits=st.sets(st.integers(0, 63), min_size=4, max_size=4))
def test_three_bits_are_near_and_four_are_not_wherever_they_lie(center, bits):
    first, *rest = (1 << bit for bit in bits)
    near, far = center ^ sum(rest), center ^ first ^ sum(rest)
    assert group_duplicates(np.array([center, near], dtype=np.uint64)).tolist() == [0, 0]
    assert group_duplicates(np.array([center, far], dtype=np.uint64)).tolist() == [0, 1]


def test_rows_are_in_one_group_where_others_connect_them():
    chain = np.array([0b111111, 2**40 - 2**30, 0, 0b111], dtype=np.uint64)
    assert group_duplicates(chain).tolist() == [0, 1, 0, 0]


def test_very_many_equal_hashes_are_compared_once():
    hashes = np.r_[np.zeros(300_000, dtype=np.uint64), np.uint64(2**20 - 1)]
    assert group_duplicates(hashes).tolist() == [0] * 300_000 + [1]


@given(pairs=labels_pairs)
def test_merged_groups_are_connected_by_either_grouping(pairs):
    merged = merge_groups(*np.array(pairs).T)
    groups = list(range(len(pairs)))
    for first, one in enumerate(pairs):
        for second in range(first):
            if one[0] == pairs[second][0] or one[1] == pairs[second][1]:
                groups = [groups[second] if group == groups[first] else group for group in groups]
    assert merged.tolist() == first_come(groups)


@given(pairs=labels_pairs)
def test_merging_knows_no_order_and_merging_again_changes_nothing(pairs):
    one, other = np.array(pairs).T
    merged = merge_groups(one, other)
    assert merged.tolist() == merge_groups(other, one).tolist()
    assert merged.tolist() == merge_groups(merged, other).tolist()


def test_groups_to_merge_may_have_any_names():
    names = np.array(["012", "12", "a b", "ä,", "012"], dtype=object)
    assert merge_groups(names, np.array([7, 5, 5, 3, 2])).tolist() == [0, 1, 1, 2, 0]
