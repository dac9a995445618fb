import cv2
import numpy as np
import pytest
from conftest import write_image
from PIL import Image

from kitsolve import config
from kitsolve.data.fetch import fetch
from kitsolve.data.images import SHOWN, check_images, describe_check
from kitsolve.data.pages import has_pages
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.inference.images import read_image
from kitsolve.pictures.show import read_train_set


def test_images_that_can_be_read_pass(tmp_path):
    write_image(tmp_path / "a.png", "dark", seed=0)
    check_images(tmp_path, ["a.png"], slug="shades")


def test_all_broken_images_are_listed_in_one_error(tmp_path):
    write_image(tmp_path / "good.png", "dark", seed=0)
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(KitsolveError) as caught:
        check_images(tmp_path, ["good.png", "cut.png", "empty.png", "text.png", "missing.png"], slug="shades")
    problem = caught.value.problem
    assert problem.startswith("4 of 5 images")
    for name in ("cut.png", "empty.png", "text.png", "missing.png"):
        assert name in problem
    assert "kitsolve fetch shades --force" in caught.value.hint


def test_a_long_list_is_cut_and_counted(tmp_path):
    with pytest.raises(KitsolveError, match="and 5 more") as caught:
        check_images(tmp_path, [f"{number}.png" for number in range(SHOWN + 5)], slug="shades")
    assert caught.value.problem.count(".png") == SHOWN


GREY = np.add.outer(np.arange(20) * 3, np.arange(24) * 5).astype(np.uint8)


def describe(folder, *names, **facts):
    image = config.Image(**facts)
    return describe_check(check_images(folder, names, slug="shades", image=image), image)


