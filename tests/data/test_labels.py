"""Labels have one order in every process, equal ones are one class, and the sample says how they are spelt."""

import math
import subprocess
import sys
import unicodedata

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kitsolve.data.labels import (
    canonical,
    differ_in_case,
    is_missing,
    is_number,
    mark_missing,
    sorted_labels,
    spell_as,
    unite_labels,
)

ODD = [
    "nan",
    "NaN",
    "inf",
    "-inf",
    "1e999",
    "-1e999",
    "infinity",
    "1_0",
    "１",
    "0x10",
    "",
    "-0",
    "+1",
    "01",
    "1.0",
    "1e0",
]
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=4)
NUMBERS = st.one_of(
    st.integers(-200, 200).map(str), st.floats(-99, 99).map(repr), st.integers(0, 99).map("{:03d}".format)
)
LABELS = st.one_of(st.sampled_from(ODD), NUMBERS, WORDS)


@given(st.sets(LABELS, min_size=1, max_size=12), st.randoms())
@settings(max_examples=200)
def test_the_order_of_classes_depends_on_nothing_but_the_classes(labels, chance):
    shuffled = list(labels)
    chance.shuffle(shuffled)
    assert sorted_labels(shuffled) == sorted_labels(sorted(labels))
    assert sorted(sorted_labels(labels)) == sorted(labels)
    if all(map(is_number, labels)):
        values = [float(label) for label in sorted_labels(labels)]
        assert values == sorted(values)
        assert all(map(math.isfinite, values))


def test_no_process_has_another_order():
    labels = "set('0 10 2 nan inf 1e999 NaN'.split())"
    code = f"from kitsolve.data.labels import sorted_labels; print(sorted_labels({labels}))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "LC_ALL": locale},
            capture_output=True,
            check=True,
        ).stdout
        for seed, locale in (("0", "C"), ("1", "C.UTF-8"), ("2", "tr_TR.UTF-8"))
    }
    assert len(found) == 1


@given(st.sets(LABELS, max_size=10))
@settings(max_examples=200)
def test_what_is_united_is_equal_and_nothing_equal_is_left(labels):
    changed, said = unite_labels(labels)
    assert bool(changed) == bool(said)
    assert all(canonical(before) == canonical(after) for before, after in changed.items())
    after = {changed.get(label, label) for label in labels if not is_missing(label)}
    numbers = all(map(is_number, after))
    keys = [canonical(label) if numbers else unicodedata.normalize("NFC", label) for label in after]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("labels", "changed"),
    [
        ({"1", "1.0", "2.0"}, {"1.0": "1", "2.0": "2"}),
        ({"0.0", "1.0"}, {}),
        ({"01", "02"}, {}),
        ({"1", "01"}, {"01": "1"}),
        ({"1", "1.0", "x"}, {}),
        ({"1", "1.0", "NA"}, {"1.0": "1"}),
        ({"10000000000000000001", "10000000000000000002"}, {}),
        ({"caf\u00e9", "cafe\u0301"}, {"cafe\u0301": "caf\u00e9"}),
        ({"Cat", "cat"}, {}),
    ],
)
def test_numbers_and_accents_make_equal_labels_letter_case_does_not(labels, changed):
    assert unite_labels(labels)[0] == changed


@given(st.sets(st.one_of(NUMBERS, WORDS), min_size=1, max_size=8), st.data())
@settings(max_examples=200)
def test_what_the_sample_shows_is_spelt_as_there_and_every_name_stays_itself(labels, data):
    names = sorted({canonical(label): label for label in labels}.values())
    shown = [f"{data.draw(st.sampled_from(['', ' ']))}{name}" for name in data.draw(st.lists(st.sampled_from(names)))]
    spelt = spell_as(names, shown)
    known = {canonical(label) for label in shown}
    for name, label in zip(names, spelt, strict=True):
        assert canonical(label) == canonical(name)
        assert label in shown or canonical(name) not in known


@pytest.mark.parametrize(
    ("names", "shown", "spelt"),
    [
        (("0.0", "1.0", "2.0"), ["0"], ("0", "1", "2")),
        (("0", "1"), ["0.0"], ("0.0", "1.0")),
        (("0", "10", "2"), ["02", "00"], ("00", "10", "02")),
        (("0.0", "1.0"), ["0.5"], ("0.0", "1.0")),
        (("caf\u00e9", "th\u00e9"), ["cafe\u0301"], ("cafe\u0301", "the\u0301")),
        (("cafe\u0301", "the\u0301"), ["caf\u00e9"], ("caf\u00e9", "th\u00e9")),
        (("cat", "dog"), [" cat"], (" cat", " dog")),
        (("cat", "dog"), ["Cat"], ("cat", "dog")),
        (("cat", "dog"), ["0"], ("cat", "dog")),
        (("cat", "dog"), [], ("cat", "dog")),
        (("cat", "dog"), ["cat ", "cat"], ("cat", "dog")),
    ],
)
def test_labels_that_the_sample_does_not_show_are_spelt_like_those_that_it_shows(names, shown, spelt):
    assert spell_as(names, shown) == spelt


@pytest.mark.parametrize("mark", ["NA", "n/a", "NaN", "null", "None", "?", "Unknown", "-", "", "  ", "#N/A"])
def test_words_that_stand_for_a_missing_value(mark):
    assert is_missing(mark)
    assert mark_missing(pd.Series(["x", mark, "0"])).tolist() == [False, True, False]


@pytest.mark.parametrize("word", ["0", "no", "nano", "normal", "nan1", "background", "-1", "other"])
def test_words_that_do_not(word):
    assert not is_missing(word)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (["Cat", "cat", "dog"], [("Cat", "cat")]),
        (["a", "A", "w1x", "w1X"], []),  # letters and codes
        (["Straße", "STRASSE", "Weg"], [("STRASSE", "Straße")]),
        (["cat", "cats"], []),
    ],
)
def test_words_that_differ_in_case_alone_are_found(labels, found):
    assert differ_in_case(labels) == found
