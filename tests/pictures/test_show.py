from dataclasses import replace

import numpy as np
import pytest
from conftest import write_image
from PIL import Image

from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError
from kitsolve.pictures.charts import Axis, Bar, bar_lengths
from kitsolve.pictures.drawing import (
    HEADER,
    MARGIN,
    WIDTH,
    caption_lines,
    grid_boxes,
    letterbox,
    readable,
    readable_names,
    shorten,
    text_width,
    tile_channels,
    wrap,
)
from kitsolve.pictures.show import choose_rows, draw_augmented, draw_classes, draw_train, read_train_set, show
from kitsolve.pictures.summary import (
    blocks,
    count_labels,
    describe,
    histogram_edges,
    measure_images,
    percent,
    round_step,
    row_labels,
    size_range,
)
from kitsolve.recipe import read_recipe

NAMES = ("bright", "dark", "grey")


@pytest.fixture
def recipe(fetched):
    return read_recipe(fetched, "shades", "baseline")


@pytest.fixture
def train(fetched):
    return read_train_set(fetched, "shades")


def multiclass(counts):
    names = tuple(f"class {number}" for number in range(len(counts)))
    return Targets("multiclass", names, np.repeat(np.arange(len(counts)), counts))


def multilabel(rows=36, labels=3):
    """Every row count of labels from none to all."""
    return Targets("multilabel", NAMES[:labels], np.tri(4, 3, -1, dtype=np.uint8)[np.arange(rows) % 4])


def regression(values):
    return Targets("regression", ("age",), np.asarray(values, dtype=np.float64))


# --------------------------------------------------------------------------------------------- the whole step


def test_all_pictures_are_png_files_of_one_width(fetched, recipe):
    shown = show(fetched, "shades", recipe=recipe)
    assert list(shown.pictures) == ["train", "classes", "sizes", "augmented"]
    for path in shown.pictures.values():
        assert path.parent == fetched.root / "workspace" / "pictures" / "shades"
        with Image.open(path) as picture:
            picture.load()
            assert (picture.format, picture.width) == ("PNG", WIDTH)


def test_what_is_shown_is_told_in_numbers_and_words(fetched, recipe):
    shown = show(fetched, "shades", recipe=recipe)
    assert (shown.rows, shown.classes) == (36, 3)
    assert shown.smallest == shown.median == shown.largest == (24, 20)
    assert shown.lines[0] == "Shades of grey: 36 rows, 3 classes (multiclass)"
    assert [line.split() for line in shown.lines[1:4]] == [[name, blocks(1), "12", "33.3%"] for name in NAMES]
    assert shown.lines[4] == "size of all images: 24 × 20 px"


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_images(fetched, recipe):
    def contents(seed):
        pictures = show(fetched, "shades", recipe=recipe, seed=seed).pictures
        return {name: path.read_bytes() for name, path in pictures.items()}

    first, again, other = contents(1), contents(1), contents(2)
    assert first == again
    assert {name for name in first if first[name] != other[name]} == {"train", "augmented"}


def test_an_image_that_is_gone_is_named_and_no_picture_is_left_half_done(fetched, recipe):
    (fetched.raw("shades") / "train" / "0003.png").unlink()
    with pytest.raises(KitsolveError, match=r"0003\.png") as caught:
        show(fetched, "shades", recipe=recipe)
    assert "kitsolve fetch shades" in caught.value.hint
    assert not (fetched.root / "workspace" / "pictures").exists()


def test_without_tables_the_hint_is_to_fetch(shades):
    with pytest.raises(KitsolveError, match="not made yet"):
        show(shades, "shades", recipe=read_recipe(shades, "shades", "baseline"))


@pytest.mark.parametrize("targets", [multilabel(), regression(np.linspace(-1, 1, 36)), regression([7.0] * 36)])
def test_other_tasks_are_drawn_too(fetched, train, recipe, targets):
    other = replace(train, targets=targets)
    pictures = [draw_train(other, seed=0), draw_classes(other), draw_augmented(fetched, other, recipe, seed=0)]
    assert [picture.width for picture in pictures] == [WIDTH] * 3
    assert describe(other, np.array([[24, 20]]))


def test_arrays_of_many_channels_are_drawn_too(fetched, train, recipe, tmp_path):
    paths = [tmp_path / f"{row}.npy" for row in range(36)]
    for row, path in enumerate(paths):
        np.save(path, np.random.default_rng(row).normal(size=(6, 20, 24)).astype(np.float16))
    facts = train.competition.model_copy(update={"image": train.competition.image.model_copy(update={"channels": 6})})
    other = replace(train, competition=facts, paths=paths)
    assert draw_train(other, seed=0).width == draw_augmented(fetched, other, recipe, seed=0).width == WIDTH


