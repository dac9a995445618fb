"""Files without a sample submission: new makes one of the test images, and fetch takes it from beside the facts."""

import pytest
from layouts import draw, hexes, touch, write_table

from kitsolve.config import read_competition
from kitsolve.data.fetch import place_sample
from kitsolve.proposing.new import new_competition
from kitsolve.workspace import Workspace


def lay(raw, *, table: bool = False):
    touch(raw, [f"train/{label}/{name}.jpg" for name, label in zip(hexes(20, 0), draw("ab", 20), strict=True)])
    touch(raw, [f"pred/{name}.jpg" for name in ("x", "y")] + ["test/a/1.jpg", "test/b/1.jpg"])
    if table:
        write_table(raw / "test.csv", {"name": ["x", "y"]})


@pytest.mark.parametrize(("table", "text"), [(False, "id,label\nx,a\ny,a\n"), (True, "name,label\nx,a\ny,a\n")])
def test_new_makes_a_sample_of_the_test_table_or_of_the_folder_without_classes(table, text, tmp_path):
    lay(tmp_path / "raw", table=table)
    made = new_competition(Workspace(tmp_path / "root"), "birds", source=tmp_path / "raw")
    lines = (made.folder / "sample_submission.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == [line.partition(",")[0] for line in text.splitlines()]
    (fact,) = [fact for fact in made.proposal.facts if fact.key == "sample"]
    assert fact.choices
    assert "there is none: made of the 2 images" in fact.reason
    assert not made.proposal.problems


def test_fetch_takes_the_sample_from_beside_the_facts_and_leaves_what_was_linked(tmp_path):
    lay(tmp_path / "raw")
    workspace = Workspace(tmp_path / "root")
    folder = new_competition(workspace, "birds", source=tmp_path / "raw").folder
    place = workspace.raw("birds") / "sample_submission.csv"
    place.parent.mkdir(parents=True)
    (tmp_path / "own.csv").write_text("another")
    place.hardlink_to(tmp_path / "own.csv")
    (said,) = place_sample(workspace, read_competition(workspace, "birds"))
    assert "not Kaggle's" in said
    assert place.read_text() == (folder / "sample_submission.csv").read_text()
    assert (tmp_path / "own.csv").read_text() == "another"
