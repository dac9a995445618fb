import io

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, features

from kitsolve.inference.decoders import ImageError
from kitsolve.inference.images import read_image
from kitsolve.inference.pixels import BACKGROUNDS, DEPTHS, lay_on, stretch, to_uint8

Y, X = np.mgrid[0:24, 0:32]
COLOURS = np.stack([X * 8, Y * 10, (X + Y) * 4], axis=-1).astype(np.uint8)
ALPHA = np.where(X < 16, 0, np.where(X < 24, 100, 255)).astype(np.uint8)
RGBA = Image.fromarray(np.dstack([COLOURS, ALPHA]))
LA = Image.fromarray(np.dstack([COLOURS[..., 0], ALPHA]))


def over(colours, alpha, background):
    """Porter and Duff's over, in floats."""
    share = alpha[..., None] / 255
    return colours * share + np.array(BACKGROUNDS[background]) * (1 - share)


# ------------------------------------------------------------------------------------------------ transparency


@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize(
    ("name", "image", "options"),
    [
        ("rgba.png", RGBA, {}),
        ("la.png", LA, {}),
        ("rgba.webp", RGBA, {"lossless": True, "exact": True}),
        ("rgba.tif", RGBA, {}),
        ("lzw.tif", RGBA, {"compression": "tiff_lzw"}),
        ("la.tif", LA, {}),
        ("rgba.tga", RGBA, {}),
        ("rgba.jp2", RGBA, {}),
        ("rgba.dds", RGBA, {}),
    ],
)
def test_transparency_is_laid_on_the_background(tmp_path, name, image, options, background):
    image.save(tmp_path / name, **options)
    colours = COLOURS if image is RGBA else np.repeat(COLOURS[..., :1], 3, axis=-1)
    read = read_image(tmp_path / name, background=background)
    np.testing.assert_allclose(read, over(colours, ALPHA, background), atol=2 if name == "rgba.jp2" else 1)
    np.testing.assert_allclose(read_image(tmp_path / name)[:, 24:], colours[:, 24:], atol=2)


def test_sixteen_bits_keep_their_transparency(tmp_path):
    deep = np.dstack([COLOURS[..., ::-1], ALPHA]).astype(np.uint16) * 257
    expected = over(COLOURS, ALPHA, "white")
    for suffix in (".png", ".tif"):
        path = tmp_path / f"deep{suffix}"
        assert cv2.imwrite(str(path), deep)
        np.testing.assert_allclose(read_image(path, background="white"), expected, atol=1)


@pytest.mark.parametrize("mode", ["P", "RGB", "L"])
def test_a_colour_that_means_transparent_becomes_the_background(tmp_path, mode):
    image = Image.new("RGB", (8, 6), (10, 10, 10))
    image.paste((200, 200, 200), (4, 0, 8, 6))
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "key.png", transparency=image.getpixel((0, 0)))
    if mode == "P":
        image.save(tmp_path / "key.gif", transparency=image.getpixel((0, 0)))
    for path in sorted(tmp_path.iterdir()):
        read = read_image(path, background="white")
        assert read[0, 0].tolist() == [255, 255, 255]
        assert read[0, 7].tolist() == [200, 200, 200]
        assert read_image(path, background="black", channels=1)[0, 0].tolist() == [0]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow writes no AVIF")
def test_an_avif_with_transparency_is_laid_on_the_background(tmp_path):
    RGBA.save(tmp_path / "a.avif", quality=100)
    read = read_image(tmp_path / "a.avif", background="white")
    assert np.abs(read - over(COLOURS, ALPHA, "white")).mean() < 4


def test_an_alpha_channel_of_zeros_alone_hides_nothing(tmp_path):
    Image.fromarray(np.dstack([COLOURS, np.zeros_like(ALPHA)])).save(tmp_path / "hidden.png")
    assert (read_image(tmp_path / "hidden.png", background="white") == COLOURS).all()


def test_an_opaque_image_is_the_same_on_every_background(tmp_path):
    Image.fromarray(np.dstack([COLOURS, np.full_like(ALPHA, 255)])).save(tmp_path / "full.png")
    RGBA.convert("RGB").save(tmp_path / "none.png")
    for name in ("full.png", "none.png"):
        assert all((read_image(tmp_path / name, background=key) == COLOURS).all() for key in (*BACKGROUNDS, "ignore"))


