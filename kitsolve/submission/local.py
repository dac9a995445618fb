"""A submission to this disk: where the answers lie here, a score costs nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kitsolve.config import Competition, read_competition
from kitsolve.data.labels import canonical
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import Bundle, SubmissionRules
from kitsolve.metrics import find_metric
from kitsolve.submission.ledger import add_entry
from kitsolve.submission.parcel import Submitted, make_entry, pack
from kitsolve.workspace import Workspace, read_csv


def submit_locally(workspace: Workspace, bundle: Bundle) -> Submitted:
    """Check the bundle's submission, score it, and write both into the ledger.

    Raises:
        KitsolveError: a file that would be refused, or no answers on this disk.
    """
    competition = read_competition(workspace, bundle.competition)
    parcel = pack(workspace, bundle, owner="")
    score = score_locally(workspace, competition, read_csv(parcel.csv), bundle.submission)
    done = Submitted(f"local/{parcel.sha256[:12]}", "complete", score, None, parcel.cv)
    add_entry(workspace.ledger(competition.slug), make_entry(parcel, done, message=bundle.name))
    return done


def score_locally(
    workspace: Workspace, competition: Competition, submission: pd.DataFrame, rules: SubmissionRules
) -> float:
    """The competition's metric of a checked submission against the answers that lie on this disk."""
    path = workspace.answers(competition.slug)
    if not path.is_file():
        raise KitsolveError(
            f"the answers {path} are missing.", hint=f"run `kitsolve fetch {competition.slug} --force`."
        )
    answers = read_csv(path).set_index(submission.columns[0]).loc[submission.iloc[:, 0]]
    class2target = {name: target for target, name in enumerate(rules.class_names)}
    spelt = {canonical(name): target for name, target in class2target.items()}
    targets = answers[competition.train.targets[0]].map(canonical).map(spelt).to_numpy(dtype=np.int64)
    metric = find_metric(competition.metric)
    return metric.score(targets, _read_predictions(submission, rules, class2target, wants=metric.wants))


def _read_predictions(
    submission: pd.DataFrame, rules: SubmissionRules, class2target: dict[str, int], *, wants: str
) -> np.ndarray:
    """The submission's labels or probabilities in the form that the metric wants."""
    if rules.kind == "label":
        labels = np.asarray(submission.iloc[:, 1].map(class2target), dtype=np.int64)
        return labels if wants == "labels" else np.eye(len(class2target))[labels]
    if rules.kind == "class_probabilities":
        probs = np.asarray(submission[list(rules.class_names)], dtype=float)
    elif rules.kind == "probability":
        positive = np.asarray(submission.iloc[:, 1], dtype=float)
        probs = np.stack([1 - positive, positive], axis=1)
    else:
        raise KitsolveError(f"a submission of kind {rules.kind} is not scored on this disk.", "submit it to Kaggle.")
    return probs.argmax(axis=1) if wants == "labels" else probs
