"""What a competition's pages say in words: its metric, and whether it takes notebooks only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from kitsolve.proposing.proposal import Guess

# The special before the general: what one pattern has matched, no later one sees. Several names: the words do not
# tell which; none: kitsolve has no such metric.
WORDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"(?:mean average precision|\bMAP)\s*(?:@|at)\s*\(?(\d+)", ("map@{}",)),
    (r"top[- ](\d+)[\w\s-]{0,20}error|error[\w\s]{0,20}top[- ](\d+)", ("top_error@{}",)),
    (r"weighted[\w\s-]{0,25}log(?:arithmic)?[ -]?loss|column-?wise root|MCRMSE|label[- ]ranking average precision", ()),
    (r"root[- ]mean[- ]squared?[- ]log|\bRMSLE\b|\bpartial\b[\w\s(),-]{0,40}\bAUC|matthews|\bMCC\b", ()),
    (r"\bF(?:2|0\.5)\b|\bF-?beta|\bDice\b|intersection over union|\bIoU\b|(?-i:\bmAP\b)|balanced accuracy", ()),
    (r"column[\w\s-]{0,15}(?:ROC|AUC|area)", ("mean_column_auc",)),
    (r"(?:average|mean) of the (?:individual|per[- ]\w+) (?:ROC )?AUC", ("mean_column_auc",)),
    (r"weighted (?:ROC )?AUC", ("weighted_auc",)),
    (r"area under[\w\s()-]{0,30}(?:ROC|receiver|curve)|\bROC[- ]?AUC\b|\bAU-?ROC\b|\bAUC(?:-ROC)?\b", ("roc_auc",)),
    (r"probabilistic F1|\bpF1\b", ("pf1",)),
    (r"average precision", ("average_precision",)),
    (r"log(?:arithmic)?[ -]?loss|cross[- ]entropy", ("log_loss",)),
    (r"kappa", ("qwk",)),
    (r"macro[\w\s-]{0,15}\bF1?\b|\bF1?\b[\w\s-]{0,15}macro", ("f1_macro",)),
    (r"micro[\w\s-]{0,15}\bF1?\b|\bF1?\b[\w\s-]{0,15}micro", ("f1_micro",)),
    (r"\bmean F1?\b|\bmean F-?(?:1-?)?score|samples?[- ]averaged F", ("f1_sample", "f1_macro", "f1_micro")),
    (r"\bF1\b|\bF-?(?:score|measure)", ("f1_macro", "f1_micro", "f1_sample")),
    (r"kullback|\bKL[- ]divergence", ("kl_divergence",)),
    (r"root[- ]mean[- ]squared?[- ](?:error|deviation)|\bRMSE\b", ("rmse",)),
    (r"mean absolute error|\bMAE\b", ("mae",)),
    (r"accuracy", ("accuracy",)),
)
ABOUT_SCORES = re.compile(r"evaluat|scor|metric|measur|judged|ranked|calculated|computed", re.IGNORECASE)
NOTEBOOKS_ONLY = re.compile(
    r"code competition|submissions? (?:to this competition )?must be (?:made|submitted) (?:through|via|from|using) "
    r"(?:kaggle )?(?:notebooks?|kernels?)|(?:notebook|kernel)s?[- ]only",
    re.IGNORECASE,
)


def name_metric(pages: Mapping[str, str]) -> Guess | None:
    """The metric that the pages name; unsure where they name several, or one that kitsolve does not have."""
    phrases = [phrase for sentence in _sentences(pages) for phrase in _match(sentence)]
    lacking = [phrase for phrase, names in phrases if not names]
    # Once a page has said which F1 it means, it goes on with "F1".
    exact = {names[0]: phrase for phrase, names in reversed(phrases) if len(names) == 1}
    exact = {name: phrase for name, phrase in exact.items() if not _is_said_better(name, exact)}
    vague = {name: phrase for phrase, names in phrases if len(names) > 1 and not exact.keys() & names for name in names}
    found = exact | vague
    if lacking:
        choices = tuple(dict.fromkeys(["prepare:metric", *found, "accuracy"]))
        return Guess(choices[0], f'the pages say "{lacking[0]}", which has to be written in prepare.py', choices)
    if not found:
        return None
    order = [name for _, names in phrases for name in names if name in found]
    name, *others = dict.fromkeys(order)
    return Guess(name, f'the pages say "{found[name]}"', (name, *others) if others else ())


def _is_said_better(name: str, names: Collection[str]) -> bool:
    """Whether a metric is but the general word for another one that is named."""
    special = {"roc_auc": r"mean_column_auc|weighted_auc", "average_precision": r"map@\d+"}
    return name in special and any(re.fullmatch(special[name], other) for other in names)


def wants_notebook(pages: Mapping[str, str]) -> str:
    """The words that say so; empty where there are none."""
    for text in pages.values():
        if found := NOTEBOOKS_ONLY.search(_plain(text)):
            return found[0]
    return ""


def _sentences(pages: Mapping[str, str]) -> Iterator[str]:
    """What the pages say about scores: the evaluation page first and alone where there is one."""
    named = [text for name, text in pages.items() if "evaluat" in name.lower()]
    for text in named or pages.values():
        for sentence in re.split(r"(?<=[.!?:])\s+|\n{2,}", _plain(text)):
            if ABOUT_SCORES.search(sentence):
                yield sentence


def _plain(text: str) -> str:
    """Without HTML tags, links and emphasis."""
    without = re.sub(r"<[^>]+>", " ", text)
    return re.sub(r"\]\([^)]*\)|[*_`\[]", " ", without)


def _match(sentence: str) -> Iterator[tuple[str, list[str]]]:
    """The wordings in a sentence, and the metrics that each may mean."""
    for pattern, names in WORDINGS:
        for match in re.finditer(pattern, sentence, re.IGNORECASE):
            number = next(filter(None, match.groups()), "")
            yield " ".join(match[0].split()), [name.format(number) for name in names]
        sentence = re.sub(pattern, " ", sentence, flags=re.IGNORECASE)
