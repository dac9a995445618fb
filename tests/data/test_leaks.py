import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.config import GroupPattern
from kitsolve.data.agreement import Labels
from kitsolve.data.leaks import compare_splits, find_leaks, list_candidates

WRITINGS = {
    "codes": lambda number, rng: f"S{number:04d}",
    "numbers": lambda number, rng: str(10_000 + 7919 * number % 89_989),
    "hashes": lambda number, rng: f"{(number + 1) * 2654435761 % 2**40:010x}",
    "words": lambda number, rng: f"site {number} b",
}


def deal_groups(rng, rows, largest):
    """(rows,) the group of each row, of 2 to `largest` rows, in random order."""
    sizes = rng.integers(2, largest + 1, rows)
    return rng.permutation(np.repeat(np.arange(rows), sizes)[:rows])


def label_groups(rng, groups, classes, purity):
    """(rows,) a label that a row has from its group with the given probability, else by chance."""
    own = rng.integers(0, classes, groups.max() + 1)[groups]
    return np.where(rng.random(len(groups)) < purity, own, rng.integers(0, classes, len(groups)))


def search(train, values, test=None, *, columns=None, names=(), folders=(), words=None):
    candidates = list_candidates(
        train, test, columns=list(train) if columns is None else columns, names=names, folders=folders
    )
    return find_leaks(candidates, Labels.of(values, words))


