"""Which columns of the train rows are the id, the label, the group and the features."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import pandas as pd

from kitsolve.data.features import MOST_CATEGORIES
from kitsolve.data.labels import is_number, mark_missing
from kitsolve.proposing.proposal import Guess

LABEL_WORDS = re.compile(
    r"label|target|class|categor|breed|species|diagnos|grade|level|tag|attribute|score|disease|severity|stage|rating"
    r"|outcome|finding|individual|identity|^(?:y|id|has|is)(?:_|$)",
    re.IGNORECASE,
)
PLAIN_LABELS = re.compile(r"labels?|class(?:name)?|targets?|categor(?:y|ies)|species|breed|diagnosis", re.IGNORECASE)
GROUP_WORDS = re.compile(
    r"patient|subject|series|study|case|person|participant|animal|individual|volunteer|donor|user|session|video|clip"
    r"|sequence|scene|slide|specimen|lesion|plot|burst|location|camera|group_?id",
    re.IGNORECASE,
)
# What is written beside images about anything but what is to be predicted.
OTHER_WORDS = re.compile(
    r"^unnamed|width|height|size|licen[sc]e|rights|fold|split|path|file|source|url|lat(?:itude)?$|lon(?:gitude)?$|^age|"
    r"(?:[_ ]|^)age(?:[_ ]|$)|^sex$|gender|date|time|year|month|hour|index|usage|center|centre|provider|site|version",
    re.IGNORECASE,
)
MOST_COMPARED = 200
TRAIN_VALUES = {"train", "training"}
TEST_VALUES = {"test", "testing", "holdout", "public", "private", "publictest", "privatetest"}
SPLIT_VALUES = {*TRAIN_VALUES, *TEST_VALUES, "val", "valid", "validation", "dev", "eval"}


FILE_NAME = re.compile(r"\w+://.*|(?:.*[\\/])?[^\\/]*\.(?=[A-Za-z0-9]*[A-Za-z])[A-Za-z0-9]{2,5}", re.DOTALL)


def names_files(cells: pd.Series) -> bool:
    """Whether nearly all filled cells are addresses or file names: neither a label nor a feature."""
    filled = [cell for cell in cells.unique() if cell][:MOST_COMPARED]
    return bool(filled) and sum(map(bool, map(FILE_NAME.fullmatch, filled))) > 0.9 * len(filled)


def naming_fields(rows: pd.DataFrame, fields: Sequence[str]) -> list[str]:
    """Those of an image template's columns that tell images apart: a folder may be the class."""
    counts = {name: rows[name].nunique() for name in fields}
    return [name for name in fields if counts[name] > len(rows) / 2 or counts[name] == max(counts.values())]


def choose_id(rows: pd.DataFrame, *, fields: Sequence[str], known: Sequence[str]) -> Guess:
    """The column that names a row.

    Args:
        fields: the columns of the image template.
        known: what the test rows and the sample submission call it.
    """
    if rows.empty:
        return Guess("id", "there are no rows", ("id", "image_id"))
    unique = [name for name in rows if rows[name].is_unique and not str(name).lower().startswith("unnamed")]
    for name in known:
        if name in unique:
            return Guess(name, "no two rows have the same, and the test rows call it so too")
    for name in fields:
        if name in unique:
            return Guess(name, "no two rows have the same, and the images are named by it")
    if unique:
        others = [name for name in (*unique[1:], *fields) if name != unique[0]]
        return Guess(
            unique[0], "no two rows have the same, but neither images nor test rows know it", (unique[0], *others)
        )
    name = next(iter(fields), str(rows.columns[0]))
    repeated = int(rows[name].duplicated().sum())
    return Guess(name, f"{repeated} rows repeat an id: no column is unique", tuple(map(str, rows.columns)))


def choose_target(rows: pd.DataFrame, sample: pd.DataFrame | None, taken: Collection[str]) -> Guess:
    """The column or columns with the labels; the value None where there are none.

    Args:
        taken: columns that are something else.
    """
    open_columns = [name for name in rows if name not in taken and not names_files(rows[name])]
    wanted = [] if sample is None else [str(name) for name in sample.columns[1:]]
    if len(wanted) > 1:
        found = _find_columns(rows, open_columns, wanted)
        if found is not None:
            return found
    flags = [name for name in open_columns if is_flag(rows[name])]
    if sample is not None and len(wanted) == 1 and wanted[0] not in rows and len(flags) > 1:
        found = _find_flags(flags, sample)
        if found is not None:
            return found
    rated = {name: rate_label(name, rows[name], sample) for name in open_columns if _may_be_label(rows[name])}
    return _pick(rated, flags)


def _find_columns(rows: pd.DataFrame, columns: Sequence[str], wanted: Sequence[str]) -> Guess | None:
    """The target of a sample with a column for each class."""
    if set(wanted) <= set(columns):
        return Guess(list(wanted), f"the sample's {len(wanted)} columns are columns of the train rows")
    shares = {name: len(set(rows[name]) & set(wanted)) / len(wanted) for name in columns}
    best = max(shares, key=lambda name: shares[name], default="")
    if shares.get(best, 0) > 0.5:
        odd = sorted(set(wanted) ^ set(rows[best]))
        beside = f", but for {len(odd)} of them, first {odd[0]!r}" if odd else ""
        return Guess(best, f"its values are the names of the sample's {len(wanted)} columns{beside}")
    shared = [name for name in wanted if name in columns]
    if len(shared) > 1:
        return Guess(shared, "these columns are in the train rows and in the sample", (shared, list(wanted)))
    return None


