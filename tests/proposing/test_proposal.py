import tomllib

import pytest

from kitsolve.proposing.proposal import Fact, Proposal, to_toml, write_toml

STRANGE = ['"quoted"', "it's", "back\\slash", "new\nline", "tab\t", "é", "\x7f", "", "a\\'b", "emoji 🐋", "\xa0"]


def write(*facts: Fact) -> str:
    return write_toml(Proposal("some-slug", list(facts), {}, []))


@pytest.mark.parametrize(
    "value",
    [
        *STRANGE,
        3,
        0.25,
        True,
        ["a", 'b"'],
        [1, 100],
        STRANGE * 3,
        {"csv": "train.csv"},
        {"glob": "*", "on": ["id", "x"]},
    ],
    ids=str,
)
def test_any_value_comes_back_from_toml(value):
    assert tomllib.loads(f"key = {to_toml(value)}")["key"] == value


@pytest.mark.parametrize("text", STRANGE)
def test_reasons_and_choices_of_any_letters_leave_the_toml_valid(text):
    parsed = tomllib.loads(write(Fact("", "title", text, text, (text, None)), Fact("train", "id", text, text)))
    assert parsed == {"title": text, "train": {"id": text}}


def test_every_fact_has_its_reason_behind_it_and_an_unsure_one_its_choices():
    lines = write(
        Fact("", "task", "binary", "two labels"),
        Fact("train", "id", "id", "it is unique"),
        Fact("train", "group", "patient", "by its name", ("patient", None)),
    ).splitlines()
    assert lines[2:] == [
        'task  = "binary"  # two labels',
        "",
        "[train]",
        'id    = "id"       # it is unique',
        'group = "patient"  # by its name',
        '                   # unsure: choose one of "patient", (leave it out)',
    ]


def test_the_head_counts_what_is_unsure_and_says_what_is_not_verified():
    proposal = Proposal("x", [Fact("", "task", "binary", "why", ("binary", "ordinal"))], {}, ["3 rows find no image."])
    head = write_toml(proposal).splitlines()
    assert head[1] == "# 1 of these facts is unsure and wants a decision."
    assert head[2] == "# not verified: 3 rows find no image."


def test_no_line_is_longer_than_120_characters_where_the_value_is_not():
    text = write(
        Fact(
            "train", "target", [f"a label of many words {number}" for number in range(9)], "long " * 40, ("x", "y" * 60)
        ),
        Fact("train", "rows", {"glob": "train/*/*.png", "pattern": "^train/(?P<label>[^/]+)/"}, "long " * 40),
    )
    assert max(map(len, text.splitlines())) <= 120
