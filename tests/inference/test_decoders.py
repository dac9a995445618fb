"""Files of every format that Pillow and OpenCV write here: whole, cut, and with bytes changed."""

import io
import warnings

import cv2
import numpy as np
import PIL
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from kitsolve.data.cache import read_reduced
from kitsolve.inference.bundle import Preprocessing
from kitsolve.inference.images import read_image

Y, X = np.mgrid[0:40, 0:48]
PHOTO = np.stack([X * 5, Y * 6, (X + Y) * 2], axis=-1).astype(np.uint8)
GREY = np.ascontiguousarray(PHOTO[..., 0])
UNIT = (GREY / 255).astype(np.float32)
ALPHA = (X * 5).astype(np.uint8)


def pillow(format_, image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, format_, **options) if isinstance(image, np.ndarray) else image.save(
        file, format_, **options
    )
    return file.getvalue()


def opencv(suffix, image):
    return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def array(image):
    file = io.BytesIO()
    np.save(file, image)
    return file.getvalue()


RGB = Image.fromarray(PHOTO)
RGBA = Image.fromarray(np.dstack([PHOTO, ALPHA]))
FILES = {
    "a.jpg": pillow("JPEG", RGB, quality=95),
    "progressive.jpg": pillow("JPEG", RGB, progressive=True),
    "cmyk.jpg": pillow("JPEG", RGB.convert("CMYK")),
    "a.png": pillow("PNG", RGB),
    "palette.png": pillow("PNG", RGB.convert("P"), transparency=3),
    "alpha.png": pillow("PNG", RGBA),
    "moving.png": pillow("PNG", RGB, save_all=True, append_images=[RGB.transpose(0)]),
    "16.png": opencv(".png", GREY.astype(np.uint16) * 257),
    "a.webp": pillow("WEBP", RGB),
    "lossless.webp": pillow("WEBP", RGBA, lossless=True),
    "a.gif": pillow("GIF", RGB.convert("P"), save_all=True, append_images=[RGB.convert("P").transpose(0)]),
    "a.bmp": pillow("BMP", RGB),
    "a.tif": pillow("TIFF", RGB),
    "lzw.tif": pillow("TIFF", RGB, compression="tiff_lzw"),
    "deflate.tif": pillow("TIFF", RGBA, compression="tiff_adobe_deflate"),
    "jpeg.tif": pillow("TIFF", RGB, compression="jpeg"),
    "float.tif": pillow("TIFF", UNIT),
    "colours.tif": opencv(".tif", PHOTO.astype(np.float32) / 255),
    "int.tif": pillow("TIFF", GREY.astype(np.int32) * 257),
    "16.tif": opencv(".tif", PHOTO.astype(np.uint16) * 257),
    "a.jp2": pillow("JPEG2000", RGB),
    "a.ppm": pillow("PPM", RGB),
    "16.pgm": opencv(".pgm", GREY.astype(np.uint16) * 257),
    "a.pfm": opencv(".pfm", PHOTO.astype(np.float32) / 255),
    "a.hdr": opencv(".hdr", PHOTO.astype(np.float32) / 255),
    "a.ras": opencv(".ras", PHOTO),
    "a.tga": pillow("TGA", RGB, compression="tga_rle"),
    "a.sgi": pillow("SGI", RGB),
    "a.pcx": pillow("PCX", RGB),
    "a.ico": pillow("ICO", RGB.resize((32, 32))),
    "a.dds": pillow("DDS", RGB),
    "a.mpo": pillow("MPO", RGB, save_all=True, append_images=[RGB]),
    "a.npy": array(PHOTO),
    "float.npy": array(PHOTO / 255),
} | ({"a.avif": pillow("AVIF", RGB)} if features.check("avif") else {})  # fmt: skip
STRICT = (".jpg", ".png", ".webp", ".bmp", ".tif", ".jp2", ".ppm", ".pgm", ".pfm", ".hdr", ".ras", ".avif", ".npy")
"""Formats of which every missing byte is noticed; elsewhere the last ones may be a footer that nobody needs."""


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what it then refuses
        yield


