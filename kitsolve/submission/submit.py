"""`kitsolve submit`: the checked submission goes where the competition wants it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kitsolve.config import Competition, read_competition
from kitsolve.data.table import label_indices
from kitsolve.errors import KitsolveError, translated
from kitsolve.inference import Bundle, SubmissionRules, check_submission, read_sample
from kitsolve.metrics import METRICS
from kitsolve.submission.predict import keep_or_predict
from kitsolve.workspace import Workspace, read_csv


@dataclass(frozen=True)
class Submitted:
    """What came back: the submission's reference, its public score, and the CV beside it."""

    ref: str
    public_score: float
    cv: dict[str, object]


def submit(workspace: Workspace, bundle: Bundle) -> Submitted:
    """Predict where that is not done yet, check the file, and submit it.

    Raises:
        KitsolveError: a file that the competition would refuse.
    """
    competition = read_competition(workspace, bundle.competition)
    path = keep_or_predict(workspace, bundle)
    submission = read_csv(path)
    with translated(f"run `kitsolve predict {bundle.competition}` again."):
        check_submission(
            submission, read_sample(workspace.raw(bundle.competition), bundle.submission), bundle.submission
        )
    if competition.submission.via != "local":
        raise KitsolveError(
            f"{path} is checked, but this version of kitsolve cannot upload to Kaggle.",
            hint=_explain_upload(workspace, competition, bundle),
        )
    score = score_locally(workspace, competition, submission, bundle.submission)
    return Submitted(ref=f"local/{bundle.name}", public_score=score, cv=dict(bundle.card["cv"]))


def _explain_upload(workspace: Workspace, competition: Competition, bundle: Bundle) -> str:
    slug = competition.slug
    if competition.submission.via == "csv":
        return f"upload it at https://www.kaggle.com/c/{slug}/submit."
    weights, notebook = workspace.bundle(slug, bundle.name), workspace.notebook(slug, bundle.name)
    return (
        f"run `kitsolve export {slug}`, put your Kaggle name for OWNER into both metadata files, "
        f"then `kaggle datasets create -p {weights}` and `kaggle kernels push -p {notebook}`."
    )


def score_locally(
    workspace: Workspace, competition: Competition, submission: pd.DataFrame, rules: SubmissionRules
) -> float:
    """The competition's metric of a checked submission against the answers that lie on this disk."""
    path = workspace.answers(competition.slug)
    if not path.is_file():
        raise KitsolveError(
            f"the answers {path} are missing.", hint=f"run `kitsolve fetch {competition.slug} --force`."
        )
    id_column, value_column = submission.columns[:2]
    answers = read_csv(path).set_index(id_column).loc[submission[id_column]]
    targets = label_indices(answers[competition.train.target], rules.class_names)
    if rules.kind == "class_probabilities":
        probs = submission[list(rules.class_names)].to_numpy(dtype=float)
    elif rules.kind == "probability":
        positive = submission[value_column].to_numpy(dtype=float)
        probs = np.stack([1 - positive, positive], axis=1)
    else:
        probs = np.eye(len(rules.class_names))[label_indices(submission[value_column], rules.class_names)]
    return METRICS[competition.metric].score(targets, probs)