@given(
    image=hnp.arrays(np.uint8, (3, 4, 3)),
    alpha=hnp.arrays(np.uint8, (3, 4)),
    colour=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_laying_on_a_colour_is_the_formula_rounded(image, alpha, colour):
    share = alpha[..., None] / 255
    np.testing.assert_allclose(lay_on(image, alpha, colour), image * share + np.array(colour) * (1 - share), atol=0.51)


# ------------------------------------------------------------------------------------------------ numbers

NUMBERS = [
    np.uint8,
    np.bool_,
    np.int8,
    np.uint16,
    np.int16,
    np.uint32,
    np.int32,
    np.int64,
    np.float16,
    np.float32,
    np.float64,
]


@given(numbers=hnp.arrays(st.sampled_from(NUMBERS), hnp.array_shapes(min_dims=2, max_dims=2)), bits=st.integers(8, 16))
def test_numbers_of_every_type_and_range_keep_their_order(numbers, bits):
    try:
        image, _ = to_uint8(numbers, bits=bits, scale="set")
    except ImageError:
        assert not np.isfinite(numbers).any()
        return
    assert (image.dtype, image.shape) == (np.uint8, numbers.shape)
    known = np.isfinite(numbers)
    order = np.argsort(numbers[known], kind="stable")
    assert (np.diff(image[known][order].astype(int)) >= 0).all()


@given(numbers=hnp.arrays(np.uint8, (4, 5)))
def test_the_same_picture_is_the_same_in_every_type_that_holds_it(numbers):
    numbers[0, 0], numbers[0, 1] = 255, 0
    for same in (numbers.astype(np.float32), numbers / 255, numbers.astype(np.uint16) * 257,
                 numbers.astype(np.int32) * 257):  # fmt: skip
        assert (to_uint8(same, bits=16, scale="set")[0] == numbers).all()


WHOLE = [np.uint16, np.int32, np.uint32, np.int64]


@given(st.data(), st.sampled_from(DEPTHS))
def test_within_a_set_a_greater_number_is_never_darker(data, bits):
    """Whatever holds them, and whatever else their images hold."""
    shapes, levels = hnp.array_shapes(min_dims=2, max_dims=2), st.integers(0, 2**bits - 1)
    images = data.draw(st.lists(st.sampled_from(WHOLE).flatmap(lambda kind: hnp.arrays(kind, shapes, elements=levels))))
    before = np.concatenate([np.zeros(0), *(image.ravel() for image in images)])
    after = np.concatenate([np.zeros(0), *(to_uint8(image, bits=bits, scale="set")[0].ravel() for image in images)])
    assert (np.diff(after[np.argsort(before, kind="stable")]) >= 0).all()


@pytest.mark.parametrize("kind", WHOLE)
def test_integers_that_use_8_bits_stay_as_they_are(kind):
    image, seen = to_uint8(COLOURS.astype(kind), bits=8, scale="set")
    assert (image == COLOURS).all()
    assert seen.bits == 8


def test_before_it_was_a_choice_integers_of_32_bits_were_scaled_by_what_their_image_holds():
    image, seen = to_uint8(COLOURS.astype(np.int32), bits=12, scale="image")
    assert (image == COLOURS).all()
    assert seen.bits == 0
    assert (to_uint8(COLOURS.astype(np.uint16), bits=12, scale="image")[0] == COLOURS >> 4).all()


@pytest.mark.parametrize("depth", DEPTHS)
def test_values_of_fewer_bits_are_read_as_such_and_brighter_ones_are_not_cut_off(depth):
    grey = np.arange(256, dtype=np.uint16).reshape(16, 16)
    image, seen = to_uint8(grey << (depth - 8), bits=depth, scale="set")
    assert (image == grey).all()
    assert seen.bits == depth
    more, _ = to_uint8(grey << 8, bits=depth, scale="set")
    assert (more == grey).all()


def test_a_float_that_exceeds_its_range_a_little_is_not_stretched():
    near = np.array([[-0.0002, 0.5, 1.0003]], dtype=np.float32)
    assert to_uint8(near, bits=16, scale="set")[0].tolist() == [[0, 128, 255]]
    kelvin = np.linspace(250, 320, 1000).reshape(20, 50)
    image, seen = to_uint8(kelvin, bits=16, scale="set")
    assert seen.range == (250, 320)
    assert (image == stretch(kelvin)).all()


@pytest.mark.parametrize("dtype", [np.complex64, "M8[s]", "m8[s]", "U2", "S2", [("a", "u1"), ("b", "f4")]])
def test_what_is_no_number_is_refused_by_its_type(tmp_path, dtype):
    np.save(tmp_path / "x.npy", np.zeros((4, 4, 3), dtype=dtype))
    with pytest.raises(ValueError, match=r"x.npy (holds|is damaged)"):
        read_image(tmp_path / "x.npy")


@pytest.mark.parametrize("shape", [(0, 5, 3), (5, 0, 3), (), (7,), (2, 2, 2, 3)])
def test_an_array_without_pixels_or_of_other_dimensions_is_refused(tmp_path, shape):
    np.save(tmp_path / "x.npy", np.zeros(shape, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"x.npy has the shape"):
        read_image(tmp_path / "x.npy")


HEADER = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "header",
    [
        HEADER.format("|u1", (10**6, 10**6, 3)), HEADER.format("|u1", (2**62, 2, 3)), HEADER.format("|u1", (-1, 2, 3)),
        HEADER.format("|u1", "(2, 2, 3"), HEADER.format("|x9", (2, 2, 3)), "import os", "{", "[" * 200, "\x00", "",
    ],
)  # fmt: skip
def test_an_array_whose_header_is_wrong_is_refused(tmp_path, header):
    text = header.encode("latin-1").ljust(117) + b"\n"
    content = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64)
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match="x.npy is damaged or no array"):
        read_image(tmp_path / "x.npy")


def test_an_archive_of_arrays_is_no_array(tmp_path):
    file = io.BytesIO()
    np.savez(file, a=COLOURS)
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match=r"x.npy is an archive of arrays"):
        read_image(tmp_path / "x.npy")
