"""The command line: parse, call one step, print its result.

Everything heavy is imported inside the commands: `kitsolve --help` must not load torch.
"""

from __future__ import annotations

import json
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from kitsolve.display import (
    align_cells,
    align_rows,
    describe_blend,
    describe_cv,
    describe_diagnosis,
    describe_folds,
    describe_new,
    describe_rehearsal,
    describe_status,
    describe_submitted,
    describe_values,
    show_value,
)
from kitsolve.errors import KitsolveError

if TYPE_CHECKING:
    from kitsolve.submission.submit import Plan
    from kitsolve.workspace import Workspace


class Guarded(TyperGroup):
    """The one place where errors become words and exit codes: 1 for a KitsolveError, 130 for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401  (typer keeps its own copy of click's Context)
        """Run the command."""
        try:
            return super().invoke(ctx)
        except KitsolveError as error:
            if ctx.params["debug"]:
                traceback.print_exc()
            typer.echo(f"error: {error.problem}\n  fix: {error.hint}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            # Every step is restartable: the same words go on, but for those that ask to start anew.
            words = [word for word in sys.argv[1:] if word != "--force"]
            typer.echo(f"\ninterrupted; go on with: {shlex.join(['kitsolve', *words])}", err=True)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=Guarded,
    help="From a Kaggle image competition's name to a scored submission. Start with `kitsolve run digits`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Slug = Annotated[str, typer.Argument(help="The competition's name in its Kaggle address.", show_default=False)]
OneRun = Annotated[str | None, typer.Argument(help="A run; by default the newest finished one.", show_default=False)]
Runs = Annotated[list[str] | None, typer.Argument(help="Runs; by default the newest finished one.", show_default=False)]
RecipeName = Annotated[
    str | None,
    typer.Option("--recipe", help="A recipe of the competition, or quick, baseline, strong. Default: baseline."),
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe; may be repeated.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes that load images; changes no result.")]
Source = Annotated[
    Path | None, typer.Option("--from", help="The competition's zip, or a folder with its files, on this disk.")
]
Force = Annotated[bool, typer.Option("--force", help="Do again what is done.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"kitsolve {version('kitsolve')}")
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    root: Annotated[Path, typer.Option(envvar="KITSOLVE_ROOT", help="Work in this folder.", file_okay=False)] = Path(),
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Give every command the workspace; `debug` is read where errors are shown."""
    from kitsolve.workspace import Workspace

    context.obj = Workspace(root.resolve())