# --------------------------------------------------------------------------------------------- which rows


@pytest.mark.parametrize("counts", [[20, 20, 20], [500, 1, 3], [1] * 48, [40] * 7])
def test_every_class_is_shown_where_there_are_fewer_classes_than_cells(counts):
    targets = multiclass(counts)
    rows = choose_rows(targets, 48, seed=0)
    assert len(rows) == len(set(rows)) == min(48, sum(counts))
    shown = np.bincount(targets.values[rows], minlength=len(counts))
    assert (shown > 0).all()
    most = shown.max()
    assert all(count >= min(most - 1, there) for count, there in zip(shown, counts, strict=True))
    assert (np.diff(targets.values[rows]) >= 0).all()


def test_of_many_classes_as_many_as_there_are_cells_are_shown():
    targets = multiclass([3] * 120)
    classes = targets.values[choose_rows(targets, 48, seed=0)]
    assert len(set(classes)) == 48
    assert set(classes) != set(targets.values[choose_rows(targets, 48, seed=1)])


def test_every_label_and_a_row_without_any_are_shown():
    values = np.zeros((500, 8), dtype=np.uint8)
    values[np.arange(8), np.arange(8)] = 1  # a single row each
    rows = choose_rows(Targets("multilabel", tuple("abcdefgh"), values), 12, seed=0)
    assert len(set(rows)) == 12
    assert values[rows].any(axis=0).all()
    assert not values[rows].any(axis=1).all()


def test_a_regression_is_shown_from_its_least_to_its_greatest_value():
    values = np.random.default_rng(0).permutation(1000).astype(float)
    shown = values[choose_rows(regression(values), 48, seed=0)]
    assert (shown[0], shown[-1], len(shown)) == (0, 999, 48)
    assert (np.diff(shown) > 15).all()


def test_the_unknown_label_has_a_name(train):
    facts = train.competition
    facts = facts.model_copy(update={"train": facts.train.model_copy(update={"unknown": "new_whale"})})
    whales = replace(train, competition=facts, targets=Targets("retrieval", ("a", "b"), np.array([2, 0, 2, 1])))
    assert [row_labels(whales, row, whales.names) for row in range(4)] == [["new_whale"], ["a"], ["new_whale"], ["b"]]
    assert count_labels(whales.targets) == [(2, 2), (0, 1), (1, 1)]


def test_a_row_without_labels_says_so(train):
    rows = replace(train, targets=multilabel())
    assert [row_labels(rows, row, rows.names) for row in (0, 2)] == [["no label"], ["bright", "dark"]]


# --------------------------------------------------------------------------------------------- numbers


def test_labels_are_counted_the_most_frequent_first_and_none_is_lost():
    counts = count_labels(multiclass([2, 0, 5, 2]))
    assert counts == [(2, 5), (0, 2), (3, 2), (1, 0)]
    assert count_labels(multilabel(rows=8)) == [(0, 6), (1, 4), (2, 2), (3, 2)]


def test_bars_are_as_long_as_their_counts():
    counts = [1000, 500, 250, 1, 0]
    lengths = bar_lengths([Bar("", count, "") for count in counts], room=400)
    assert lengths == [400, 200, 100, 1, 0]


def test_sizes_are_the_true_ones_whatever_the_file(tmp_path):
    write_image(tmp_path / "a.png", "grey", seed=0)
    np.save(tmp_path / "first.npy", np.zeros((4, 10, 30)))
    np.save(tmp_path / "last.npy", np.zeros((11, 31, 4)))
    np.save(tmp_path / "flat.npy", np.zeros((12, 32)))
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 10)).save(tmp_path / "turned.jpg", exif=turned)
    names = ["a.png", "first.npy", "last.npy", "flat.npy", "turned.jpg"]
    sizes = measure_images([tmp_path / name for name in names], channels=4)
    assert sizes.tolist() == [[24, 20], [30, 10], [31, 11], [32, 12], [10, 40]]


def test_least_middle_and_greatest_size_are_sizes_of_images():
    sizes = np.array([[100, 1], [20, 30], [5, 5], [40, 50], [25, 30]])
    assert size_range(sizes) == ((5, 5), (20, 30), (40, 50))


def test_steps_are_round_and_few():
    for span in (1e-4, 0.3, 1, 7, 99, 12345.0):
        step = round_step(span, 10)
        assert span / step <= 10 + 1e-9 < 10.1 < span / step * 2.6 + 0.1
        assert f"{step:.0e}"[0] in "125"