def _find_flags(flags: list[str], sample: pd.DataFrame) -> Guess | None:
    """The one-hot columns whose names the sample has as labels."""
    words = sample_words(sample)
    if words and words <= set(flags):
        return Guess(flags, f"{len(flags)} columns of 0 and 1, whose names the sample has as labels")
    return None


def sample_words(sample: pd.DataFrame) -> set[str]:
    """Labels in the sample's second column, as whole cells where these repeat no separator; numbers are left out."""
    cells = sample.iloc[:MOST_COMPARED, 1] if sample.shape[1] > 1 else pd.Series(dtype=str)
    words = {word for cell in set(cells) for word in re.split(r"[ ,;|]+", cell)}
    return {word for word in words if word and not is_number(word)}


def is_flag(cells: pd.Series) -> bool:
    """Whether a column has nothing but 0 and 1."""
    return set(cells.unique()) <= {"0", "1", "0.0", "1.0"}


def _may_be_label(cells: pd.Series) -> bool:
    """A label repeats, or is a number that may take any value."""
    different = cells.nunique()
    return 1 < different < len(cells) or (different > 1 and all(map(is_number, cells.iloc[:MOST_COMPARED])))


def rate_label(name: str, cells: pd.Series, sample: pd.DataFrame | None) -> int:
    """How much a column looks like the label: from -1 (it is something else) to 4 (the sample has it)."""
    wanted = str(sample.columns[1]) if sample is not None and sample.shape[1] > 1 else ""
    if name == wanted:
        return 4
    if name.lower() == wanted.lower() or (sample is not None and _has_words_of(cells, sample)):
        return 3
    if OTHER_WORDS.search(name):
        return -1
    if LABEL_WORDS.search(name):
        return 2 if PLAIN_LABELS.fullmatch(name) else 1
    return -1 if GROUP_WORDS.search(name) else 0


def _has_words_of(cells: pd.Series, sample: pd.DataFrame) -> bool:
    """Whether the sample's second column holds values of this one."""
    values = set(cells.unique())
    shown = {cell for cell in sample.iloc[:MOST_COMPARED, 1] if not is_number(cell) and cell.strip()}
    if shown & values:
        return True
    words = sample_words(sample)
    return len(words & values) > len(words) / 2 if words else False


def _pick(rated: dict[str, int], flags: list[str]) -> Guess:
    """The best rated column; the choice is open where another one is about as good."""
    if not rated:
        return Guess(None, "no column of the train rows could be a label")
    best = max(rated, key=lambda name: rated[name])
    if rated[best] >= 3:
        why = "the sample has a column of that name" if rated[best] == 4 else "the sample has its name or its values"
        rivals = [name for name in rated if rated[name] == rated[best]]
        return Guess(best, why, tuple(rivals) if len(rivals) > 1 else ())
    likely = [name for name in rated if rated[name] >= 0]
    if len(likely) == 1:
        return Guess(best, "the only column left that could be a label")
    if not likely:
        return Guess(best, "by its name something else, but there is no other", (*rated, None))
    if len(likely) > 2 and set(likely) <= set(flags):
        return Guess(likely, f"{len(likely)} columns of 0 and 1", (likely, *likely))
    rivals = sorted(likely or rated, key=lambda name: -rated[name])
    return Guess(best, "several columns could be the label", tuple(rivals) if len(rivals) > 1 else ())


def find_split(rows: pd.DataFrame) -> str | None:
    """The column that tells train rows from test rows of the same table."""
    for name in rows:
        values = {value.lower() for value in rows[name].unique() if value}
        if len(values) < 5 and values <= SPLIT_VALUES and values & TRAIN_VALUES and values & TEST_VALUES:
            return str(name)
    return None


def choose_features(rows: pd.DataFrame, test: pd.DataFrame | None, taken: Collection[str]) -> Guess | None:
    """The columns of train and test that a model can take; what only train has would tell what it cannot know."""
    if test is None:
        return None
    both = [name for name in rows if name in test and name not in taken]
    known = {name: tuple(_clear_missing(table[name]) for table in (rows, test)) for name in both}
    shared = [name for name in both if _may_be_feature(name, known[name][0]) and _are_shared(*known[name])]
    if not shared:
        return None
    return Guess(shared, "columns of the train and the test rows", (shared, []))


def _clear_missing(cells: pd.Series) -> pd.Series:
    """The cells with empty ones in the place of words that stand for a missing value, as `fetch` takes them."""
    cells = cells.str.strip()
    return cells.mask(mark_missing(cells), "")


def _are_shared(train: pd.Series, test: pd.Series) -> bool:
    """Whether a model that learns from the train cells knows what test cells say: numbers, or words of both."""
    words = set(test) - {""}
    return all(map(is_number, words)) or not words.isdisjoint(train)


def _may_be_feature(name: str, cells: pd.Series) -> bool:
    different = cells[cells != ""].unique()
    if len(different) < 2 or re.search(r"^unnamed|path|file|url|licen[sc]e|rights|date|time", name, re.IGNORECASE):
        return False
    identifies = re.search(r"(?:_|[a-z])(?:id|ID|Id|uid|UID)$", name) is not None
    if identifies or names_files(cells):
        return False
    # Of words that hardly ever come again each is a name.
    return all(map(is_number, different)) or len(different) <= min(MOST_CATEGORIES, max(2, len(cells) // 3))
