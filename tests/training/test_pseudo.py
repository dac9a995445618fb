import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from kitsolve.data.fetch import read_train_table
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.runs import ALL, Wanted, find_run, open_run
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine, read_labelled, split_fold
from kitsolve.training.pseudo import _join_labels, add_pseudo, make_pseudo, rate_confidence

MACHINE = choose_machine("cpu", 0)


@pytest.fixture
def taught(trained, tmp_path):
    """A copy of the workspace with a finished run and its pseudo-labels."""
    import shutil

    from kitsolve.workspace import Workspace

    shutil.copytree(trained.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    made = make_pseudo(workspace, find_run(workspace, "shades"), MACHINE)
    assert made.kept == {0: 7, 1: 7}
    return workspace


def pupil(workspace, fold):
    run = open_run(workspace, Wanted("shades", overrides=("pseudo=first",), run_name="pupil"))
    return add_pseudo(workspace, run, split_fold(read_labelled(workspace, run.competition), fold))


def test_a_pupil_learns_from_its_own_teacher_alone(taught):
    for fold in (0, 1):
        data = pupil(taught, fold)
        theirs = pd.read_csv(taught.pseudo("shades", "first") / f"fold_{fold}.csv")
        np.testing.assert_allclose(data.learned[36:], theirs.iloc[:, 1:], atol=1e-6)
    folders = [(taught.pseudo("shades", "first") / f"fold_{fold}.csv").read_text() for fold in (0, 1)]
    assert folders[0] != folders[1]


def test_the_teacher_has_not_seen_the_pupils_validation_rows(taught):
    """So the pupil's CV is honest: its fold is its teacher's."""
    train = read_train_table(taught, "shades")
    data = pupil(taught, 1)
    assert set(data.image_ids[data.val]) == set(train.image_id[train.fold == 1])
    assert set(data.train[data.train >= 36]) == set(range(36, 43))


def test_rows_keep_image_and_label_together(taught):
    data = pupil(taught, 0)
    assert [path.decode().rpartition("/")[2] for path in data.paths[36:]] == [f"{i}.png" for i in data.image_ids[36:]]
    np.testing.assert_allclose(data.learned.sum(axis=1), 1, atol=1e-5)
    assert data.learned[:36].argmax(axis=1).tolist() == data.targets.values.tolist()


def test_a_run_trains_on_pseudo_labels_to_the_end(taught):
    run = open_run(taught, Wanted("shades", overrides=("pseudo=first", "epochs=1"), run_name="pupil"))
    assert train_folds(taught, run, [0, ALL], MACHINE).oof_rows == 18


def read_confidence(workspace):
    """(test images,) how sure the teacher of fold 0 is."""
    return pd.read_csv(workspace.pseudo("shades", "first") / "fold_0.csv").iloc[:, 1:].max(axis=1)


def test_only_what_the_teacher_is_sure_about_is_kept(taught):
    confidence = read_confidence(taught)
    sure = make_pseudo(taught, find_run(taught, "shades"), MACHINE, min_confidence=confidence.median())
    assert 0 < sure.kept[0] == (confidence >= confidence.median()).sum() < 7
    assert len(pupil(taught, 0).train) == 18 + sure.kept[0]


def test_a_confidence_that_no_prediction_reaches_is_refused(taught):
    with pytest.raises(KitsolveError, match="no prediction of run first reaches the confidence 1.1") as caught:
        make_pseudo(taught, find_run(taught, "shades", "first"), MACHINE, min_confidence=1.1)
    assert "--min-confidence" in caught.value.hint


def test_all_rows_learn_from_what_all_teachers_say(taught):
    tables = [pd.read_csv(taught.pseudo("shades", "first") / f"fold_{fold}.csv") for fold in (0, 1)]
    mean = sum(table.iloc[:, 1:].to_numpy() for table in tables) / 2
    np.testing.assert_allclose(pupil(taught, ALL).learned[36:], mean, atol=1e-6)


def test_without_pseudo_labels_the_hint_is_to_make_them(fetched):
    with pytest.raises(KitsolveError, match="no pseudo-labels of run first") as caught:
        open_run(fetched, Wanted("shades", overrides=("pseudo=first",)))
    assert "kitsolve pseudo shades first" in caught.value.hint


def test_pseudo_labels_of_other_folds_are_refused(taught):
    path = taught.tables("shades") / "folds.csv"
    path.write_text(path.read_text().replace(",1\n", ",0\n", 1))
    run = open_run(taught, Wanted("shades", overrides=("pseudo=first", "epochs=1"), run_name="pupil"))
    with pytest.raises(KitsolveError, match=r"pseudo = 'first': fold 0 .* on 1 of the 19 rows that fold 0 validates"):
        train_folds(taught, run, [], MACHINE)
    with pytest.raises(
        KitsolveError, match="the pseudo-labels of first: fold 0 of run first was trained on 1 of the 19"
    ):
        make_pseudo(taught, find_run(taught, "shades"), MACHINE)


def test_new_pseudo_labels_are_another_training(taught):
    wanted = Wanted("shades", overrides=("pseudo=first", "epochs=1"), run_name="pupil")
    train_folds(taught, open_run(taught, wanted), [0], MACHINE)
    least = read_confidence(taught).median()
    make_pseudo(taught, find_run(taught, "shades", "first"), MACHINE, min_confidence=least)
    with pytest.raises(KitsolveError, match="started with other pseudo-labels of first"):
        open_run(taught, wanted)


def test_confidence_is_the_best_class_or_the_least_sure_label():
    rows = np.array([[0.7, 0.3], [0.5, 0.5]])
    assert rate_confidence(rows, activation="softmax").tolist() == [0.7, 0.5]
    rows = np.array([[0.9, 0.9], [0.1, 0.4]])
    assert rate_confidence(rows, activation="sigmoid").tolist() == pytest.approx([0.9, 0.6])


def test_confidence_of_the_largest_classes_is_that_of_all_of_them():
    rows = csr_array(np.array([[0.4, 0.1, 0, 0], [0, 0.2, 0, 0.6]]))
    assert rate_confidence(rows, activation="softmax").tolist() == [0.4, 0.6]


def test_of_too_many_labels_those_that_were_not_kept_are_0():
    joined = _join_labels(np.array([[1, 0, 1]]), csr_array(np.array([[0, 0.9, 0.1]])))
    np.testing.assert_allclose(joined, [[1, 0, 1], [0, 0.9, 0.1]])


def test_of_too_many_classes_the_best_is_the_label():
    outputs = csr_array(np.array([[0, 0.9, 0.1], [0.8, 0, 0]]))
    assert _join_labels(np.array([2, 2]), outputs).tolist() == [2, 2, 1, 0]


def learn_again(workspace):
    """Train the pupil of a run's pseudo-labels for a fold."""
    wanted = Wanted("shades", overrides=("pseudo=first", "epochs=1"), run_name="pupil")
    train_folds(workspace, open_run(workspace, wanted), [0], MACHINE)


def test_pseudo_labels_that_were_changed_or_are_of_other_images_or_weights_are_not_learned(taught):
    folder, tables = taught.pseudo("shades", "first"), taught.tables("shades")
    weights = taught.runs("shades") / "first" / "fold_1" / "best.safetensors"
    for path, says in (
        (folder / "fold_0.csv", "were changed or damaged"),
        (folder / "pseudo.json", "was changed after kitsolve wrote it|is damaged"),
        (tables / "test.csv", "test.csv changed after|was changed after"),
        (weights, "the weights of fold 1 changed after"),
    ):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content.replace(b"1", b"2", 1))
        with pytest.raises(KitsolveError, match=says):
            learn_again(taught)
        path.write_bytes(content)