def test_ticks_stand_within_their_axis():
    axis = Axis(-0.31, 0.99, 100, 900, "value")
    ticks = axis.ticks(8)
    assert 3 <= len(ticks) <= 9
    assert all(100 <= axis.place(tick) <= 900 for tick in ticks)
    assert Axis(0, 1.2, 0, 100, "rows", whole=True).ticks(8) == [0, 1]


@pytest.mark.parametrize("values", [[1, 2, 3], [0.1, 0.25], [5, 5], [-3.7, 1e6], [0, 0]])
def test_a_histogram_counts_every_value(values):
    values = np.array(values, dtype=np.float64)
    counts, _ = np.histogram(values, histogram_edges(values, at_most=50))
    assert counts.sum() == len(values)
    assert 1 <= len(counts) <= 52


def test_whole_numbers_have_a_bar_each_where_there_is_room():
    assert histogram_edges(np.array([0.0, 4.0]), at_most=50).tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5, 4.5]


def test_nothing_that_is_there_looks_like_nothing():
    assert (percent(0), percent(1e-9), percent(0.0004), percent(0.1234)) == ("0.0%", "0.001%", "0.04%", "12.3%")
    assert blocks(0).strip() == ""
    assert blocks(1e-9).strip() == "▏"
    assert {len(blocks(share)) for share in (0, 0.01, 0.5, 0.999, 1)} == {24}


def test_empty_cells_are_told_by_column(train):
    table = train.table.assign(sex=["f", "m", ""] * 12, age="7")
    assert describe(replace(train, table=table), np.array([[24, 20]]))[-1] == "empty cells: sex 33.3%"


def test_rare_classes_are_told(train):
    rare = replace(train, targets=Targets("multiclass", NAMES, np.array([0] * 35 + [1])))
    assert "2 classes have fewer rows than there are folds (2)" in describe(rare, np.array([[24, 20]]))


# --------------------------------------------------------------------------------------------- text and places


def test_text_that_the_font_lacks_becomes_readable():
    assert readable("Größe – José × 2\n≥ 3 猫") == "Grosse - Jose x 2 >= 3 ?"
    assert readable("plain text, (1) & more!") == "plain text, (1) & more!"


def test_names_that_become_alike_or_unreadable_are_numbered():
    names = ["José", "Jose", "猫", "犬", "Müller", "why?"]
    assert readable_names(names) == ["#0 Jose", "Jose", "#2 ?", "#3 ?", "Muller", "why?"]


def test_shortened_text_fits_and_shows_its_beginning():
    text = "Pneumonoultramicroscopicsilicovolcanoconiosis"
    for width in (30, 100, 200):
        short = shorten(text, width, 16)
        assert text_width(short, 16) <= width
        assert short.endswith("…")
        assert text.startswith(short[:-1])
    assert shorten(text, 2000, 16) == text


def test_wrapped_text_fits_and_loses_nothing_where_there_is_room():
    text = "Tomato___Yellow_Leaf Curl-Virus"
    lines = wrap(text, 120, 16, lines=9)
    assert all(text_width(line, 16) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(wrap(text, 120, 16, lines=2)) == 2


def test_several_labels_stand_in_lines_of_their_own():
    captions = [["a", "b"], ["a", "b", "c", "d"], [], ["a"]]
    assert caption_lines(captions, 150) == [["a", "b"], ["a", "b", "and 2 more"], [], ["a"]]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("shape", [(20, 24, 3), (900, 100, 3), (10, 400, 1), (30, 30, 7)])
def test_cells_keep_within_the_margins_and_apart(apart, shape):
    boxes = grid_boxes([np.zeros(shape, np.uint8)] * 11, [["a label"]] * 11, columns=8, apart=apart)
    assert min(box.left for box in boxes) == MARGIN
    assert max(box.left + box.width for box in boxes) <= WIDTH - MARGIN
    assert min(box.top for box in boxes) >= HEADER
    for one, other in zip(boxes, boxes[1:], strict=False):
        assert one.left + one.width < other.left or one.top + one.height < other.top


@pytest.mark.parametrize(("channels", "tiles"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 6), (12, 9)])
def test_channels_stand_beside_each_other(channels, tiles):
    image = np.ones((50, 50, channels), dtype=np.uint8)
    tiled = tile_channels(image)
    assert tiled.shape[2] == 3
    assert (tiled[..., 0] == 1).sum() == tiles * 50 * 50


@pytest.mark.parametrize("size", [(8, 8), (1, 3000), (3000, 1), (640, 480)])
def test_a_letterboxed_image_fits_and_keeps_its_shape(size):
    fitted = letterbox(np.zeros((*size, 3), dtype=np.uint8), 174, 120)
    assert fitted.width <= 174
    assert fitted.height <= 120
    assert fitted.width == 174 or fitted.height == 120
