import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.training import fold as fold_module
from kitsolve.training import soup as soup_module
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.training.soup import stir


def test_stirring_one_after_the_other_is_the_mean():
    ingredients = [{"w": torch.tensor([float(number)]), "n": torch.tensor(number)} for number in (1, 5, 9)]
    soup = ingredients[0]
    for eaten, more in enumerate(ingredients[1:], start=1):
        soup = stir(soup, more, share=1 / (eaten + 1))
    assert soup["w"].item() == pytest.approx(5)
    assert soup["n"] == 1


def train(workspace, name, *overrides, folds=(0,)):
    run = open_run(workspace, Wanted("shades", overrides=("epochs=4", *overrides), run_name=name))
    train_folds(workspace, run, folds, choose_machine("cpu", 0))
    return run


def test_the_soup_is_what_scores_best_and_its_ingredients_go(fetched, monkeypatch):
    scores = iter([0.5, 0.9, 0.7, 0.8, 0.95, 0.6, 0.99])  # four epochs, then two tries, then the OOF
    monkeypatch.setattr("kitsolve.training.validation.score_validation", lambda job, outputs: next(scores))
    kept = {}
    cook = soup_module.cook_soup

    def look(job, state, images):
        kept.update({epoch: load_file(soup_module.ingredient(job.folder, epoch)) for epoch in (1, 2, 3)})
        return cook(job, state, images)

    monkeypatch.setattr(fold_module, "cook_soup", look)
    folder = train(fetched, "first", "soup=3").fold(0)
    best = load_file(folder / "best.safetensors")
    for name, tensor in best.items():
        expected = (kept[1][name] + kept[3][name]) / 2 if tensor.is_floating_point() else kept[1][name]
        torch.testing.assert_close(tensor, expected)
    assert not list(folder.glob("epoch_*"))
    assert len(pd.read_csv(folder / "history.csv")) == 4


def test_a_killed_soup_ends_the_same(fetched, monkeypatch):
    def die(*_):
        raise SystemExit

    whole = train(fetched, "whole", "soup=3").fold(0) / "best.safetensors"
    for number, module_function in enumerate(("cook_soup", "finish_fold", "keep_ingredient")):
        with monkeypatch.context() as patch:
            patch.setattr(fold_module, module_function, lambda *_, **__: die())
            with pytest.raises(SystemExit):
                train(fetched, f"killed{number}", "soup=3")
        again = train(fetched, f"killed{number}", "soup=3").fold(0) / "best.safetensors"
        assert again.read_bytes() == whole.read_bytes()
