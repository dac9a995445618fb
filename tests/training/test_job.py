import os
from pathlib import Path

import pytest
import torch

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import Wanted, open_run
from kitsolve.training.job import choose_machine, choose_workers, read_labelled
from kitsolve.training.settle import settle_fold


@pytest.fixture
def plan(fetched):
    """A function that plans a fold of `shades`."""
    run = open_run(fetched, Wanted("shades"))
    labelled = read_labelled(fetched, run.competition)
    return lambda fold: settle_fold(fetched, run, labelled, fold, machine=choose_machine("cpu", 0))


def test_a_fold_trains_on_all_rows_but_those_that_it_validates(plan):
    for fold in (0, 1):
        data = plan(fold).data
        assert sorted([*data.train, *data.val]) == list(range(36))
    assert set(plan(0).data.val) == set(plan(1).data.train)


def test_a_row_keeps_id_path_and_target_together(plan):
    data = plan(0).data
    assert data.targets.names == ("bright", "dark", "grey")
    for row, image_id in enumerate(data.image_ids):
        assert Path(os.fsdecode(data.paths[row])).stem == image_id
        assert data.targets.values[row] == int(image_id) % 3


def test_every_fold_has_a_seed_of_its_own(plan):
    assert plan(0).seed != plan(1).seed


def test_precision_is_settled_by_the_device(plan):
    assert plan(0).dtype in (torch.bfloat16, torch.float32)


def test_an_unknown_device_is_an_error():
    with pytest.raises(KitsolveError, match="device cuda:99 cannot be used"):
        choose_machine("cuda:99")


@pytest.mark.parametrize(
    ("device", "cores", "workers"), [("cpu", 1, 0), ("cpu", 2, 0), ("cpu", 16, 4), ("cuda", 4, 3), ("cuda", 64, 8)]
)
def test_loading_processes_leave_the_cores_to_the_arithmetic(device, cores, workers):
    assert choose_workers(device, cores) == workers
