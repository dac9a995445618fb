"""The epoch that a run keeps: each fold's own, one for all folds, or the last; and what the first choice is worth."""

import itertools
import re

import pandas as pd
import pytest
from safetensors.torch import load_file

from kitsolve.display import describe_cv
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.last_epochs import LAST_OOF
from kitsolve.evaluation.runs import ALL, Wanted, open_run
from kitsolve.evaluation.score import score_run
from kitsolve.recipe import Recipe
from kitsolve.training import cluster
from kitsolve.training import common_epoch as common_module
from kitsolve.training import fold as fold_module
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import read_json

EPOCHS = 4
SCORES = [[0.9, 0.8, 0.5, 0.6], [0.2, 0.7, 0.9, 0.6]]
"""Of both folds: their own best are the epochs 0 and 2; their best mean is that of epoch 1."""


class Killed(BaseException):
    """Nothing in the product catches it."""


def train(workspace, choice, *overrides, name=None, folds=()):
    wanted = Wanted("shades", overrides=(f"epochs={EPOCHS}", f"best_epoch={choice}", *overrides), run_name=name)
    run = open_run(workspace, wanted)
    return run, train_folds(workspace, run, folds, choose_machine("cpu", 0))


@pytest.fixture
def told(monkeypatch):
    """Every fold's epochs have the scores of SCORES, whatever they predict; other scores are as they are."""
    original = fold_module.evaluate_epoch

    def evaluate(job, state, images, *, images_per_s):
        score = SCORES[job.data.fold][len(state.history)] if len(job.data.val) else None
        with monkeypatch.context() as patch:
            if score is not None:
                patch.setattr("kitsolve.training.validation.score_validation", lambda job, outputs: score)
            return original(job, state, images, images_per_s=images_per_s)

    monkeypatch.setattr(fold_module, "evaluate_epoch", evaluate)


def kept(run, fold):
    return load_file(run.fold(fold) / "best.safetensors")


def same(one, other):
    return all((tensor == other[name]).all() for name, tensor in one.items())


def test_each_choice_keeps_its_epoch(fetched, told):
    chosen = {"per_fold": [0, 2], "common": [1, 1], "last": [3, 3]}
    for choice, epochs in chosen.items():
        run, _ = train(fetched, choice, name=choice)
        assert [read_json(run.fold(fold) / "fold.json")["epoch"] for fold in (0, 1)] == epochs
        assert not list(run.folder.glob("fold_*/epoch_*"))
        assert not list(run.folder.glob("fold_*/last.safetensors"))


def test_the_last_epochs_beside_the_chosen_ones_are_what_a_run_of_last_epochs_scores(fetched, told):
    last, cv = train(fetched, "last", name="last")
    assert (cv.last_epochs, cv.chosen_gain) == (None, None), "nobody has chosen"
    for choice in ("per_fold", "common"):
        run, chosen = train(fetched, choice, name=choice)
        assert chosen.last_epochs == cv.pooled
        assert chosen.chosen_gain == chosen.pooled - cv.pooled
        for fold in (0, 1):
            assert (run.fold(fold) / LAST_OOF).read_bytes() == (last.fold(fold) / "oof.csv").read_bytes()
            assert not same(kept(run, fold), kept(last, fold))


def test_where_the_last_epoch_is_the_chosen_one_it_is_predicted_once(fetched, monkeypatch):
    numbers = itertools.count()
    monkeypatch.setattr("kitsolve.training.validation.score_validation", lambda *_: next(numbers) / 1e6)
    run, cv = train(fetched, "per_fold", name="rising", folds=(0,))
    assert cv.last_epochs == cv.pooled
    assert not (run.fold(0) / LAST_OOF).exists()
    assert "last epoch" not in describe_cv(cv)


def test_a_run_of_an_older_version_says_nothing_of_its_last_epochs(fetched, told):
    run, _ = train(fetched, "per_fold", name="old")
    (run.fold(0) / LAST_OOF).unlink()
    assert score_run(fetched, run).last_epochs is None


