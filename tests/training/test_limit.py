from dataclasses import replace

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import ALL, Wanted, open_run, record_run
from kitsolve.settings import format_duration, parse_duration
from kitsolve.training.job import Settled
from kitsolve.training.limit import check_limit
from kitsolve.training.settle import read_settled, write_settled

FULL = Settled(8, "none", 2.0)
SHORT = Settled(8, "none", 0.5, limit_s=3600.0)
NONE = float("inf")


@pytest.fixture
def run(fetched):
    """A run of two epochs that is on disk."""
    run = open_run(fetched, Wanted("shades", run_name="first"))
    record_run(fetched, run)
    return run


def begin(run, plan, *, trained=("last.pt",)):
    """Let fold 0 have been trained by a plan, or a part of it."""
    write_settled(run, plan)
    run.fold(0).mkdir()
    for name in trained:
        (run.fold(0) / name).touch()


def test_the_same_command_goes_on_with_the_plan(run):
    begin(run, SHORT)
    check_limit(run, [0, 1], 3600.0)
    assert read_settled(run) == SHORT


@pytest.mark.parametrize("limit_s", [NONE, 60.0, 7200.0])
def test_a_short_plan_is_not_gone_on_with_under_another_limit_or_none(run, limit_s):
    begin(run, SHORT)
    with pytest.raises(KitsolveError, match=r"planned with 0\.5 of 2 epochs, for --time-limit 1h") as caught:
        check_limit(run, [0, 1], limit_s)
    assert "`kitsolve train shades --run first --time-limit 1h`" in caught.value.hint
    assert "--force" in caught.value.hint
    assert read_settled(run) == SHORT


def test_what_has_all_epochs_goes_on_without_a_limit(run):
    begin(run, replace(FULL, limit_s=3600.0))
    check_limit(run, [1], NONE)


def test_a_run_without_a_limit_is_not_cut_short_by_one(run):
    begin(run, FULL)
    with pytest.raises(KitsolveError, match="for no --time-limit"):
        check_limit(run, [1], 60.0)


def test_a_plan_that_nothing_was_trained_by_is_made_anew(run):
    begin(run, SHORT, trained=())
    check_limit(run, [0, 1], NONE)
    assert read_settled(run) is None


def test_the_fold_of_all_rows_follows_the_plan_of_the_others_and_says_so(run, capsys):
    begin(run, SHORT, trained=("fold.json",))
    check_limit(run, [ALL], NONE)
    assert "follows the plan of run first: 0.5 of 2 epochs" in capsys.readouterr().err


def test_a_short_plan_of_an_older_version_wants_a_limit(run):
    begin(run, replace(SHORT, limit_s=None))
    with pytest.raises(KitsolveError, match=r"0\.5 of 2 epochs"):
        check_limit(run, [0], NONE)
    check_limit(run, [0], 60.0)


def test_a_run_that_gives_way_leaves_no_plan(fetched, run):
    begin(run, SHORT)
    check_limit(open_run(fetched, Wanted("shades", run_name="first"), force=True), [0], NONE)


def test_two_processes_settle_a_run_once(run):
    assert write_settled(run, FULL) == FULL
    assert write_settled(run, replace(FULL, cache="raw")) == FULL
    with pytest.raises(KitsolveError, match="another process has planned run first with 2 epochs"):
        write_settled(run, SHORT)


@pytest.mark.parametrize(
    "text", ["{ not", "", "[]", '{"batch_size": 8}', '{"batch": 8, "cache": "raw", "epochs": 2.0}']
)
def test_a_damaged_plan_names_its_repair(run, text):
    (run.folder / "plan.json").write_text(text)
    with pytest.raises(KitsolveError, match=r"plan\.json") as caught:
        read_settled(run)
    assert "--run first --force" in caught.value.hint


@pytest.mark.parametrize("text", ["1h", "2h30m", "45s", "1h1s", "90m"])
def test_a_duration_is_written_as_it_is_read(text):
    assert parse_duration(format_duration(parse_duration(text))) == parse_duration(text)
