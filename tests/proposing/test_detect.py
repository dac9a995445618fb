import re
import tomllib
from pathlib import Path

import pytest
from judging import OPTIONAL, flatten, judge, misses
from layouts import CODES, GRADES, NAMES, VARIATIONS, WHOLE, WORDS, Layout, table_layout
from layouts_blind import BLIND
from layouts_drawn import draw_layout
from layouts_seen import SEEN
from layouts_traps import TRAPS
from lookalikes import LOOKALIKES

import kitsolve
from kitsolve.config import Competition
from kitsolve.errors import KitsolveError
from kitsolve.proposing.detect import propose
from kitsolve.proposing.proposal import write_toml
from kitsolve.workspace import catalogue

CHECKED = [
    *("task", "train.rows", "train.id", "train.target", "train.image", "test.image"),
    *("submission.kind", "submission.sample", "folds.scheme", *OPTIONAL),
]
# What the files of the twelve do not tell, and the proposal says so.
OPEN = {
    "cassava-leaf-disease-classification": {"task", "submission.kind"},
    "aptos2019-blindness-detection": {"task", "submission.kind"},
    "siim-isic-melanoma-classification": {"submission.kind", "train.group", "train.features", "folds.scheme"},
    "ranzcr-clip-catheter-line-classification": {"train.group"},
    "petfinder-pawpularity-score": {"train.range", "train.features"},
    "seti-breakthrough-listen": {"train.rows", "train.image", "test.image"},
}


def propose_layout(layout: Layout, folder: Path):
    (folder / "raw").mkdir()
    layout.write(folder / "raw")
    return propose(folder / "raw", "any", pages=layout.pages)


def fact(proposal, name):
    table, _, key = name.rpartition(".")
    return next(fact for fact in proposal.facts if (fact.table, fact.key) == (table, key))


def unsure(proposal):
    return {f"{one.table}.{one.key}".strip(".") for one in proposal.unsure}


@pytest.mark.parametrize("slug", LOOKALIKES)
def test_of_a_known_competition_the_proposal_is_what_the_catalogue_says_or_unsure(slug, tmp_path):
    shipped = flatten(tomllib.loads((catalogue() / slug / "competition.toml").read_text(encoding="utf-8")))
    truth = {name: shipped.get(name, OPTIONAL.get(name)) for name in CHECKED}
    proposal, verdicts = judge(LOOKALIKES[slug], truth, tmp_path, slug=slug)
    assert not misses(verdicts, "silent")
    assert not proposal.problems
    assert all(verdict.offers_truth for verdict in verdicts if verdict.outcome == "unsure")
    assert unsure(proposal) & set(CHECKED) == OPEN.get(slug, set())


LAYOUTS = [*VARIATIONS, *SEEN, *TRAPS, *BLIND]
REFUSED = [layout for layout in LAYOUTS if layout.refused]


@pytest.mark.parametrize("layout", [one for one in LAYOUTS if one not in REFUSED], ids=lambda layout: layout.name)
def test_no_fact_of_a_layout_is_wrong_without_being_marked(layout, tmp_path):
    proposal, verdicts = judge(layout.write, layout.truth, tmp_path, pages=layout.pages)
    assert not misses(verdicts, "silent")
    assert layout.undecidable <= unsure(proposal)
    assert bool(proposal.problems) == layout.fails


@pytest.mark.parametrize("seed", range(25))
def test_no_fact_of_a_layout_drawn_by_chance_is_wrong_without_being_marked(seed, tmp_path):
    layout = draw_layout(seed)
    proposal, verdicts = judge(layout.write, layout.truth, tmp_path)
    assert not misses(verdicts, "silent")
    assert not proposal.problems


@pytest.mark.parametrize("layout", REFUSED, ids=lambda layout: layout.name)
def test_a_layout_that_no_facts_can_say_is_refused_with_the_cause_and_a_way_out(layout, tmp_path):
    with pytest.raises(KitsolveError, match=re.escape(layout.refused)) as caught:
        propose_layout(layout, tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "layout", [one for one in [*SEEN, *TRAPS, *BLIND] if one not in REFUSED], ids=lambda layout: layout.name
)
def test_a_proposal_is_always_a_competition_that_the_config_reads(layout, tmp_path):
    proposal = propose_layout(layout, tmp_path)
    Competition.model_validate({"slug": "any", **tomllib.loads(write_toml(proposal))})


