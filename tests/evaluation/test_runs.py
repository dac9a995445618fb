import shutil
from dataclasses import replace

import pytest

from kitsolve.data.fetch import fetch, read_train_table
from kitsolve.data.splits import rewrite_folds
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import (
    Wanted,
    find_run,
    folds_of,
    list_runs,
    open_run,
    read_run,
    record_run,
    summarise_run,
)
from kitsolve.recipe import read_recipe
from kitsolve.training.backbones import find_preprocessing
from kitsolve.workspace import read_json, write_json


def start(workspace, *overrides, name=None):
    """A new run that is on disk."""
    run = open_run(workspace, Wanted("shades", overrides=overrides, run_name=name))
    record_run(workspace, run)
    return run


def finish(run, pooled=0.5):
    write_json(run.folder / "score.json", {"pooled": pooled, "mean": pooled, "std": 0.0})


def test_a_run_records_what_it_was_made_from(fetched):
    run = start(fetched, "epochs=3")
    values = read_json(run.folder / "run.json")
    assert values["recipe"]["epochs"] == 3
    assert values["competition"]["title"] == "Shades of grey"
    assert {"torch", "timm", "opencv", "kitsolve"} <= set(values["versions"])
    assert read_run(run.folder) == run


def test_training_goes_on_with_the_newest_unfinished_run_of_the_same_settings(fetched):
    run = start(fetched)
    assert open_run(fetched, Wanted("shades")) == run
    assert open_run(fetched, Wanted("shades", overrides=("lr=1e-4",))) != run


def test_a_finished_run_is_left_alone_unless_it_may_be_used_again(fetched):
    run = start(fetched, name="done")
    finish(run)
    assert open_run(fetched, Wanted("shades"), reuse_finished=True) == run
    assert open_run(fetched, Wanted("shades")) != run


def test_a_run_of_another_version_is_named_and_does_not_stop_the_others(fetched, capsys):
    old, new = start(fetched, name="old"), start(fetched, name="new")
    values = read_json(old.folder / "run.json")
    write_json(old.folder / "run.json", values | {"recipe": {"backbone": "x", "size": 3}})
    assert list_runs(fetched, "shades") == [new]
    assert "left out: run old was made by kitsolve" in capsys.readouterr().err
    with pytest.raises(KitsolveError, match="in another form"):
        read_run(old.folder)


def test_the_way_of_submission_may_change_after_the_training(fetched):
    run = start(fetched, name="done")
    finish(run)
    facts = fetched.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text().replace('via    = "csv"', 'via    = "notebook"\nmachine_shape = "NvidiaL4"'))
    again = open_run(fetched, Wanted("shades"), reuse_finished=True)
    assert again.folder == run.folder


def test_force_starts_anew(fetched):
    run = start(fetched, name="first")
    (run.folder / "mark").touch()
    again = open_run(fetched, Wanted("shades", run_name="first"), force=True)
    assert (run.folder / "mark").exists()
    record_run(fetched, again)
    assert not (run.folder / "mark").exists()
    assert read_run(run.folder) == again


def test_a_run_that_is_recorded_again_keeps_its_files(fetched):
    run = start(fetched, name="first")
    (run.folder / "mark").touch()
    record_run(fetched, read_run(run.folder))
    assert (run.folder / "mark").exists()


def test_a_named_run_keeps_its_own_recipe(fetched):
    run = start(fetched, "epochs=5", name="long")
    assert open_run(fetched, Wanted("shades", run_name="long")).recipe == run.recipe


def test_a_named_run_refuses_other_choices_by_the_first_that_differs(fetched):
    start(fetched, name="first")
    with pytest.raises(KitsolveError, match="was started with epochs = 2; you asked for 7"):
        open_run(fetched, Wanted("shades", overrides=("epochs=7",), run_name="first"))


def test_a_named_run_refuses_other_folds(fetched):
    start(fetched, name="first")
    folds = fetched.tables("shades") / "folds.csv"
    folds.write_text(folds.read_text().replace(",1\n", ",0\n", 1))
    with pytest.raises(KitsolveError, match=r"another folds\.csv"):
        start(fetched, name="first")


@pytest.mark.parametrize("name", ["../other", "a/b", ".hidden", ".."])
def test_the_name_of_a_run_cannot_leave_its_folder(fetched, name):
    with pytest.raises(KitsolveError, match="no name for a run"):
        open_run(fetched, Wanted("shades", run_name=name), force=True)


def test_a_run_needs_the_tables(shades):
    with pytest.raises(KitsolveError) as caught:
        open_run(shades, Wanted("shades"))
    assert "kitsolve fetch shades" in caught.value.hint


