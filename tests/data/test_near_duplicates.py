import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.data.images import ImageCheck, record_image
from kitsolve.data.near_duplicates import find_near_duplicates
from kitsolve.data.signatures import FILE, read_signatures, write_signatures


def draw_scene(rng, height=60, width=80):
    """A smooth picture, unlike any other one."""
    coarse = rng.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def draw_stroke(rng):
    """A white stroke on black, at nearly the same place each time: all of them look alike."""
    image = np.zeros((28, 28, 3), dtype=np.uint8)
    ends = [(int(14 + rng.integers(-4, 5)), 4), (int(14 + rng.integers(-4, 5)), 24)]
    return cv2.GaussianBlur(cv2.line(image, *ends, (255, 255, 255), int(rng.integers(2, 5))), (0, 0), 1)


def copy_nearly(image, rng):
    """With a little noise, in another size, written as JPEG."""
    noisy = (image + rng.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)
    scale = rng.uniform(0.8, 1.3)
    noisy = cv2.resize(noisy, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", noisy)[1], cv2.IMREAD_COLOR)


def sign(images):
    """Their signatures, as `fetch` keeps them."""
    return ImageCheck.of({str(number): record_image(image) for number, image in enumerate(images)}).signatures


def group(images):
    return find_near_duplicates(sign(images))


@settings(max_examples=25, derandomize=True)
@given(seed=st.integers(0, 10_000), copies=st.integers(2, 4), scenes=st.integers(20, 40))
def test_nearly_all_near_duplicates_are_found_and_other_pictures_are_alone(seed, copies, scenes):
    rng = np.random.default_rng(seed)
    images = [draw_scene(rng) for _ in range(scenes)]
    near_duplicates = [copy_nearly(image, rng) for image in images for _ in range(copies)]
    groups, own = group([*images, *near_duplicates]), np.r_[np.arange(scenes), np.repeat(np.arange(scenes), copies)]
    assert groups[:scenes].tolist() == list(range(scenes))
    found = groups[scenes:] < scenes
    assert found.mean() > 0.7
    assert (groups[scenes:][found] == own[scenes:][found]).all()


def test_images_of_one_colour_are_no_copies_of_each_other():
    images = [np.full((20, 20, 3), value, dtype=np.uint8) for value in range(0, 250, 5)]
    assert group(images).tolist() == list(range(50))


def test_the_same_drawing_in_another_colour_is_no_copy():
    scene = draw_scene(np.random.default_rng(0))
    assert group([scene, scene[..., ::-1].copy() // 2 + 60]).tolist() == [0, 1]


def test_drawings_that_all_look_alike_are_no_copies_of_each_other():
    rng = np.random.default_rng(0)
    groups = group([draw_stroke(rng) for _ in range(600)])
    assert len(set(groups)) == 600


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_images_of_any_number_of_channels_have_a_signature(channels):
    image = np.random.default_rng(0).integers(0, 256, (9, 7, channels)).astype(np.uint8)
    signatures = sign([image, image])
    assert find_near_duplicates(signatures).tolist() == [0, 0]


def test_signatures_come_back_for_the_same_paths_alone(tmp_path):
    rng = np.random.default_rng(0)
    signatures = sign(draw_scene(rng) for _ in range(3))
    write_signatures(tmp_path, ["a", "b", "c"], signatures)
    kept = read_signatures(tmp_path, ["a", "b", "c"])
    assert kept.hashes.tolist() == signatures.hashes.tolist()
    assert (kept.thumbs == signatures.thumbs).all()
    assert (kept.colours == signatures.colours).all()
    assert read_signatures(tmp_path, ["a", "c", "b"]) is None


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut", b"no archive"])
def test_signatures_that_are_missing_or_damaged_are_none(content, tmp_path):
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert read_signatures(tmp_path, ["a"]) is None
