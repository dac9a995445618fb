import os
from dataclasses import replace

import cv2
import numpy as np
import pytest

from kitsolve.data.cache import ScaledImages, choose_format, encode_paths, open_cache, read_reduced
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.images import read_image, scale_image
from kitsolve.workspace import Workspace

PREP = Preprocessing((24, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "bilinear")
HINT = "look at it."


def photo(seed, height=120, width=160):
    """Smooth colours, as photographs have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.fixture
def images(tmp_path):
    paths = [str(tmp_path / f"{number}.jpg") for number in range(9)]
    for number, path in enumerate(paths):
        cv2.imwrite(path, photo(number))
    return ScaledImages(encode_paths(paths), PREP)


def cached(tmp_path, images, form="raw"):
    return replace(images, cache=open_cache(Workspace(tmp_path), "photos", form, images, hint=HINT))


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("form", ["raw", "png"])
def test_a_lossless_cache_holds_exactly_what_the_files_give(tmp_path, images, form, resize):
    images = replace(images, preprocessing=replace(PREP, resize=resize))
    stored = cached(tmp_path, images, form)
    for row in range(9):
        np.testing.assert_array_equal(stored.read(row), images.read(row))


def test_a_jpeg_cache_is_close_and_smaller(tmp_path, images):
    stored = cached(tmp_path, images, "jpeg")
    assert max(np.abs(stored.read(row).astype(int) - images.read(row)).mean() for row in range(9)) < 4
    raw = cached(tmp_path, images)
    assert len(stored.cache.bytes) < len(raw.cache.bytes)


@pytest.mark.parametrize("form", ["raw", "png", "jpeg"])
def test_grey_images_keep_their_one_channel(tmp_path, images, form):
    grey = replace(images, preprocessing=replace(PREP, mean=(0.5,), std=(0.25,)))
    assert cached(tmp_path, grey, form).read(0).shape == (24, 32, 1)


def test_a_cache_is_built_once_and_says_what_it_takes(tmp_path, images, capsys):
    cached(tmp_path, images)
    assert f"9 images of 24 x 32 px, {9 * 24 * 32 * 3 / 1e6:.1f} MB" in capsys.readouterr().err
    cached(tmp_path, images)
    assert capsys.readouterr().err == ""


def test_a_cache_is_built_anew_when_a_file_changes(tmp_path, images):
    cached(tmp_path, images)
    cv2.imwrite(os.fsdecode(images.paths[3]), 255 - photo(3))
    np.testing.assert_array_equal(cached(tmp_path, images).read(3), images.read(3))


def test_a_cache_that_was_not_finished_is_built_anew(tmp_path, images):
    folder = cached(tmp_path, images).cache.folder
    (folder / "cache.json").unlink()
    (folder / "images.bin").write_bytes(b"half")
    np.testing.assert_array_equal(cached(tmp_path, images).read(8), images.read(8))


def test_a_damaged_image_is_named_and_leaves_no_cache(tmp_path, images):
    path = os.fsdecode(images.paths[4])
    with open(path, "wb") as file:
        file.write(b"no image")
    with pytest.raises(KitsolveError, match=r"4\.jpg is damaged") as caught:
        cached(tmp_path, images)
    assert caught.value.hint == HINT
    assert not list((tmp_path / "workspace").rglob("cache.json"))


@pytest.mark.parametrize(
    ("wanted", "channels", "free", "chosen"),
    [
        ("auto", 3, 4 * 1000 * 300, "raw"),
        ("auto", 3, 4 * 1000 * 300 - 4, "jpeg"),
        ("auto", 3, 1000 * 300 // 3, "none"),
        ("auto", 6, 1000 * 300, "none"),
        ("none", 3, 10**12, "none"),
        ("png", 3, 0, "png"),
    ],
)
def test_the_format_is_what_is_wanted_or_what_finds_room(wanted, channels, free, chosen):
    size = (10, 10)
    assert choose_format(wanted, count=1000, channels=channels, size=size, free_bytes=free) == chosen


def test_images_of_many_channels_are_refused_where_they_cannot_be_stored():
    with pytest.raises(KitsolveError, match="jpeg cache cannot hold images of 6 channels") as caught:
        choose_format("jpeg", count=1, channels=6, size=(8, 8), free_bytes=0)
    assert 'cache = "raw"' in caught.value.hint


@pytest.mark.parametrize(("size", "shape"), [(12, (15, 20)), (24, (30, 40)), (40, (60, 80)), (100, (120, 160))])
def test_a_jpeg_is_decoded_no_smaller_than_is_needed(images, size, shape):
    read = read_reduced(os.fsdecode(images.paths[0]), replace(PREP, image_size=(size, size)))
    assert read.shape[:2] == shape


def test_a_reduced_image_looks_like_the_whole_one(images):
    path, prep = os.fsdecode(images.paths[0]), replace(PREP, image_size=(24, 24))
    reduced, whole = (scale_image(image, prep) for image in (read_reduced(path, prep), read_image(path)))
    assert np.abs(reduced.astype(int) - whole).mean() < 1.5


def test_a_camera_s_orientation_is_kept_when_reduced(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photo(0)).save(tmp_path / "turned.jpg", exif=exif)
    reduced = read_reduced(str(tmp_path / "turned.jpg"), replace(PREP, image_size=(24, 24)))
    whole = read_image(tmp_path / "turned.jpg")
    assert reduced.shape[0] > reduced.shape[1]
    assert (
        np.abs(cv2.resize(whole, reduced.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int) - reduced).mean() < 3
    )


def test_backbones_of_another_mean_share_a_cache_and_other_ways_of_scaling_do_not(tmp_path, images):
    def folder(**changes):
        return cached(tmp_path, replace(images, preprocessing=replace(PREP, **changes))).cache.folder

    other_mean = {"mean": (0.4, 0.4, 0.4), "std": (0.2, 0.2, 0.2)}
    built = (folder() / "cache.json").stat().st_mtime_ns
    assert (folder(**other_mean) / "cache.json").stat().st_mtime_ns == built
    assert len({folder(), folder(resize="crop"), folder(interpolation="bicubic"), folder(image_size=(24, 24))}) == 4


def test_a_jpeg_that_is_gone_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"gone\.jpg cannot be read: No such file"):
        read_reduced(str(tmp_path / "gone.jpg"), PREP)


def flip(path, place=-7):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def write_other_index(folder):
    index = np.load(folder / "index.npy")
    np.save(folder / "index.npy", index[::-1])


DAMAGES = [
    lambda folder: (folder / "images.bin").write_bytes((folder / "images.bin").read_bytes()[:99]),
    lambda folder: (folder / "images.bin").unlink(),
    lambda folder: (folder / "index.npy").write_bytes(b"garbage"),
    lambda folder: (folder / "index.npy").unlink(),
    lambda folder: flip(folder / "index.npy"),
    write_other_index,
    lambda folder: (folder / "cache.json").write_text("{ no JSON"),
    lambda folder: (folder / "cache.json").write_text(""),
    lambda folder: (folder / "cache.json").write_text("[]"),
    lambda folder: flip(folder / "cache.json", 20),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_built_anew(tmp_path, images, damage, capsys):
    damage(cached(tmp_path, images).cache.folder)
    capsys.readouterr()
    stored = cached(tmp_path, images)
    assert "it is built anew" in capsys.readouterr().err
    for row in range(9):
        np.testing.assert_array_equal(stored.read(row), images.read(row))
    cached(tmp_path, images)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["raw", "png", "jpeg"])
def test_an_image_of_the_cache_whose_bytes_changed_is_read_from_its_file(tmp_path, images, form, capsys):
    folder = cached(tmp_path, images, form).cache.folder
    flip(folder / "images.bin")
    stored = cached(tmp_path, images, form)
    np.testing.assert_array_equal(stored.read(8), images.read(8))
    assert "is damaged in row 8" in capsys.readouterr().err
    anew = cached(tmp_path, images, form)
    assert anew.cache.read(8) is not None


def test_images_on_another_background_are_another_cache(tmp_path, images):
    white = replace(images, preprocessing=replace(PREP, background="white"))
    cached(tmp_path, images)
    source = (cached(tmp_path, white).cache.folder / "cache.json").read_text()
    assert (cached(tmp_path, images).cache.folder / "cache.json").read_text() != source
