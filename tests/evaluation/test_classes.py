from dataclasses import replace

import pytest

from kitsolve.errors import KitsolveError
from kitsolve.evaluation.classes import check_classes, keep_classes
from kitsolve.evaluation.runs import Wanted, open_run, read_run, record_run
from kitsolve.evaluation.score import read_subject


@pytest.fixture
def run(fetched):
    found = open_run(fetched, Wanted("shades", run_name="first"))
    return keep_classes(found, read_subject(fetched, found.competition).targets)


def test_a_run_keeps_the_order_of_its_classes(fetched, run):
    record_run(fetched, run)
    assert read_run(run.folder).classes == ("bright", "dark", "grey")
    check_classes(read_run(run.folder), ("bright", "dark", "grey"))


@pytest.mark.parametrize(
    ("names", "difference"),
    [
        (("bright", "grey", "dark"), "class 1 was 'dark', not 'grey'"),
        (("bright", "dark"), "3 classes, not 2"),
        (("bright", "dark", "grey", "new"), "3 classes, not 4"),
    ],
)
def test_tables_with_other_classes_are_refused_with_the_first_difference(run, names, difference):
    with pytest.raises(KitsolveError, match=difference):
        check_classes(run, names)


def test_a_run_of_an_older_version_is_taken_as_it_is(run):
    check_classes(replace(run, classes=None), ("grey",))
