"""A submission to this disk: where the answers lie here, a score costs nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kitsolve.config import Competition, read_competition
from kitsolve.data.table import label_indices
from kitsolve.errors import KitsolveError
from kitsolve.inference import Bundle, SubmissionRules
from kitsolve.metrics import METRICS
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