def draw_columns(rng, labels):
    """Columns without a group, all but the last ones related to the label as measurements and categories are."""
    rows, scale = len(labels), rng.uniform(0.3, 3)
    dates = pd.Timestamp("2019-01-01") + pd.to_timedelta(rng.integers(0, 500, rows), unit="D")
    related = {
        "age": (45 + 12 * scale * labels + rng.normal(0, 10, rows)).clip(0, 100).round().astype(int),
        "width": 64 * rng.integers(4, 20, rows) + 64 * labels,
        "brightness": (labels * scale + rng.normal(0, 1, rows)).round(2),
        "weight": (50 + 20 * scale * labels + rng.gamma(2, 10, rows)).round(1),
        "count": rng.poisson(3 + 4 * labels),
        "sex": np.where(rng.random(rows) < 0.3 + 0.1 * labels, "male", "female"),
        "part": rng.choice(["head", "torso", "arm", "leg", "hand", "foot"], rows),
    }
    free = {
        "taken": dates.strftime("%Y-%m-%d"),
        "camera": [f"cam{number}" for number in rng.integers(0, 30, rows)],
        "batch": rng.integers(0, rows // 4, rows),
        "x": rng.normal(size=rows).round(3),
        "uid": [f"{number:012x}" for number in rng.integers(0, 2**48, rows)],
    }
    return pd.DataFrame({**related, **free}).astype(str)


@settings(max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(200, 600),
    largest=st.integers(2, 10),
    purity=st.floats(0.9, 1.0),
    classes=st.integers(2, 8),
    writing=st.sampled_from(list(WRITINGS)),
)
def test_a_group_whose_rows_share_the_label_is_found_whatever_it_is_called(
    seed, rows, largest, purity, classes, writing
):
    rng = np.random.default_rng(seed)
    groups = deal_groups(rng, rows, largest)
    labels = label_groups(rng, groups, classes, purity)
    name = "".join(rng.choice(list("abcdefgh"), 5))
    cells = [WRITINGS[writing](number, rng) for number in groups]
    train = draw_columns(rng, labels).assign(**{name: cells})
    leaks = search(train, labels)
    assert leaks[0].candidate.group == name
    assert leaks[0].by_label


@settings(max_examples=60, derandomize=True)
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(60, 2000),
    classes=st.integers(2, 8),
    empty=st.sampled_from([None, "", np.nan]),
)
def test_measurements_ages_dates_and_categories_are_no_groups(seed, rows, classes, empty):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    train = draw_columns(rng, labels).assign(limit=(20 + 10 * labels + rng.integers(0, 10, rows)).astype(str))
    if empty is not None:
        train = train.mask(rng.random(train.shape) < 0.02, empty)
    test = draw_columns(rng, rng.integers(0, classes, rows // 3))
    assert search(train, labels, test) == []


@settings(max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6), rows=st.integers(200, 500), noise=st.floats(0, 0.7))
def test_a_group_whose_rows_have_close_values_is_found(seed, rows, noise):
    rng = np.random.default_rng(seed)
    groups = deal_groups(rng, rows, 6)
    values = rng.normal(size=groups.max() + 1)[groups] + rng.normal(0, noise, rows)
    leaks = search(pd.DataFrame({"z": [f"k{number}" for number in groups]}), values)
    assert [leak.candidate.group for leak in leaks] == ["z"]


@settings(max_examples=30, derandomize=True)
@given(seed=st.integers(0, 10**6), rows=st.integers(200, 500))
def test_a_group_whose_rows_have_the_same_set_of_labels_is_found(seed, rows):
    rng = np.random.default_rng(seed)
    groups = deal_groups(rng, rows, 6)
    sets = rng.integers(0, 2, (groups.max() + 1, 5))[groups]
    sets = np.where(rng.random(sets.shape) < 0.1, 1 - sets, sets).astype(np.uint8)
    leaks = search(pd.DataFrame({"z": [f"k{number}" for number in groups]}), sets)
    assert [leak.candidate.group for leak in leaks] == ["z"]


@settings(max_examples=40, derandomize=True)
@given(seed=st.integers(0, 10**6), groups=st.integers(20, 80), writing=st.sampled_from(list(WRITINGS)))
def test_values_that_the_test_does_not_share_make_a_group_of_any_labels(seed, groups, writing):
    rng = np.random.default_rng(seed)
    write = WRITINGS[writing]
    train = pd.DataFrame({"z": [write(number, rng) for number in rng.integers(0, groups, 8 * groups)]})
    other = pd.DataFrame({"z": [write(number, rng) for number in rng.integers(groups, 2 * groups, 4 * groups)]})
    same = pd.DataFrame({"z": [write(number, rng) for number in rng.integers(0, groups, 4 * groups)]})
    labels = rng.integers(0, 3, len(train))
    assert [leak.by_test for leak in search(train, labels, other)] == [True]
    assert search(train, labels, same) == []


NAMES = {
    "cow{group:03d}_{row:02d}.jpg": "cow007",
    "{group}_{side}": "7",
    "patient{group}-slice{row}.png": "patient7",
    "vid{group}_frame{row:04d}.jpg": "vid7",
    "{side}.{group:04d}.{row}.png": "0007",
    "{row}_{group:05d}.png": "00007.png",
    "study {group}, {row}": "study 7",
    "IMG-{group:03d}{side}": "IMG-007",
}


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("folder", ["", "images/", "train/a/"])
def test_a_part_of_a_name_that_repeats_is_found_with_the_pattern_that_reads_it(form, folder):
    rng = np.random.default_rng(0)
    groups = deal_groups(rng, 300, 6)
    names = [folder + form.format(group=group, row=row, side="lr"[row % 2]) for row, group in enumerate(groups)]
    leaks = search(pd.DataFrame({"id": names}), label_groups(rng, groups, 4, 0.95), columns=[], names=["id"])
    assert isinstance(leaks[0].candidate.group, GroupPattern)
    told = pd.Series(leaks[0].codes).groupby(groups).nunique()
    assert (told == 1).all()
    assert leaks[0].values == len(set(groups))


def test_folders_that_hold_the_rows_of_a_group_are_found():
    rng = np.random.default_rng(0)
    groups = deal_groups(rng, 300, 6)
    paths = [f"train/{group % 3}/s{group}/{row}.png" for row, group in enumerate(groups)]
    leaks = search(pd.DataFrame({"path": paths}), label_groups(rng, groups, 4, 1.0), columns=[], folders=["path"])
    assert leaks[0].values == len(set(groups))


@settings(max_examples=40, derandomize=True)
@given(seed=st.integers(0, 10**6), kind=st.sampled_from(["hex", "number", "running", "camera"]))
def test_names_without_a_group_have_none(seed, kind):
    rng = np.random.default_rng(seed)
    names = {
        "hex": [f"{number:010x}" for number in rng.integers(0, 2**40, 400)],
        "number": [f"img_{number}.jpg" for number in rng.permutation(400)],
        "running": [f"{number:05d}.png" for number in range(400)],
        "camera": [f"DSC{number:05d}_{rng.integers(0, 5)}.jpg" for number in rng.permutation(400)],
    }[kind]
    assert search(pd.DataFrame({"id": names}), rng.integers(0, 5, 400), columns=[], names=["id"]) == []


def test_a_class_in_the_name_is_no_group():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 12, 600)
    words = pd.Series([f"kind{label}" for label in labels])
    names = [
        f"{word}/{word}_{number}_{row}.jpg" for row, (word, number) in enumerate(zip(words, labels * 3, strict=True))
    ]
    train = pd.DataFrame({"path": names})
    assert search(train, words.to_numpy(), columns=[], names=["path"], folders=["path"], words=words) == []