@app.command()
def run(
    context: typer.Context,
    slug: Slug,
    recipe: RecipeName = None,
    overrides: Overrides = None,
    device: Device = "auto",
    workers: Workers = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Fetch, train, export, rehearse: from nothing to a checked notebook and submission.csv."""
    from kitsolve.evaluation.runs import Wanted
    from kitsolve.submission.run import run_all
    from kitsolve.training.job import choose_machine

    wanted = Wanted(slug, recipe, tuple(overrides or ()))
    done = run_all(context.obj, wanted, choose_machine(device, workers), force=force)
    lines = [describe_cv(done.cv), f"notebook    {done.notebook}", f"submission  {done.submission}"]
    lines += [f"score       {done.score:.5f} on the held-out test set"] if done.score is not None else []
    lines += [f"rehearsal   passed {len(done.rehearsal.checks)} checks in {done.rehearsal.seconds:.0f} s"]
    _print(asdict(done), "\n".join(lines), as_json, notices=done.cv.notices)


@app.command()
def fetch(
    context: typer.Context,
    slug: Slug,
    source: Source = None,
    keep_archive: Annotated[bool, typer.Option("--keep-archive", help="Keep the downloaded archive.")] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Download the data (or take it --from this disk), check every image, write train.csv, test.csv and folds.csv."""
    from kitsolve.data.fetch import fetch as fetch_step

    done = fetch_step(context.obj, slug, source=source, keep_archive=keep_archive, force=force)
    text = f"{done.train_rows:,} train and {done.test_rows:,} test images in {done.raw}, {done.folds} folds"
    _print(asdict(done), text, as_json, notices=done.notices)


@app.command()
def new(
    context: typer.Context,
    slug: Slug,
    source: Source = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a competition: from the catalogue, or proposed from its files, with the reasons."""
    from kitsolve.proposing.new import ask_kaggle, in_catalogue, new_competition

    known = None if in_catalogue(slug) else ask_kaggle(slug)
    made = new_competition(context.obj, slug, source=source, known=known, force=force)
    _print(asdict(made), describe_new(made), as_json)
    if made.proposal and made.proposal.problems:
        raise typer.Exit(1)


@app.command()
def show(context: typer.Context, slug: Slug, recipe: RecipeName = None, as_json: AsJson = False) -> None:
    """Draw the train images with their labels, the classes, the image sizes, and what a recipe's augmentation does."""
    from kitsolve.pictures.show import show as show_step
    from kitsolve.recipe import read_recipe

    workspace: Workspace = context.obj
    shown = show_step(workspace, slug, recipe=read_recipe(workspace, slug, recipe or "baseline"))
    pictures = [f"{name:11} {path}" for name, path in shown.pictures.items()]
    _print(asdict(shown), "\n".join([*shown.lines, *pictures]), as_json)


@app.command()
def folds(
    context: typer.Context,
    slug: Slug,
    scheme: Annotated[str | None, typer.Option(help="Another scheme than the facts name.")] = None,
    count: Annotated[int | None, typer.Option(min=2, help="Another number of folds.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed.")] = None,
    group: Annotated[
        str | None, typer.Option(help="A column of train.csv, or COLUMN:PATTERN, whose equal rows stay together.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write folds.csv anew, and show how alike the folds are; without options as the facts say."""
    from kitsolve.data.splits import rewrite_folds

    given = {"scheme": scheme, "count": count, "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    report = rewrite_folds(context.obj, slug, changes, group=group)
    _print(asdict(report), describe_folds(report), as_json, notices=report.notices)


@app.command()
def train(
    context: typer.Context,
    slug: Slug,
    recipe: RecipeName = None,
    fold: Annotated[
        list[str] | None, typer.Option(help="Only this fold, from 0; may be repeated. all: train on all rows.")
    ] = None,
    name: Annotated[str | None, typer.Option("--run", help="The run's name; goes on with it where it exists.")] = None,
    overrides: Overrides = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="2h30m", help="For all folds together: as many epochs as fit.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="Train each fold on so many GPUs at once.")] = 1,
    on_ray: Annotated[bool, typer.Option("--ray", help="Train the folds side by side as Ray tasks.")] = False,
    ray_address: Annotated[
        str, typer.Option(envvar="RAY_ADDRESS", help="Of a Ray cluster, for --ray; local: this machine.")
    ] = "local",
    device: Device = "auto",
    workers: Workers = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train anew: the run of --run, or only its --fold with the same choices.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Train all folds of a recipe, or go on where it stopped; ends with the CV score."""
    from kitsolve.evaluation.runs import Wanted, open_run, parse_folds
    from kitsolve.settings import parse_duration
    from kitsolve.training.cluster import train_on_ray
    from kitsolve.training.distributed import is_launched, launch, leave_group, share
    from kitsolve.training.fold import train_folds
    from kitsolve.training.job import choose_machine

    if gpus > 1 and not is_launched():
        raise typer.Exit(launch(gpus, sys.argv[1:]))
    workspace: Workspace = context.obj
    limit_s = parse_duration(time_limit)
    machine = choose_machine(device, workers)
    if on_ray and time_limit:
        raise KitsolveError("--ray takes no --time-limit.", hint="leave one of them out; --set epochs=N is for both.")
    wanted = Wanted(slug, recipe, tuple(overrides or ()), name, tuple(parse_folds(fold)))
    started = share(lambda: open_run(workspace, wanted, force=force), machine)
    if on_ray:
        cv = train_on_ray(workspace, started, wanted.folds, address=ray_address, workers=workers, force=force)
    else:
        cv = train_folds(workspace, started, wanted.folds, machine, time_limit_s=limit_s, force=force)
    leave_group()
    if machine.leads:
        text = f"run         {started.name}\n{describe_cv(cv)}"
        _print({"run": started.name, "cv": asdict(cv)}, text, as_json, notices=cv.notices)


@app.command()
def lr(
    context: typer.Context,
    slug: Slug,
    recipe: RecipeName = None,
    overrides: Overrides = None,
    steps: Annotated[int, typer.Option(min=10, help="Steps of the test.")] = 100,
    device: Device = "auto",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Raise the learning rate step by step, draw the loss, and suggest an lr for the recipe."""
    from kitsolve.evaluation.runs import Wanted, open_run
    from kitsolve.training.job import choose_machine
    from kitsolve.training.lr_range import find_lr

    planned = open_run(context.obj, Wanted(slug, recipe, tuple(overrides or ())), force=True)
    found = find_lr(context.obj, planned, choose_machine(device, workers), steps=steps)
    text = f"lr          {found.suggested:.1e}; the recipe has {planned.recipe.lr:.1e}\npicture     {found.picture}"
    _print(asdict(found), text, as_json)


@app.command()
def pseudo(
    context: typer.Context,
    slug: Slug,
    name: OneRun = None,
    min_confidence: Annotated[float, typer.Option(min=0, max=1, help="Leave less sure predictions out.")] = 0.0,
    device: Device = "auto",
    workers: Workers = None,
    as_json: AsJson = False,
) -> None:
    """Predict the test images with every fold of a run, for a next run to learn from: --set pseudo=RUN."""
    from kitsolve.evaluation.runs import find_run
    from kitsolve.training.job import choose_machine
    from kitsolve.training.pseudo import make_pseudo

    teacher = find_run(context.obj, slug, name)
    made = make_pseudo(context.obj, teacher, choose_machine(device, workers), min_confidence=min_confidence)
    kept = ", ".join(f"{rows:,}" for rows in made.kept.values())
    text = f"labels      {made.folder}: {kept} of {made.test_rows:,} test images by fold"
    _print(asdict(made), f"{text}\nnext        kitsolve train {slug} --set pseudo={teacher.name}", as_json)


@app.command()
def score(context: typer.Context, slug: Slug, name: OneRun = None, as_json: AsJson = False) -> None:
    """Print the CV score of a run: per fold, mean and std, and of all OOF predictions together."""
    from kitsolve.evaluation.runs import find_run
    from kitsolve.evaluation.score import score_run

    workspace: Workspace = context.obj
    found = find_run(workspace, slug, name)
    cv = score_run(workspace, found)
    text = f"run         {found.name}\n{describe_cv(cv)}"
    _print({"run": found.name, "cv": asdict(cv)}, text, as_json, notices=cv.notices)


@app.command()
def runs(context: typer.Context, slug: Slug, as_json: AsJson = False) -> None:
    """List the runs of a competition, the newest first."""
    from kitsolve.config import read_competition
    from kitsolve.evaluation.comparison import group_runs
    from kitsolve.evaluation.runs import list_runs, summarise_run

    workspace: Workspace = context.obj
    read_competition(workspace, slug)
    found = list_runs(workspace, slug)
    finished = [run for run in found if run.finished]
    letters, notices = group_runs(finished)
    marks = {run.name: letter for run, letter in zip(finished, letters, strict=True)}
    rows = [summarise_run(run) | {"compares": marks.get(run.name)} for run in found]
    text = align_rows(rows) or f"no runs yet: `kitsolve train {slug}` makes one"
    _print({"runs": rows}, text, as_json, notices=notices)


@app.command()
def models(
    context: typer.Context,
    pattern: Annotated[str, typer.Argument(help="A part of the name, or a pattern with *.")] = "*",
    as_json: AsJson = False,
) -> None:
    """List the backbones: parameters (millions), image size, ImageNet top-1 and top-5 (%), licence of the weights."""
    from kitsolve.training.backbones import BackboneFacts, list_backbones

    found = list_backbones(pattern)
    if as_json:
        _print({"models": [asdict(facts) for facts in found]}, "", as_json)
        return
    # Line by line: there are more than a thousand, and each is built to count its parameters.
    widths = (56, 8, 10, 6, 6, 0)
    typer.echo(align_cells([field.name for field in fields(BackboneFacts)], widths))
    for facts in found:
        typer.echo(align_cells([show_value(value) for value in asdict(facts).values()], widths))


@app.command()
def report(
    context: typer.Context, slug: Slug, name: OneRun = None, device: Device = "auto", as_json: AsJson = False
) -> None:
    """Write one HTML page about a run: curves, errors, calibration, mistakes with heat maps, doubtful labels."""
    from kitsolve.evaluation.runs import find_run
    from kitsolve.reporting.report import write_report
    from kitsolve.training.job import choose_machine

    workspace: Workspace = context.obj
    written = write_report(workspace, find_run(workspace, slug, name), device=choose_machine(device, 0).device)
    lines = [f"report      {written.path}", f"suspects    {written.suspects} labels that the model doubts"]
    lines += [f"duplicates  {written.duplicates} pairs of train and test images that look alike"]
    _print(asdict(written), "\n".join(lines), as_json)


@app.command()
def blend(
    context: typer.Context,
    slug: Slug,
    names: Annotated[list[str], typer.Argument(help="Two runs or more.")],
    method: Annotated[str, typer.Option(help="auto, mean, weighted, geometric or rank.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Find how runs are mixed best, with an honest estimate of the gain; `export` of these runs then does it so."""
    from kitsolve.evaluation.blend import find_blend, write_blend
    from kitsolve.evaluation.runs import find_run

    workspace: Workspace = context.obj
    report = find_blend(workspace, [find_run(workspace, slug, name) for name in names], method=method)
    write_blend(workspace, slug, report.chosen, method=method)
    _print(asdict(report), f"{describe_blend(report)}\nnext        kitsolve export {slug} {' '.join(names)}", as_json)


@app.command()
def export(
    context: typer.Context,
    slug: Slug,
    names: Runs = None,
    half: Annotated[bool, typer.Option("--half", help="Weights in float16, after a look at what changes.")] = False,
    attach_timm: Annotated[bool, typer.Option("--attach-timm", help="Let the notebook import this timm.")] = False,
    compiled: Annotated[bool, typer.Option("--compile", help="torch.compile: a slow start, then faster.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write the bundle (weights and bundle.json) of one or more runs, and the notebook."""
    from kitsolve.submission.bundle import Choices, describe_export, export_bundle
    from kitsolve.submission.notebook import write_notebook

    workspace: Workspace = context.obj
    bundle = export_bundle(workspace, slug, names or [], choices=Choices(half, attach_timm, compiled))
    notebook = write_notebook(workspace, bundle)
    values = describe_export(workspace.bundle(slug, bundle.name), notebook, bundle)
    _print(values, describe_values(values), as_json)


@app.command()
def predict(
    context: typer.Context,
    slug: Slug,
    names: Runs = None,
    output: Annotated[Path | None, typer.Option(help="Write the submission here.")] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Predict the test set with a bundle's own code."""
    from kitsolve.submission.bundle import export_bundle
    from kitsolve.submission.predict import predict as predict_step

    workspace: Workspace = context.obj
    path = predict_step(workspace, export_bundle(workspace, slug, names or []), output=output, device=device)
    _print({"submission": path}, f"submission  {path}", as_json)


@app.command()
def rehearse(
    context: typer.Context,
    slug: Slug,
    name: Annotated[str | None, typer.Argument(help="A bundle; by default the one exported last.")] = None,
    python: Annotated[
        str | None, typer.Option(help="The interpreter of an environment with Kaggle's versions, with ipykernel.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run the exported notebook as Kaggle would, twice, and check what it writes."""
    from kitsolve.submission.bundle import find_bundle
    from kitsolve.submission.rehearse import rehearse as rehearse_step

    workspace: Workspace = context.obj
    done = rehearse_step(workspace, find_bundle(workspace, slug, name), python=python)
    _print(asdict(done), describe_rehearsal(done), as_json)
    if not done.passed:
        raise typer.Exit(1)


@app.command()
def submit(
    context: typer.Context,
    slug: Slug,
    names: Runs = None,
    file: Annotated[Path | None, typer.Option("--file", help="Submit this submission.csv instead.")] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="Words for Kaggle's list.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a submission is spent.")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the score.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop before anything leaves this machine.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Submit again what was submitted before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check the submission, hand it in as the competition wants it, and print the score beside the CV."""
    from kitsolve.submission.bundle import export_bundle
    from kitsolve.submission.submit import Wishes, describe_plan, plan_submit
    from kitsolve.submission.submit import submit as submit_step

    workspace: Workspace = context.obj
    bundle = export_bundle(workspace, slug, names or [])
    wishes = Wishes(file, message, wait=not no_wait, force=force)
    if dry_run:
        values = describe_plan(plan_submit(workspace, bundle, wishes))
        _print({"dry_run": True, **values}, f"{describe_values(values)}\nnothing was sent (--dry-run)", as_json)
        return

    def confirm(plan: Plan) -> None:
        typer.echo(describe_values(describe_plan(plan)), err=True)
        _ask("Spend a submission on it?", yes)

    done = submit_step(workspace, bundle, wishes, confirm=confirm)
    _print(asdict(done), describe_submitted(done), as_json)


@app.command()
def status(context: typer.Context, slug: Slug, as_json: AsJson = False) -> None:
    """Show where a competition stands: submissions with CV and score, allowance, GPU quota, deadline."""
    from kitsolve.submission.status import find_status

    found = find_status(context.obj, slug)
    _print(asdict(found), describe_status(found, slug), as_json)
    if found.problem:
        raise typer.Exit(1)


@app.command()
def board(
    context: typer.Context,
    slug: Slug,
    host: Annotated[str, typer.Option(help="Serve on this address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Serve on this port; 0 takes a free one.")] = 0,
) -> None:
    """Serve TensorBoard over the runs of a competition until Ctrl-C."""
    import threading

    from kitsolve.evaluation.board import start_board

    address = start_board(context.obj.runs(slug), host=host, port=port)
    with suppress(KeyboardInterrupt):  # here Ctrl-C is no interruption but the end
        typer.echo(f"TensorBoard at {address}  (Ctrl-C stops it)")
        threading.Event().wait()


@app.command()
def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Show versions, device and disk, and whether the Kaggle credential works."""
    from kitsolve.doctor import diagnose

    found = diagnose(context.obj)
    _print(asdict(found), describe_diagnosis(found), as_json)
    if found.problem:
        raise typer.Exit(1)


def _ask(question: str, yes: bool) -> None:
    """Raise KitsolveError where the user does not agree, or cannot be asked."""
    if yes:
        return
    if not _has_terminal():
        raise KitsolveError("there is no terminal to ask at.", hint="say --yes to agree beforehand.")
    if not typer.confirm(question, err=True):
        raise KitsolveError("nothing was sent.", hint="run the same command again when it is time.")


def _has_terminal() -> bool:
    return sys.stdin.isatty()


def _print(values: dict[str, Any], text: str, as_json: bool, *, notices: Sequence[str] = ()) -> None:
    """The result goes to stdout, as text or as one JSON object; what the user should know beside it to stderr."""
    for notice in notices:
        typer.echo(f"note: {notice}", err=True)
    typer.echo(json.dumps(values, default=str) if as_json else text)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
