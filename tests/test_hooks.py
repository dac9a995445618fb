"""A competition's own metric: what it must say, and that a mistake in it ends in a sentence with the repair."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import TASK_FORMS, read_competition
from kitsolve.data.augment import find_augmentation
from kitsolve.data.fetch import fetch
from kitsolve.data.targets import Targets
from kitsolve.data.trial import try_metric
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.decoding import Judge
from kitsolve.evaluation.oof import Oof
from kitsolve.evaluation.runs import Wanted, find_run, open_run
from kitsolve.evaluation.score import Subject, score_oof, score_run
from kitsolve.hooks import find_own_metric
from kitsolve.inference.bundle import Decoder
from kitsolve.metrics import find_metric
from kitsolve.training.fold import train_folds
from kitsolve.training.job import choose_machine
from kitsolve.workspace import Workspace

RIGHT = """
def metric(targets, probs):
    return float((probs.argmax(axis=1) == targets).mean())

metric.greater_is_better = True
"""


def write_metric(workspace, text):
    """Let `shades` be scored by the `metric` of this prepare.py."""
    folder = workspace.competition("shades")
    facts = (folder / "competition.toml").read_text()
    (folder / "competition.toml").write_text(facts.replace('"accuracy"', '"prepare:metric"'))
    (folder / "prepare.py").write_text(text)


def body(line, more="metric.greater_is_better = True"):
    return f"import numpy as np\n\ndef metric(targets, probs):\n    {line}\n\n{more}\n"


def fetch_shades(workspace):
    return fetch(workspace, "shades", source=workspace.root / "download")


def test_a_right_metric_passes_the_fetch_without_a_word(shades):
    write_metric(shades, RIGHT)
    assert fetch_shades(shades).notices == []


@pytest.mark.parametrize(
    ("text", "problem", "hint"),
    [
        (body("return 0.5", ""), "does not say whether a greater score is better", "metric.greater_is_better = False"),
        (body("return 0.5", "metric.greater_is_better = 1"), "greater_is_better = 1", "greater_is_better = False"),
        (body("return 0.5", "metric.greater_is_better = 'no'"), "greater_is_better = 'no'", "greater_is_better"),
        (body("return 0.5") + "metric.wants = 'values'\n", "wants = 'values', which a multiclass task", '"probs"'),
        (body("return 0.5") + "metric.wants = ['probs']\n", "wants = \\['probs'\\]", '"probs"'),
        (body("pass"), "returned None, not a number", "return float"),
        (body("return float('nan')"), "returned nan, given targets", "finite number"),
        (body("return -np.log(0.0)"), "returned inf, given targets", "clipping"),
        (body("return 'good'"), "returned str 'good', not a number", "return float"),
        (body("return True"), "returned bool True, not a number", "return float"),
        (body("return 1j"), "returned complex 1j, not a number", "return float"),
        (body("return probs.mean(axis=1)"), "returned ndarray array", "return float"),
        (body("raise ValueError('no')"), r"raised ValueError: no, given targets \(18,\) and predictions \(18, 3\)", ""),
        (body("raise SystemExit"), "raised SystemExit, given", "correct metric"),
        (body("return probs[:, 7].mean()"), "raised IndexError: index 7 is out of bounds", "--debug"),
        (body("return np.exp(-(probs.argmax(axis=1) == targets).mean())"), "greater_is_better = True", "= False"),
        (RIGHT.replace("(targets, probs)", "(probs)"), "cannot be called with", "def metric"),
        (RIGHT.replace("(targets, probs)", "(targets, probs, rows)"), "missing a required argument: 'rows'", ""),
        ("metric = 5\n", "is int 5, no function", "def metric"),
        ("def metrics(targets, probs):\n    return 1.0\n", "has no function metric", "write it"),
    ],
)
def test_a_wrong_metric_is_told_at_fetch_in_one_sentence(shades, text, problem, hint):
    write_metric(shades, text)
    with pytest.raises(KitsolveError, match=problem) as caught:
        fetch_shades(shades)
    assert hint in caught.value.hint
    assert "\n" not in caught.value.problem
    assert str(shades.competition("shades") / "prepare.py") in caught.value.problem
    assert not (shades.tables("shades") / "tables.json").exists()


def test_a_metric_that_is_changed_after_the_fetch_is_tried_before_the_training(shades):
    write_metric(shades, RIGHT)
    fetch_shades(shades)
    (shades.competition("shades") / "prepare.py").write_text(body("return float('nan')"))
    run = open_run(shades, Wanted("shades", run_name="first"))
    with pytest.raises(KitsolveError, match="returned nan"):
        train_folds(shades, run, [], choose_machine("cpu", 0))
    (shades.competition("shades") / "prepare.py").write_text(body("return 0.5", ""))
    with pytest.raises(KitsolveError, match="does not say whether"):
        fetch_shades(shades)
    assert not run.folder.exists()


def test_a_metric_that_cannot_tell_right_from_wrong_is_said(shades):
    write_metric(shades, body("return 0.5"))
    (notice,) = fetch_shades(shades).notices
    assert "gives 0.5 for nearly right and for shuffled predictions alike" in notice


def test_what_a_metric_does_to_its_arguments_changes_nothing(shades):
    write_metric(shades, body("targets *= 0; probs[:] = 1; return 1.0"))
    metric = find_own_metric(shades, read_competition(shades, "shades"))
    targets, probs = np.array([0, 1, 2]), np.eye(3)
    assert metric.score(targets, probs) == 1.0
    assert targets.tolist() == [0, 1, 2]
    assert (probs == np.eye(3)).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("import sys\nsys.exit(0)\n", r"prepare.py, line 2, raised SystemExit: 0"),
        ("x = 1\nraise RuntimeError('boom')\n", r"prepare.py, line 2, raised RuntimeError: boom"),
        ("def metric(targets:\n", r"prepare.py, line 1, raised SyntaxError: .* never closed"),
        ("import not_there\n", r"prepare.py, line 1, raised ModuleNotFoundError: No module named 'not_there'"),
        ("def fetch(raw):\n    raise SystemExit(0)\n", r"fetch in .*prepare.py, line 2, raised SystemExit: 0"),
        ("def fetch(raw):\n    raw.rmdir()\n", r"fetch in .*prepare.py removed the folder"),
        ("fetch = 5\n", r"fetch in .*prepare.py raised TypeError: 'int' object is not callable"),
        (
            "def fetch(raw):\n    pass\n\ndef answers():\n    return 1\n",
            r"answers in .*prepare.py raised AttributeError",
        ),
    ],
)
def test_a_prepare_that_cannot_be_run_is_told_with_its_line(shades, text, problem):
    (shades.competition("shades") / "prepare.py").write_text(text)
    with pytest.raises(KitsolveError, match=problem):
        fetch(shades, "shades")


def test_what_a_prepare_prints_does_not_reach_stdout(shades, capsys):
    write_metric(shades, "print('hello')\n" + RIGHT.replace("return", "print('again'); return"))
    fetch_shades(shades)
    assert capsys.readouterr().out == ""


def test_functions_that_no_fact_names_are_said(shades):
    (shades.competition("shades") / "prepare.py").write_text(RIGHT + "\ndef submission(*given):\n    return 1\n")
    assert fetch_shades(shades).notices == [
        'prepare.py has a metric, which is not used: the facts say metric = "accuracy", not "prepare:metric".',
        'prepare.py has a submission, which is not used: the facts say submission.kind = "label", not '
        '"prepare:submission".',
    ]


@pytest.mark.parametrize("body", ["return None", "return 'hflip'", "return [1]"])
def test_an_augmentation_that_is_none_is_told(shades, body):
    (shades.competition("shades") / "prepare.py").write_text(f"def augmentation(size):\n    {body}\n")
    make = find_augmentation(shades, "shades", "prepare:augmentation", 3)
    with pytest.raises(KitsolveError, match=r"which is no transform of albumentations"):
        make((32, 32))
    (shades.competition("shades") / "prepare.py").write_text("def augmentation(size):\n    raise KeyError(size)\n")
    with pytest.raises(KitsolveError, match=r"augmentation in .*, line 2, raised KeyError: 32, given the image size"):
        find_augmentation(shades, "shades", "prepare:augmentation", 3)((32, 32))


@given(st.sampled_from(sorted(TASK_FORMS)), st.sampled_from([None, "probs", "labels", "values", "ranking"]))
def test_the_form_that_a_metric_wants_is_one_of_its_tasks(tmp_path_factory, task, wants):
    root = tmp_path_factory.mktemp("root")
    folder = root / "competitions" / "shades"
    folder.mkdir(parents=True)
    (folder / "competition.toml").write_text("")
    (folder / "prepare.py").write_text(RIGHT + (f"metric.wants = {wants!r}\n" if wants else ""))
    competition = read_competition(Workspace(root), "digits").model_copy(update={"task": task, "slug": "shades"})
    if wants is None or wants in TASK_FORMS[task]:
        assert find_own_metric(Workspace(root), competition).wants == (wants or TASK_FORMS[task][0])
    else:
        with pytest.raises(KitsolveError, match=f"wants = '{wants}', which a {task} task does not have"):
            find_own_metric(Workspace(root), competition)


COPIES = [
    ("binary", "accuracy"), ("binary", "log_loss"), ("multiclass", "accuracy"), ("multiclass", "log_loss"),
    ("multiclass", "map@5"), ("multilabel", "accuracy"), ("multilabel", "log_loss"), ("ordinal", "qwk"),
    ("ordinal", "log_loss"), ("ordinal", "accuracy"), ("regression", "rmse"), ("regression", "mae"),
    ("retrieval", "map@5"), ("retrieval", "accuracy"),
]  # fmt: skip


@given(st.sampled_from(COPIES), st.integers(2, 5), st.integers(0, 2**31))
def test_a_copy_of_a_built_in_metric_gives_its_cv_and_chooses_its_epoch(tmp_path_factory, copied, classes, seed):
    task, name = copied
    rng = np.random.default_rng(seed)
    targets, epochs = make_epochs(task, 2 if task == "binary" else classes, rng)
    subject = Subject(
        "shades", pd.DataFrame({"image_id": IDS}), targets, Judge(name, find_metric(name), plain_of(targets))
    )
    own = replace(
        subject, judge=replace(subject.judge, name="prepare:metric", metric=copy_metric(tmp_path_factory, copied))
    )
    assert not try_metric(own.judge.metric, targets, own.judge.plain, FOLDS)
    assert own.judge.metric.worst == subject.judge.metric.worst
    ours, theirs = ([score_oof(one, Oof(IDS, FOLDS, outputs)) for outputs in epochs] for one in (own, subject))
    fitted_by_name = name == "log_loss" and task in ("binary", "multiclass", "multilabel")
    for mine, built_in in zip(ours, theirs, strict=True):
        assert mine.pooled == (built_in.plain if fitted_by_name else built_in.pooled)
        assert fitted_by_name or (mine.folds, mine.plain) == (built_in.folds, built_in.plain)
    scores = [cv.pooled for cv in ours]
    assert best_epoch(own.judge.metric, scores) == best_epoch(subject.judge.metric, scores)


def make_epochs(task, classes, rng):
    """Targets of 40 rows and the outputs of three epochs, each activated as the task's are."""
    names = tuple(f"c{number}" for number in range(classes))
    if task == "multilabel":
        values = rng.integers(0, 2, (40, classes)).astype(np.uint8)
        values[:2] = [[0], [1]]
    elif task == "regression":
        values = rng.normal(500, 100, 40)
    else:
        values = rng.permutation(np.arange(40) % (classes + (task == "retrieval")))
    scale = (float(values.mean()), float(values.std())) if task == "regression" else (0.0, 1.0)
    targets = Targets(task, ("y",) if task == "regression" else names, values, scale)
    raw = rng.normal(size=(3, 40, len(targets.output_names)))
    if targets.activation == "softmax":
        raw = np.exp(raw) / np.exp(raw).sum(axis=2, keepdims=True)
    elif targets.activation == "sigmoid":
        raw = 1 / (1 + np.exp(-raw))
    return targets, raw.astype(np.float32)