def test_a_coarser_and_a_finer_label_and_another_writing_of_it_are_no_groups():
    rng = np.random.default_rng(0)
    breeds = rng.integers(0, 40, 4000)
    train = pd.DataFrame(
        {"breed": [f"b{number}" for number in breeds], "genus": [f"g{number // 3}" for number in breeds]}
    )
    assert search(train, breeds) == []
    assert search(train, breeds % 2) == []


def test_marks_of_a_missing_value_are_no_group():
    rng = np.random.default_rng(0)
    cells = np.where(rng.random(400) < 0.4, "NA", [f"p{row}" for row in range(400)])
    labels = np.where(cells == "NA", 1, rng.integers(0, 2, 400))
    assert search(pd.DataFrame({"z": cells}), labels) == []


def test_of_nested_groups_the_coarser_one_comes_first():
    rng = np.random.default_rng(0)
    patients = deal_groups(rng, 600, 8)
    series = patients * 2 + rng.integers(0, 2, 600)
    train = pd.DataFrame({"series": [f"s{one}" for one in series], "patient": [f"p{one}" for one in patients]})
    assert search(train, label_groups(rng, patients, 3, 0.98))[0].candidate.group == "patient"


def test_rows_dealt_by_lot_share_as_many_values_as_expected():
    rng = np.random.default_rng(0)
    cells = pd.Series([f"v{value}" for value in rng.zipf(1.6, 3000)])
    found = compare_splits(cells[:2000], cells[2000:])
    assert found.seen == pytest.approx(found.expected, rel=0.2)


def test_a_chance_union_of_groups_is_no_coarser_group():
    rng = np.random.default_rng(0)
    groups = deal_groups(rng, 600, 6)
    train = pd.DataFrame({"fine": [f"f{one}" for one in groups], "union": [f"u{one // 2}" for one in groups]})
    assert search(train, label_groups(rng, groups, 4, 1.0))[0].candidate.group == "fine"


def test_a_column_that_near_copies_share_is_a_group_of_any_labels():
    rng = np.random.default_rng(0)
    groups, labels = deal_groups(rng, 300, 5), rng.integers(0, 3, 300)
    train = pd.DataFrame({"z": [f"k{one}" for one in groups], "batch": [f"b{one}" for one in rng.integers(0, 20, 300)]})
    leaks = find_leaks(
        list_candidates(train, None, columns=list(train), names=[], folders=[]),
        Labels.of(labels),
        near_duplicates=groups,
    )
    assert [leak.candidate.group for leak in leaks] == ["z"]