def test_runs_are_listed_newest_first_and_found_by_name(fetched):
    names = ["one", "two", "three"]
    runs = {name: start(fetched, name=name) for name in names}
    assert [run.name for run in list_runs(fetched, "shades")] == names[::-1]
    assert find_run(fetched, "shades", "two") == runs["two"]
    finish(runs["one"])
    finish(runs["two"])
    assert find_run(fetched, "shades") == runs["two"]
    marker = fetched.runs("shades") / "one" / "run.json"
    marker.write_text(marker.read_text().replace('"baseline"', '"other"'))
    with pytest.raises(KitsolveError, match=r"one.run\.json was changed after kitsolve wrote it"):
        find_run(fetched, "shades", "one")


def test_a_run_that_is_not_there_names_the_nearest(fetched):
    start(fetched, name="baseline")
    with pytest.raises(KitsolveError, match="no run 'basline'") as caught:
        find_run(fetched, "shades", "basline")
    assert "baseline" in caught.value.hint


def test_without_a_finished_run_the_error_says_how_to_make_one(fetched):
    start(fetched, name="first")
    with pytest.raises(KitsolveError, match="no finished run"):
        find_run(fetched, "shades")


def test_a_run_is_summarised_in_one_line(trained):
    line = summarise_run(find_run(trained, "shades"))
    assert (line["run"], line["folds"], line["metric"]) == ("first", "2/2", "accuracy")
    assert line["cv"] == read_json(trained.runs("shades") / "first" / "score.json")["pooled"]
    assert line["backbone"] == read_recipe(trained, "shades", "baseline").backbone


def test_a_run_keeps_the_folds_it_was_made_with(fetched):
    run, before = start(fetched, name="first"), read_train_table(fetched, "shades")
    rewrite_folds(fetched, "shades", {"seed": 7})
    assert folds_of(run).to_dict() == dict(zip(before.image_id, before.fold, strict=True))


def test_a_run_of_an_older_version_knows_the_folds_of_its_finished_folds(trained, tmp_path):
    run = find_run(trained, "shades")
    old = replace(run, folder=tmp_path / "old")
    shutil.copytree(run.folder, old.folder)
    (old.folder / "folds.csv").unlink()
    assert folds_of(old).to_dict() == folds_of(run).to_dict()
    (old.fold(1) / "fold.json").unlink()
    assert set(folds_of(old)) == {0}


def drop_image_facts(run):
    """run.json as it was before transparency was a fact."""
    values = read_json(run.folder / "run.json")
    for name in ("background", "bits", "scale"):
        del values["competition"]["image"][name]
    write_json(run.folder / "run.json", values)


def test_a_run_from_before_transparency_was_a_fact_goes_on_as_it_began(fetched):
    drop_image_facts(start(fetched, name="old"))
    for name in ("old", None):
        run = open_run(fetched, Wanted("shades", run_name=name))
        assert run.name == "old"
        assert (run.competition.image.background, run.competition.image.bits) == ("ignore", 16)
    assert open_run(fetched, Wanted("shades"), force=True).competition.image.background == "white"


def test_a_run_and_tables_from_before_the_scale_was_a_choice_keep_theirs(fetched):
    run = start(fetched, name="old")
    values = read_json(run.folder / "run.json")
    del values["competition"]["image"]["scale"]
    write_json(run.folder / "run.json", values)
    old = open_run(fetched, Wanted("shades", run_name="old"))
    assert find_preprocessing(old.recipe, old.competition.image).scale == old.competition.image.scale == "image"
    assert open_run(fetched, Wanted("shades"), force=True).competition.image.scale == "set"
    marker = fetched.tables("shades") / "tables.json"
    tables = read_json(marker)
    del tables["facts"]["image"]["scale"]
    write_json(marker, tables)
    assert open_run(fetched, Wanted("shades"), force=True).competition.image.scale == "image"
    fetch(fetched, "shades")
    assert open_run(fetched, Wanted("shades"), force=True).competition.image.scale == "set"


def test_a_background_that_the_facts_name_is_not_that_of_an_old_run(fetched):
    drop_image_facts(start(fetched, name="old"))
    facts = fetched.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text() + '[image]\nbackground = "white"\n')
    fetch(fetched, "shades")
    with pytest.raises(
        KitsolveError, match="run old was started with image.background = 'ignore'; you asked for 'white'"
    ):
        open_run(fetched, Wanted("shades", run_name="old"))
    facts.write_text(facts.read_text().replace("white", "ignore"))
    fetch(fetched, "shades")
    assert open_run(fetched, Wanted("shades", run_name="old")).name == "old"