@pytest.mark.parametrize(
    ("layout", "name", "choices"),
    [
        (table_layout("grades", GRADES), "task", {"ordinal", "multiclass", "regression"}),
        (table_layout("codes", CODES), "task", {"ordinal", "multiclass", "regression"}),
        (table_layout("whole", WHOLE), "submission.kind", {"probability", "label"}),
        (table_layout("words", WORDS), "train.positive", {"benign", "malignant"}),
        (table_layout("names", NAMES), "submission.via", {"csv", "notebook"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_what_the_files_do_not_tell_comes_with_its_choices(layout, name, choices, tmp_path):
    assert set(fact(propose_layout(layout, tmp_path), name).choices) == choices


def test_a_column_of_train_alone_is_no_feature(tmp_path):
    layout = next(one for one in VARIATIONS if one.name == "columns that only train has")
    assert fact(propose_layout(layout, tmp_path), "train.features").value == ["age"]


def test_the_evaluation_page_settles_task_and_kind(tmp_path):
    layout = table_layout("grades", GRADES)
    pages = {"Evaluation": "Submissions are scored by the quadratic weighted kappa."}
    proposal = propose_layout(Layout("grades", layout.write, {}, pages=pages), tmp_path)
    assert fact(proposal, "task").value == "ordinal"
    assert fact(proposal, "metric").value == "qwk"
    assert not {"task", "metric", "submission.kind"} & unsure(proposal)


def test_pages_that_speak_of_notebooks_make_a_code_competition(tmp_path):
    pages = {"Code Requirements": "<p>Submissions to this competition must be made through Notebooks.</p>"}
    layout = table_layout("names", NAMES)
    proposal = propose_layout(Layout("names", layout.write, {}, pages=pages), tmp_path)
    assert fact(proposal, "submission.via").value == "notebook"
    assert "submission.via" not in unsure(proposal)


def test_missing_images_are_counted_with_the_first_of_them(tmp_path):
    layout = next(one for one in TRAPS if one.name == "trap: three images are missing")
    assert propose_layout(layout, tmp_path).problems == ["3 of 60 train rows find no image, first: train/00000012.jpg."]


def test_what_was_found_is_told_in_numbers(tmp_path):
    found = propose_layout(table_layout("plain", NAMES), tmp_path).found
    assert found["images"] == "72 .jpg; in train (60), test (12)"
    assert found["train rows"] == "60, with 60 images"
    assert found["test rows"] == "12, with 12 images"
    assert found["classes"].startswith("6: ")


def test_images_in_files_that_nobody_reads_are_named(tmp_path):
    (tmp_path / "train.tfrec").touch()
    (tmp_path / "train.csv").write_text("id,label\na,1\nb,2\nc,1\n")
    with pytest.raises(KitsolveError, match="no image files, but 1 TFRecords file, first: train.tfrec"):
        propose(tmp_path, "any")


def test_a_broken_table_and_a_broken_archive_are_named_where_something_is_missing(tmp_path):
    (tmp_path / "train.json").write_text("{")
    (tmp_path / "train.zip").write_bytes(b"no zip")
    with pytest.raises(KitsolveError, match=r"train.zip cannot be looked into.*train.json cannot be read as a table"):
        propose(tmp_path, "any")


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(KitsolveError, match="is no folder"):
        propose(tmp_path / "nowhere", "any")


def test_raw_files_stay_as_they_are(tmp_path):
    layout = next(one for one in VARIATIONS if one.name == "a packed table")
    layout.write(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    propose(tmp_path, "any")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_no_module_knows_a_competition_by_its_name():
    words = {slug.split("-")[0] for slug in LOOKALIKES} - {"plant", "dog", "dogs", "whale"}
    words |= {"pawpularity", "new_whale", "old_leaky", "id_code", "studyinstance"}
    for path in (Path(kitsolve.__file__).parent / "data").glob("*.py"):
        found = set(re.findall(r"\w+", path.read_text(encoding="utf-8").lower())) & words
        assert not found, f"{path.name} knows {found}"
