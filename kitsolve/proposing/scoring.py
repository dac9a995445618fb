"""How a competition scores and takes submissions, and how its train rows are split: what files tell of it."""

from __future__ import annotations

from collections.abc import Mapping

from kitsolve.metrics import find_metric
from kitsolve.proposing.forms import Form
from kitsolve.proposing.proposal import Guess
from kitsolve.proposing.wording import name_metric, wants_notebook

USUAL_METRICS = {
    ("binary", "probability"): ("roc_auc", "log_loss", "average_precision", "pf1"),
    ("binary", "label"): ("accuracy", "f1_macro", "f1_micro"),
    ("binary", "class_probabilities"): ("log_loss", "roc_auc"),
    ("multiclass", "label"): ("accuracy", "f1_macro", "f1_micro"),
    ("multiclass", "class_probabilities"): ("log_loss", "roc_auc"),
    ("multilabel", "label_list"): ("f1_sample", "f1_micro", "f1_macro"),
    ("multilabel", "class_probabilities"): ("mean_column_auc", "log_loss"),
    ("ordinal", "label"): ("qwk", "accuracy", "f1_macro"),
    ("ordinal", "value"): ("qwk", "accuracy", "f1_macro"),
    ("regression", "value"): ("rmse", "mae"),
    ("retrieval", "label"): ("accuracy", "f1_macro"),
}
FORMS = {
    "label": "labels",
    "label_list": "labels",
    "probability": "probs",
    "class_probabilities": "probs",
    "top_k": "ranking",
    "value": "values",
}
SCHEMES = {"multilabel": "multilabel_stratified", "regression": "binned_stratified"}
HANDFUL = 10
STUB = 100


def choose_metric(form: Form, pages: Mapping[str, str]) -> Guess:
    """The metric: as the pages name it, else the usual one of such a task, which is unsure."""
    kind = form.kind.value
    usual = USUAL_METRICS.get((form.task.value, kind), ("prepare:metric",))
    if kind == "top_k":
        k = form.submission["top_k"].value
        usual = (f"map@{k}", f"top_error@{k}")
    named = name_metric(pages)
    if named is None:
        return Guess(usual[0], f"the usual one of a {form.task.value} task submitted as {kind}", usual)
    single = form.task.value != "multilabel"
    if single and named.value == "mean_column_auc":
        return Guess("roc_auc", f"{named.reason}: of one class against the rest, since a row has one label")
    if not single and named.value == "roc_auc":
        return Guess("mean_column_auc", f"{named.reason}, of several labels", ("mean_column_auc", "prepare:metric"))
    if named.value == "prepare:metric" or find_metric(named.value).wants == FORMS.get(kind):
        return named
    reason = f"{named.reason}, which does not take a {kind}"
    return Guess(named.value, reason, tuple(dict.fromkeys([named.value, *named.choices, *usual])))


def choose_scheme(task: str, group: Guess | None) -> Guess:
    """How to split the rows into folds."""
    scheme = SCHEMES.get(task, "stratified")
    if group is None or task in SCHEMES:
        return Guess(scheme, f"of a {task} task" + (", groups stay whole" if group else ""))
    return Guess("stratified_group", f"of a {task} task with a group", ("stratified_group", scheme))


def choose_way(train_rows: int, test_rows: int, pages: Mapping[str, str]) -> Guess:
    """CSV or notebook: the test set of a code competition is a stub, as far as one can see it."""
    if said := wants_notebook(pages):
        return Guess("notebook", f'the pages say "{said}"')
    if 0 < test_rows <= HANDFUL and train_rows >= STUB * test_rows:
        return Guess("notebook", f"a stub of {test_rows} test rows: the others come at the rerun")
    ways = ("csv", "notebook")
    if 0 < test_rows <= HANDFUL and train_rows >= HANDFUL * test_rows:
        return Guess("notebook", f"{test_rows} test rows may be a stub", ways[::-1])
    return Guess("csv", "files do not tell", ways)
