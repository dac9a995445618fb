from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from tiny import PREP

from kitsolve.inference.bundle import (
    Preprocessing,
)
from kitsolve.inference.images import normalise, place_image, read_image, resize_image, scale_image


def test_an_image_is_read_as_rgb(tmp_path):
    Image.new("RGB", (3, 2), (255, 0, 7)).save(tmp_path / "red.png")
    image = read_image(tmp_path / "red.png")
    assert image.shape == (2, 3, 3)
    assert image[0, 0].tolist() == [255, 0, 7]


def test_a_grey_image_gets_three_equal_channels(tmp_path):
    Image.new("L", (3, 2), 99).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png")[1, 2].tolist() == [99, 99, 99]


def test_what_cv2_cannot_read_pillow_reads(tmp_path):
    Image.new("RGB", (4, 2), (1, 2, 3)).save(tmp_path / "image.pcx")  # of odd widths Pillow 11 makes others
    assert read_image(tmp_path / "image.pcx")[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"no image", "damaged"), (None, "cannot be read")])
def test_an_image_that_cannot_be_used_is_named(tmp_path, content, word):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken.png.* {word}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_damaged(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, size=(40, 40, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged"):
        read_image(path)


def test_shrinking_averages_whole_areas():
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    assert (resize_image(stripes, PREP) == 100).all()


def test_normalised_images_have_the_formula_of_torchvision():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    expected = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    result = normalise(images, PREP)
    assert torch.allclose(result, expected, atol=1e-6)
    assert result.is_contiguous(memory_format=torch.channels_last)


GRADIENT = np.linspace(0, 255, 32, dtype=np.uint8)[None, :].repeat(24, axis=0)


TRANSPARENT = np.dstack([GRADIENT, GRADIENT, GRADIENT, np.full_like(GRADIENT, 99)])


def save(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("grey.png", Image.fromarray(GRADIENT)),
        ("alpha.png", Image.fromarray(GRADIENT).convert("LA")),
        ("rgba.png", Image.fromarray(TRANSPARENT, "RGBA")),
        ("palette.png", Image.fromarray(GRADIENT).convert("P")),
        ("palette.gif", Image.fromarray(GRADIENT)),
        ("bitmap.bmp", Image.fromarray(GRADIENT)),
        ("tagged.tif", Image.fromarray(GRADIENT)),
        ("web.webp", Image.fromarray(GRADIENT).convert("RGB")),
        ("sixteen.png", Image.fromarray(GRADIENT.astype(np.uint16) * 257)),
        ("sixteen.tif", Image.fromarray(GRADIENT.astype(np.uint16) * 257)),
        ("photo.jpg", Image.fromarray(GRADIENT).convert("RGB")),
    ],
)  # fmt: skip
def test_images_of_all_modes_become_rgb(tmp_path, name, image):
    read = read_image(save(tmp_path, image, name))
    assert (read.shape, read.dtype) == ((24, 32, 3), np.uint8)
    np.testing.assert_allclose(read.astype(int).mean(axis=-1), GRADIENT.astype(int), atol=12)


def test_cmyk_is_turned_into_rgb_the_same_way_by_whoever_reads_it(tmp_path):
    image = Image.new("CMYK", (32, 24), (0, 255, 255, 0))  # red
    read = read_image(save(tmp_path, image, "print.jpg", quality=95))
    assert read[12, 16, 0] > 200
    assert read[12, 16, 1:].max() < 60


def test_a_cameras_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    path = save(tmp_path, Image.fromarray(GRADIENT).convert("RGB"), "turned.jpg", exif=exif)
    assert read_image(path).shape == (32, 24, 3)


def test_one_channel_is_grey(tmp_path):
    assert read_image(save(tmp_path, Image.fromarray(GRADIENT), "x.png"), channels=1).shape == (24, 32, 1)
    with pytest.raises(ValueError, match="x.png has colours, not the 6 channels"):
        read_image(tmp_path / "x.png", channels=6)


@pytest.mark.parametrize("shape", [(6, 20, 30), (20, 30, 6)])
def test_an_array_has_its_channels_first_or_last(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))
    assert read_image(tmp_path / "x.npy", channels=6).shape == (20, 30, 6)
    with pytest.raises(ValueError, match=r"x.npy has the shape .* names 3 channels"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize(
    "numbers",
    [
        GRADIENT,
        (GRADIENT / 255).astype(np.float32),
        GRADIENT.astype(np.float32) / 2,
        GRADIENT.astype(np.float32) * 2 - 30,
        GRADIENT.astype(np.uint16) * 16,
        GRADIENT.astype(np.int32),
        GRADIENT.astype(np.int32) * 9 - 100,
    ],
)
def test_an_array_is_read_as_an_image_file_of_the_same_numbers(tmp_path, numbers):
    np.save(tmp_path / "x.npy", numbers)
    Image.fromarray(numbers).save(tmp_path / "x.tif")
    array, image = (read_image(tmp_path / name, channels=1, bits=12) for name in ("x.npy", "x.tif"))
    np.testing.assert_array_equal(array, image)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int16, np.uint16, np.float64])