def read_bytes(tmp_path_factory, name, content):
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    return read_image(path, background="white")


@pytest.mark.parametrize("name", FILES)
def test_every_format_shows_the_picture(name, tmp_path_factory):
    image = read_bytes(tmp_path_factory, name, FILES[name])
    assert (image.dtype, image.shape[-1]) == (np.uint8, 3)
    assert int(image.max()) - int(image.min()) > 150, "not black, not flat"
    if image.shape == PHOTO.shape and "alpha" not in name and name not in ("deflate.tif", "lossless.webp"):
        grey = name in ("16.png", "float.tif", "int.tif", "16.pgm")
        expected = np.repeat(GREY[..., None], 3, axis=-1) if grey else PHOTO
        off = np.abs(image.astype(int) - expected).mean()
        assert off < (30 if "cmyk" in name or "palette" in name or name.endswith(".gif") else 12)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.95, 1.0])
def test_a_cut_file_is_an_error(name, share, tmp_path_factory):
    if name == "a.dds" and PIL.__version__ < "12":
        pytest.skip("this Pillow shows a cut DDS file")
    content = FILES[name]
    end = len(content) - 1 if share == 1 else int(len(content) * share)
    if share > 0.5 and not name.endswith(STRICT):
        pytest.skip("what is cut off may be a second image or a footer")
    if name == "moving.png" or name.endswith((".gif", ".mpo")):
        end = min(end, len(content) // 4)  # the first image is cut
    with pytest.raises(ValueError, match=name):
        read_bytes(tmp_path_factory, name, content[:end])


@pytest.mark.parametrize("name", ["a.jpg", "progressive.jpg", "a.png", "16.png", "lzw.tif", "a.gif", "a.jp2", "a.avif"])
def test_a_file_whose_end_is_zeros_is_an_error(name, tmp_path_factory):
    if name not in FILES:
        pytest.skip("this Pillow writes no AVIF")
    content = FILES[name]
    kept = len(content) // 2
    with pytest.raises(ValueError, match=name):
        read_bytes(tmp_path_factory, name, content[:kept] + bytes(len(content) - kept))


def test_the_preview_of_a_truncated_photo_is_not_its_end(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x927C] = FILES["a.jpg"]  # a whole JPEG in the maker's note
    large = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8))
    whole = pillow("JPEG", large, exif=exif)
    (tmp_path / "whole.jpg").write_bytes(whole + b"what a camera adds")
    assert read_image(tmp_path / "whole.jpg").shape == (400, 400, 3)
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2] + bytes(len(whole) // 2))
    prep = Preprocessing((32, 32), (0.5,) * 3, (0.25,) * 3, "bilinear")
    for read in (read_image, lambda path: read_reduced(str(path), prep)):
        with pytest.raises(ValueError, match="cut.jpg is damaged .* truncated"):
            read(tmp_path / "cut.jpg")


KINDS = st.sampled_from(["byte", "word", "cut", "insert", "delete"])
CHANGE = st.tuples(st.floats(0, 1, exclude_max=True), KINDS, st.binary(min_size=1, max_size=8))


def change(content, changes):
    content = bytearray(content)
    for place, kind, new in changes:
        at = int(place * len(content))
        if kind == "cut":
            del content[at + 1 :]
        elif kind == "delete":
            del content[at : at + len(new)]
        else:
            width = {"byte": 1, "word": len(new), "insert": 0}[kind]
            content[at : at + width] = new[:1] if kind == "byte" else new
    return bytes(content)


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(FILES)), changes=st.lists(CHANGE, min_size=1, max_size=4), head=st.booleans())
def test_of_a_changed_file_comes_an_image_or_a_value_error(name, changes, head, tmp_path_factory):
    content = FILES[name]
    part = min(len(content), 128) if head else len(content)
    changed = change(content[:part], changes) + content[part:]
    try:
        image = read_bytes(tmp_path_factory, f"changed-{name}", changed)
    except ValueError as error:
        assert name in str(error)  # noqa: PT017
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[-1] == 3
        assert image.size