def test_of_usual_images_nothing_is_said(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    Image.fromarray(GREY).convert("RGBA").save(tmp_path / "opaque.png")
    cv2.imwrite(str(tmp_path / "deep.png"), GREY.astype(np.uint16) * 257)
    Image.fromarray((GREY / 255).astype(np.float32)).save(tmp_path / "float.tif")
    np.save(tmp_path / "x.npy", np.dstack([GREY] * 3))
    assert describe(tmp_path, "a.jpg", "opaque.png", "deep.png", "float.tif", "x.npy") == []


def test_what_is_odd_is_counted_with_its_first_example(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.jpg")
    Image.fromarray(np.dstack([GREY] * 4)).save(tmp_path / "half.png")
    Image.fromarray(np.dstack([GREY, GREY, GREY, GREY * 0])).save(tmp_path / "hidden.png")
    Image.fromarray(GREY).save(tmp_path / "b.gif", save_all=True, append_images=[Image.fromarray(255 - GREY)])
    Image.fromarray(GREY.astype(np.float32) + 250).save(tmp_path / "kelvin.tif")
    said = describe(tmp_path, "a.jpg", "half.png", "hidden.png", "b.gif", "kelvin.tif", background="black")
    assert [text.split(" images ")[0] for text in said] == ["1 of 5"] * 4
    transparent, hidden, pages, numbers = said
    assert "are laid on black" in transparent
    assert transparent.endswith("first: half.png.")
    assert hidden.endswith("first: hidden.png.")
    assert pages.endswith("the first is taken; first: b.gif.")
    assert numbers.endswith("first: kelvin.tif, from 250 to 422.")


def test_arrays_of_fractions_keep_their_brightness_and_nothing_is_said(tmp_path):
    for name, light in (("dark.npy", 0.25), ("bright.npy", 0.75)):
        np.save(tmp_path / name, np.full((20, 24, 3), light, dtype=np.float32))
    assert describe(tmp_path, "dark.npy", "bright.npy") == []
    assert [read_image(tmp_path / name).mean() for name in ("dark.npy", "bright.npy")] == [64, 191]


def test_floats_that_are_not_of_one_range_are_told(tmp_path):
    for name, most in (("a.npy", 1.0), ("b.npy", 0.9), ("more.npy", 1.2), ("black.npy", 0.0)):
        np.save(tmp_path / name, np.linspace(0, most, 75).reshape(5, 5, 3))
    (said,) = describe(tmp_path, "a.npy", "more.npy", "b.npy", "black.npy")
    assert said.startswith("2 of 4 images hold floats of 0 to 1, which are multiplied by 255, but in 1 others")
    assert said.endswith("first: a.npy, of the others: more.npy.")


def test_arrays_that_are_stretched_are_told(tmp_path):
    np.save(tmp_path / "a.npy", np.linspace(-20, 5, 75).reshape(5, 5, 3))
    np.save(tmp_path / "b.npy", np.linspace(0, 0.5, 75).reshape(5, 5, 3))
    (said,) = describe(tmp_path, "a.npy", "b.npy")
    assert said.startswith("1 of 2 images hold numbers outside of 0 to 255: each is scaled from its own 1st to 99th")
    assert said.endswith("first: a.npy, from -20 to 5.")
    (said,) = describe(tmp_path, "a.npy", "b.npy", scale="image")
    assert said.startswith("2 of 2 images hold other numbers than 8 bits: each is scaled from its own")


def frames(path, *sizes, **options):
    first, *others = [Image.fromarray(GREY).resize(size) for size in sizes]
    first.save(path, save_all=True, append_images=others, **options)
    return has_pages(path.read_bytes())


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif", "a.avif"])
def test_further_frames_are_pages(tmp_path, name):
    if name == "a.tif":
        assert not frames(tmp_path / "pyramid.tif", (24, 20), (12, 10), (6, 5))
    assert not frames(tmp_path / f"one-{name}", (24, 20))
    Image.fromarray(255 - GREY).save(
        tmp_path / name, save_all=True, append_images=[Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    )
    assert has_pages((tmp_path / name).read_bytes())


def test_the_preview_in_a_photo_is_no_page(tmp_path):
    photo = Image.fromarray(GREY)
    photo.save(tmp_path / "a.mpo", "MPO", save_all=True, append_images=[photo.resize((12, 10))])
    assert not has_pages((tmp_path / "a.mpo").read_bytes())


def test_twelve_bits_in_sixteen_are_found_at_fetch_and_kept_by_the_run(shades):
    raw = shades.root / "download"
    for path in [*(raw / "train").iterdir(), *(raw / "test").iterdir()]:
        cv2.imwrite(str(path), cv2.imread(str(path)).astype(np.uint16) * 16)
    fetched = fetch(shades, "shades", source=raw)
    assert fetched.image_bits == 12
    assert any("43 of 43 images have 16 bits or more and use 12 at most" in notice for notice in fetched.notices)
    run = open_run(shades, Wanted("shades"))
    assert run.competition.image.bits == read_train_set(shades, "shades").competition.image.bits == 12
    facts = shades.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text() + "[image]\nbits = 16\n")
    assert not any("bits" in notice for notice in fetch(shades, "shades").notices)
    assert open_run(shades, Wanted("shades")).competition.image.bits == 16


def test_images_of_32_bits_are_read_alike_whatever_each_of_them_holds(shades):
    """The levels of the darkest one fit into 8 bits, those of the others into 12."""
    raw = shades.root / "download"
    for number, path in enumerate([*(raw / "train").iterdir(), *(raw / "test").iterdir()]):
        levels = np.full((20, 24), 150 + 90 * number, dtype=np.int32)
        Image.fromarray(levels).save(path, format="TIFF")
    assert fetch(shades, "shades", source=raw).image_bits == 12
    reading = open_run(shades, Wanted("shades")).competition.image.reading
    paths = [*(raw / "train").iterdir(), *(raw / "test").iterdir()]
    means = [read_image(path, **reading).mean() for path in paths]
    assert means == sorted(means)
    assert means[0] == 150 >> 4


def test_images_that_no_row_uses_are_said_at_fetch(shades):
    raw = shades.root / "download"
    write_image(raw / "train" / "more.jpg", "dark", seed=0)
    write_image(raw / "test" / "hidden.png", "dark", seed=0)
    (notice,) = fetch(shades, "shades", source=raw).notices
    assert "1 image files beside the train images belong to no row (1 .jpg), first: train/more.jpg" in notice


def test_a_missing_image_is_told_with_what_is_there_in_its_place(tmp_path):
    write_image(tmp_path / "train" / "a.png", "grey", seed=0)
    with pytest.raises(KitsolveError, match="a.png is there: a template that ends in") as caught:
        check_images(tmp_path, ["train/a.jpg", "../b.png"], slug="x")
    assert "b.png is not read: it lies outside of the raw folder" in caught.value.problem