IDS, FOLDS = pd.Index([f"r{row}" for row in range(40)]), np.arange(40) % 2


def plain_of(targets):
    return Decoder(targets.task, scale=targets.scale)


def copy_metric(tmp_path_factory, copied):
    """The built-in metric of that name as `metric` of a prepare.py."""
    task, name = copied
    folder = tmp_path_factory.getbasetemp() / "copies" / f"{task}-{name}" / "competitions" / "shades"
    built_in = find_metric(name)
    text = "from kitsolve.metrics import find_metric\n\ndef metric(targets, predictions):\n"
    text += f"    return find_metric({name!r}).score(targets, predictions)\n\n"
    text += f"metric.greater_is_better = {built_in.greater_is_better}\nmetric.wants = {built_in.wants!r}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "competition.toml").write_text("")
    (folder / "prepare.py").write_text(text)
    workspace = Workspace(folder.parents[1])
    competition = read_competition(workspace, "digits").model_copy(update={"task": task, "slug": "shades"})
    return find_own_metric(workspace, competition)


def best_epoch(metric, scores):
    """The last epoch that beats all before it."""
    best, kept = metric.worst, None
    for epoch, score in enumerate(scores):
        if metric.is_better(score, best):
            best, kept = score, epoch
    return kept


def write_values(workspace, *, metric="prepare:metric"):
    """`shades` as a regression of the brightness, in hundreds."""
    raw, folder = workspace.root / "download", workspace.competition("shades")
    train = pd.read_csv(raw / "train.csv", dtype=str)
    train["shade"] = train["shade"].map({"dark": 300.0, "grey": 500.0, "bright": 900.0}) + np.arange(len(train))
    train.to_csv(raw / "train.csv", index=False)
    facts = (folder / "competition.toml").read_text().replace('"multiclass"', '"regression"')
    facts = facts.replace('"accuracy"', f'"{metric}"').replace('"label"', '"value"')
    (folder / "competition.toml").write_text(facts)


def test_a_metric_that_changed_after_the_training_is_told_with_the_score(shades):
    write_metric(shades, RIGHT)
    fetch_shades(shades)
    run = open_run(shades, Wanted("shades", run_name="first"))
    train_folds(shades, run, [], choose_machine("cpu", 0))
    assert not any("prepare.py" in notice for notice in score_run(shades, find_run(shades, "shades")).notices)
    write_metric(shades, RIGHT.replace("float(", "1 - float("))
    (notice,) = [text for text in score_run(shades, find_run(shades, "shades")).notices if "prepare.py" in text]
    assert notice.startswith("prepare.py was changed after run first had begun: its metric chose the epochs as it was")
    assert "kitsolve train shades --run first --force" in notice


def test_a_regressions_own_metric_is_handed_its_values(shades):
    write_values(shades)
    text = "assert probs.shape == targets.shape; return float(((targets - probs) ** 2).mean() ** 0.5)"
    (shades.competition("shades") / "prepare.py").write_text(body(text, "metric.greater_is_better = False"))
    assert fetch_shades(shades).notices == []
    run = open_run(shades, Wanted("shades", run_name="first"))
    cv = train_folds(shades, run, [], choose_machine("cpu", 0))
    assert cv.pooled < 300