def test_the_score_says_in_words_what_choosing_is_worth(fetched, told):
    _, cv = train(fetched, "per_fold", name="one")
    text = describe_cv(cv)
    if cv.chosen_gain:
        assert re.search(r"last epoch  \d\.\d{5} \(the CV is 0\.\d{5} (better|worse): ", text)
    else:
        assert "last epoch" not in text


def test_a_fold_trained_alone_waits_for_the_others(fetched, told):
    with pytest.raises(KitsolveError, match="fold 1 of run one must be trained before") as caught:
        train(fetched, "common", name="one", folds=(0,))
    assert caught.value.hint == "run `kitsolve train shades --run one`."
    run, cv = train(fetched, "common", name="one", folds=(1,))
    whole, expected = train(fetched, "common", name="whole")
    assert cv == expected
    assert all(same(kept(run, fold), kept(whole, fold)) for fold in (0, 1))


@pytest.mark.parametrize(
    ("module", "function", "count"),
    [
        (fold_module, "keep_epoch", 3), (fold_module, "mark_trained", 1), (fold_module, "mark_trained", 2),
        (common_module, "finish_fold", 1), (common_module, "finish_fold", 2), (common_module, "write_bytes", 2),
    ],
)  # fmt: skip
def test_a_killed_training_chooses_the_same_epoch(fetched, told, monkeypatch, module, function, count):
    whole, _ = train(fetched, "common", name="whole")
    original, calls = getattr(module, function), []

    def die(*arguments, **options):
        calls.append(1)
        if len(calls) == count:
            raise Killed
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, function, die)
        with pytest.raises(Killed):
            train(fetched, "common", name="killed")
    run, _ = train(fetched, "common", name="killed")
    for fold in (0, 1):
        for name in ("best.safetensors", "oof.csv", LAST_OOF):
            assert (run.fold(fold) / name).read_bytes() == (whole.fold(fold) / name).read_bytes()


def test_the_fold_of_all_rows_keeps_the_common_epoch_too(fetched, told):
    run, _ = train(fetched, "common", name="one")
    train(fetched, "common", name="one", folds=(ALL,))
    assert read_json(run.fold(ALL) / "fold.json")["epoch"] == 1
    assert not (run.fold(ALL) / LAST_OOF).exists()


def test_between_epochs_of_equal_mean_the_validation_loss_decides(tmp_path):
    class FakeRun:
        name = "one"

        def fold(self, fold):
            return tmp_path / str(fold)

    for fold, (scores, losses) in enumerate([([0.1, 0.3, 0.2], [3, 2, 2]), ([0.3, 0.1, 0.2], [3, 2, 1])]):
        (tmp_path / str(fold)).mkdir()
        (tmp_path / str(fold) / "trained.json").touch()
        table = pd.DataFrame({"score": scores, "val_loss": losses})
        table.to_csv(tmp_path / str(fold) / "history.csv", index=False)
    accuracy = common_module.Metric(lambda *_: 0.0, greater_is_better=True, wants="labels")
    assert common_module.choose_epoch(FakeRun(), [0, 1], accuracy) == 2


@pytest.mark.parametrize("choice", ["soup", "patience"])
def test_what_goes_by_each_folds_score_wants_its_own_epoch(choice):
    with pytest.raises(ValueError, match="best_epoch must be per_fold"):
        Recipe(backbone="timm/test_resnet", best_epoch="last", **{choice: 2})


def test_folds_on_several_machines_have_no_common_epoch(fetched, monkeypatch):
    monkeypatch.setattr(cluster, "_import_ray", lambda: None)
    run = open_run(fetched, Wanted("shades", overrides=("best_epoch=common",), run_name="one"))
    with pytest.raises(KitsolveError, match="--ray spreads them"):
        cluster.train_on_ray(fetched, run, [], address="local", workers=0)