def test_before_it_was_a_choice_arrays_were_stretched_from_their_1st_to_their_99th_percentile(tmp_path, dtype):
    numbers = np.arange(1000).reshape(20, 50)
    np.save(tmp_path / "x.npy", numbers.astype(dtype))
    image = read_image(tmp_path / "x.npy", channels=1, scale="image")
    assert (image.min(), image.max(), int(np.median(image))) == (0, 255, pytest.approx(127, abs=2))
    assert (np.diff(image.reshape(-1).astype(int)) >= 0).all()


def test_missing_numbers_are_low_and_an_array_without_any_is_an_error(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[np.nan, 0.0], [1.0, 2.0]]))
    assert read_image(tmp_path / "x.npy", channels=1)[0, 0, 0] == 0
    np.save(tmp_path / "none.npy", np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="none.npy holds no number"):
        read_image(tmp_path / "none.npy", channels=1)


def test_an_array_of_objects_is_not_unpickled(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="x.npy is damaged or no array"):
        read_image(tmp_path / "x.npy")


def write_dicom(path, pixels, photometric, *, compressed=False):
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, photometric, 0
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelData = pixels.astype(np.uint16).tobytes()
    if compressed:
        dataset.compress(JPEG2000Lossless)
    dataset.save_as(path, enforce_file_format=True)


@pytest.mark.parametrize("compressed", [False, True])
def test_dicom_is_read_through_its_window_and_white_is_always_high(tmp_path, compressed):
    wide = np.linspace(0, 255, 80, dtype=np.uint8)[None, :].repeat(70, axis=0)
    pixels = wide.astype(np.uint16) * 16
    write_dicom(tmp_path / "two.dcm", pixels, "MONOCHROME2", compressed=compressed)
    write_dicom(tmp_path / "one.dcm", pixels.max() - pixels, "MONOCHROME1", compressed=compressed)
    two, one = (read_image(tmp_path / name) for name in ("two.dcm", "one.dcm"))
    assert two.shape == (70, 80, 3)
    np.testing.assert_allclose(two[..., 0].astype(int), wide.astype(int), atol=8)
    np.testing.assert_allclose(one.astype(int), two.astype(int), atol=8)


def test_a_series_in_one_dicom_file_is_refused(tmp_path):
    write_dicom(tmp_path / "x.dcm", np.arange(2 * 7 * 8).reshape(2, 7, 8), "MONOCHROME2")
    with pytest.raises(ValueError, match="x.dcm has the shape .* a series"):
        read_image(tmp_path / "x.dcm")


def test_a_damaged_dicom_is_named(tmp_path):
    (tmp_path / "x.dcm").write_bytes(b"no dicom at all")
    with pytest.raises(ValueError, match="x.dcm is damaged"):
        read_image(tmp_path / "x.dcm")


def test_resizing_keeps_every_channel():
    image = np.zeros((10, 12, 6), dtype=np.uint8)
    image[..., 4] = 200
    resized = resize_image(image, Preprocessing((5, 5), (0.5,) * 6, (0.2,) * 6, "bicubic"))
    assert resized.shape == (5, 5, 6)
    assert resized[2, 2].tolist() == [0, 0, 0, 0, 200, 0]
    assert cv2.getNumThreads() >= 0


SIDES = Preprocessing((20, 40), (0.5, 0.25, 0.75), (0.25, 0.25, 0.25), "bilinear")


def half_and_half(height, width):
    """Black at the left, white at the right."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[:, width // 2 :] = 255
    return image


@pytest.mark.parametrize("resize", ["squash", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(20, 40), (50, 50), (30, 200), (200, 30), (7, 9)])
def test_every_way_of_resizing_gives_the_size_and_keeps_what_is_there_already(resize, size):
    prep = replace(SIDES, resize=resize)
    resized = resize_image(half_and_half(*size), prep)
    assert resized.shape == (20, 40, 3)
    np.testing.assert_array_equal(resize_image(resized, prep), resized)


def test_a_crop_keeps_the_middle_and_the_aspect_ratio():
    prep = replace(SIDES, resize="crop")
    assert scale_image(half_and_half(100, 100), prep).shape == (40, 40, 3)
    resized = resize_image(half_and_half(100, 100), prep)
    assert (resized[:, :19] == 0).all()
    assert (resized[:, 21:] == 255).all()


def test_a_crop_can_be_taken_anywhere():
    scaled = np.arange(40, dtype=np.uint8)[:, None, None].repeat(40, axis=1).repeat(3, axis=2)
    prep = replace(SIDES, resize="crop")
    assert [place_image(scaled, prep, (down, 0.5))[0, 0, 0] for down in (0, 0.5, 1)] == [0, 10, 20]


def test_a_letterbox_keeps_the_whole_image_between_bars_of_the_mean_colour():
    resized = resize_image(half_and_half(100, 100), replace(SIDES, resize="letterbox"))
    assert (resized[:, :10] == [128, 64, 191]).all()
    assert (resized[:, 30:] == [128, 64, 191]).all()
    assert (resized[:, 11:19] == 0).all()
    assert (resized[:, 21:30] == 255).all()


@pytest.mark.parametrize("content", [b"<html>404 Not Found", b"version https://git-lfs.github.com/spec/v1"])
def test_a_file_that_is_no_image_is_told_with_its_beginning(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match=f"begins with b'{content[:10].decode()}"):
        read_image(tmp_path / "a.png")
