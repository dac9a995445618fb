"""The facts of a competition, read strictly from TOML: `Competition`."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kitsolve.errors import KitsolveError, own_code
from kitsolve.metrics import find_metric
from kitsolve.settings import Strict, read_toml, validate
from kitsolve.workspace import Workspace, read_json


class Rows(Strict):
    """Where the rows of a split are, below the raw folder: one of csv, glob, coco or records.

    `csv`: tables, one after the other. `glob`: the files that match, with the column `path` (relative to the raw
    folder) and one for each named group of the regular expression `pattern`, which is searched in it. `coco`: JSON
    objects whose lists `images` and `annotations` are joined on the keys `on` (of the image, of the annotation; by
    default id and image_id); an image with several annotations gives a row for each. `records`: JSON lists of objects;
    `arrays`: their keys that hold the image as numbers, which becomes arrays/ID.npy with a channel for each.
    """

    csv: str | list[str] | None = None
    glob: str | None = None
    pattern: str | None = None
    coco: str | list[str] | None = None
    on: list[str] | None = Field(default=None, min_length=2, max_length=2)
    records: str | list[str] | None = None
    arrays: list[str] = []
    encoding: str = "utf-8"

    @model_validator(mode="after")
    def _is_one_kind(self) -> Rows:
        given = [name for name in ("csv", "glob", "coco", "records") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"rows need one of csv, glob, coco or records, not {' and '.join(given) or 'none'}")
        for name, kind in (("pattern", "glob"), ("on", "coco"), ("arrays", "records")):
            if getattr(self, name) and kind not in given:
                raise ValueError(f"rows of {given[0]} have no {name}, only those of {kind}")
        return self

    @property
    def files(self) -> list[str]:
        """The files to read; none for `glob`."""
        given = self.csv or self.coco or self.records or []
        return [given] if isinstance(given, str) else given


class LabelList(Strict):
    """A target column that holds several labels in a cell."""

    column: str
    separator: str = " "


class GroupPattern(Strict):
    """A group that is a part of a column's cells: what the parentheses of the regular expression match there.

    `column`: the id, "path" (the image's path), or any other one. A row in which nothing is found is in no group.
    """

    column: str
    pattern: str

    @field_validator("pattern")
    @classmethod
    def _has_a_group(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if not groups:
            raise ValueError(f"{pattern!r} has no group in parentheses, which says what part of the cell is meant")
        return pattern


OWN_COLUMNS = ("image_id", "path", "fold")
"""The columns that kitsolve's tables have whatever the competition's are called."""


class Train(Strict):
    """The train split: its rows, and which columns hold the id, the label and the image's path.

    `target` is a column, a list of one-hot or multi-hot columns (for kl_divergence: of votes or shares), or a
    LabelList. `group`: a column, or a GroupPattern; rows of equal value stay in one fold. `positive`: the value of a
    binary target that counts as positive, else the greater one. `unknown`: the label of a retrieval task that means
    "none of the others". `order`: the labels of an ordinal task from the lowest to the highest, where they are no
    numbers. `range`: the smallest and largest value of a regression target. `features`: columns of train and test that
    are given to the model beside the image.
    `missing`: what becomes of rows whose label reads as a missing value (NA, none, ?): "class" keeps it as a label like
    any other, "drop" leaves them out, and those without a label.
    """

    rows: Rows
    id: str
    target: str | list[str] | LabelList
    image: str
    group: str | GroupPattern | None = None
    positive: str | None = None
    unknown: str | None = None
    order: list[str] | None = None
    range: list[float] | None = Field(default=None, min_length=2, max_length=2)
    features: list[str] = []
    missing: Literal["class", "drop"] | None = None

    def column(self, name: str) -> str:
        """What a column of the rows is called in train.csv, which has some names of its own."""
        return OWN_COLUMNS[0] if name == self.id else f"given_{name}" if name in OWN_COLUMNS else name

    @property
    def group_column(self) -> str | None:
        """The column that holds the group, or a part of whose cells is it."""
        return self.group.column if isinstance(self.group, GroupPattern) else self.group

    @property
    def targets(self) -> list[str]:
        """The columns that hold the labels."""
        if isinstance(self.target, LabelList):
            return [self.target.column]
        return [self.target] if isinstance(self.target, str) else self.target


class Test(Strict):
    """The test split: its rows are the ids of the sample submission; `rows`, joined on the column `id`, add columns.

    `hidden`: about how many images the test set has that takes the public one's place in a code competition.
    """

    image: str
    rows: Rows | None = None
    id: str | None = None
    hidden: int | None = Field(default=None, ge=1)

    @field_validator("rows")
    @classmethod
    def _rows_are_files(cls, rows: Rows | None) -> Rows | None:
        if rows is not None and not rows.files:
            raise ValueError("the test rows are the sample's ids: files add columns to them, a glob cannot")
        return rows


class Image(Strict):
    """How images are read: 3 channels are RGB, 1 is grey; arrays (.npy) may have any number.

    `background`: what transparency is laid on; "mean" is ImageNet's mean colour, "ignore" takes the colours below as
    they are. `bits`: how many the integers of 16 bits or more use, else as `kitsolve fetch` finds.
    `scale`: "set": numbers become 8 bits alike in all images; "image": by what each one holds; see to_uint8.
    """

    channels: int = Field(default=3, ge=1)
    background: Literal["white", "black", "mean", "ignore"] = "white"
    bits: int | None = Field(default=None, ge=8, le=16)
    scale: Literal["set", "image"] = "set"

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of read_image."""
        bits = self.bits or 16
        return {"channels": self.channels, "background": self.background, "bits": bits, "scale": self.scale}


class Folds(Strict):
    """How the train rows are split for cross-validation.

    `duplicates` = "group" keeps near-duplicate images in one fold. `ignore`: columns, or "duplicates", of which nobody
    needs to be told that the folds tear their rows apart.
    """

    scheme: Literal[
        "stratified", "group", "stratified_group", "multilabel_stratified", "binned_stratified", "plain"
    ] = "stratified"
    count: int = Field(default=5, ge=2)
    seed: int = Field(default=42, ge=0)
    shuffle: bool = True
    duplicates: Literal["keep", "group"] = "keep"
    ignore: list[str] = []


class Submission(Strict):
    """What the competition wants to get, and by which way.

    `top_k`: labels a row of kind top_k. `separator`: between the labels of kinds label_list and top_k.
    `machine_shape` is Kaggle's name for the machine that runs the notebook of a code competition, `hours` its limit.
    """

    kind: Literal["label", "probability", "class_probabilities", "label_list", "top_k", "value", "prepare:submission"]
    via: Literal["csv", "notebook", "local"]
    sample: str = "sample_submission.csv"
    top_k: int = Field(default=5, ge=1)
    separator: str = " "
    machine_shape: str = "NvidiaTeslaT4"
    hours: float = Field(default=9.0, gt=0)


TASK_KINDS = {
    "binary": ("label", "probability", "class_probabilities"),
    "multiclass": ("label", "class_probabilities", "top_k"),
    "multilabel": ("label_list", "class_probabilities"),
    "ordinal": ("label", "value"),
    "regression": ("value",),
    "retrieval": ("top_k", "label"),
}
"""Task -> the kinds of submission that can be made of its predictions."""
TASK_FORMS = {
    "binary": ("probs", "labels"),
    "multiclass": ("probs", "labels", "ranking"),
    "multilabel": ("probs", "labels"),
    "ordinal": ("probs", "labels"),
    "regression": ("values",),
    "retrieval": ("ranking", "labels"),
}
"""Task -> the forms of prediction that its metric may want."""
ONLY_FOR = {"positive": "binary", "unknown": "retrieval", "order": "ordinal", "range": "regression"}
"""Key of [train] -> the task that has it."""


class Competition(Strict):
    """The facts of one competition; `slug` is the name of its folder.

    `archives` are nested in the raw files: "train.zip" is unpacked as train/.
    """

    slug: str
    title: str
    task: Literal["binary", "multiclass", "multilabel", "ordinal", "regression", "retrieval"]
    metric: str
    archives: list[str] = []
    image: Image = Image()
    train: Train
    test: Test
    folds: Folds = Folds()
    submission: Submission

    def for_training(self) -> Competition:
        """The facts without what changes neither tables nor training: title, hidden images, way of submission …"""
        way = {"via": "local", "machine_shape": "", "hours": 9.0}
        test, submission = self.test.model_copy(update={"hidden": None}), self.submission.model_copy(update=way)
        folds = self.folds.model_copy(update={"ignore": []})
        return self.model_copy(update={"title": "", "test": test, "submission": submission, "folds": folds})

    @field_validator("metric")
    @classmethod
    def _metric_is_known(cls, name: str) -> str:
        if name != "prepare:metric":
            find_metric(name)
        return name

    @model_validator(mode="after")
    def _facts_fit(self) -> Competition:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        kind, scheme, task = self.submission.kind, self.folds.scheme, self.task
        yield from self._odd_targets()
        if kind != "prepare:submission" and kind not in TASK_KINDS[task]:
            yield f"task = {task!r} is submitted as {' or '.join(TASK_KINDS[task])}, not as {kind}"
        if self.metric != "prepare:metric" and find_metric(self.metric).wants not in TASK_FORMS[task]:
            yield f"the metric {self.metric} does not score task = {task!r}"
        for name, only in ONLY_FOR.items():
            if getattr(self.train, name) is not None and task != only:
                yield f"train.{name} is for {only} tasks"
        if scheme in ("group", "stratified_group") and self.train.group is None and self.folds.duplicates == "keep":
            yield f'folds.scheme = "{scheme}" needs train.group'
        if task == "regression" and self.train.missing == "class":
            yield 'train.missing = "class" is not for a regression: take "drop"'
        if scheme == "multilabel_stratified" and task != "multilabel":
            yield f'folds.scheme = "{scheme}" is for multilabel tasks'
        if scheme == "binned_stratified" and task != "regression":
            yield f'folds.scheme = "{scheme}" is for regression tasks'

    def _odd_targets(self) -> Iterator[str]:
        """What train.target says that the task, or the metric, cannot take."""
        target, columns = self.train.target, self.train.targets
        if not columns or len(set(columns)) < len(columns):
            yield f"train.target = {columns} names a column twice, or none"
        if isinstance(target, LabelList) and self.task != "multilabel":
            yield f"train.target with a separator, several labels in a cell, is for multilabel tasks, not {self.task}"
        if self.task == "regression" and len(columns) > 1:
            yield (
                f"train.target names {len(columns)} columns: a regression has one output, several are not supported "
                f'yet; name one, as in target = "{columns[0]}"'
            )
        if self.metric == "kl_divergence" and len(columns) == 1:
            yield "kl_divergence compares distributions: train.target lists a column for each class"


def read_competition(workspace: Workspace, slug: str) -> Competition:
    """The facts of `slug`.

    Raises:
        KitsolveError: no such competition, or a mistake in its file.
    """
    path = workspace.competition(slug) / "competition.toml"
    return validate(Competition, {"slug": slug, **read_toml(path)}, source=str(path))


def read_fetched(workspace: Workspace, slug: str) -> Competition:
    """The facts of `slug`, and where they leave open how many bits its images use, what `fetch` has found.

    Tables of an older version were made with the "image" scale, and know the bits of no other.

    Raises:
        KitsolveError: see read_competition.
    """
    competition = read_competition(workspace, slug)
    marker = workspace.tables(slug) / "tables.json"
    if not marker.is_file():
        return competition
    made, found = read_json(marker), {}
    if competition.image.bits is None:
        found["bits"] = made.get("fetched", {}).get("image_bits", 16)
    if "scale" not in made.get("facts", {}).get("image", {}):
        found["scale"] = "image"
    return competition.model_copy(update={"image": competition.image.model_copy(update=found)})


def check_facts(values: dict[str, Any]) -> Competition:
    """The competition of facts that do not come from its file as they are.

    Raises:
        KitsolveError: they do not fit together.
    """
    return validate(Competition, values, source=f"the facts of {values['slug']}")


def load_prepare(workspace: Workspace, slug: str) -> ModuleType | None:
    """The competition's prepare.py, run as a module; None where facts alone say everything.

    Raises:
        KitsolveError: it cannot be run.
    """
    path = workspace.competition(slug) / "prepare.py"
    if not path.is_file():
        return None
    spec = importlib.util.spec_from_file_location(f"kitsolve_prepare_{slug.replace('-', '_')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with own_code(path):
        spec.loader.exec_module(module)
    return module


def require_prepare(workspace: Workspace, slug: str, name: str) -> Callable[..., Any]:
    """The function `name` of the competition's prepare.py.

    Raises:
        KitsolveError: there is none.
    """
    found: Callable[..., Any] | None = getattr(load_prepare(workspace, slug), name, None)
    if found is None:
        path = workspace.competition(slug) / "prepare.py"
        raise KitsolveError(f"{path} has no function {name}.", hint=f"write it, as the facts say prepare:{name}.")
    return found
