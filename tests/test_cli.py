import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import failed_rehearsal, write_shades
from typer.testing import CliRunner

from kitsolve import cli
from kitsolve.cli import app
from kitsolve.errors import KitsolveError
from kitsolve.submission.kaggle_image import read_kaggle_image

CV_KEYS = {"metric", "folds", "mean", "std", "pooled", "oof_rows", "train_rows", "plain"}
CV_KEYS |= {"last_epochs", "chosen_gain", "notices"}


def call(root, *words):
    """Run a command in this process."""
    return CliRunner().invoke(app, ["--root", str(root), *map(str, words)])


def call_json(root, *words):
    """What `--json` prints; stdout must be one JSON object and nothing else."""
    result = call(root, *words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def root(tmp_path):
    write_shades(tmp_path)
    return tmp_path


@pytest.fixture
def ready(root):
    call_json(root, "fetch", "shades", "--from", root / "download")
    return root


# ------------------------------------------------------------------------------------------------ results


def test_the_verbs_one_after_the_other_with_their_json(root):
    fetched = call_json(root, "fetch", "shades", "--from", root / "download")
    assert (fetched["train_rows"], fetched["test_rows"], fetched["folds"]) == (36, 7, 2)
    trained = call_json(root, "train", "shades", "--run", "first", "--set", "epochs=1")
    assert trained["run"] == "first"
    assert set(trained["cv"]) == CV_KEYS
    assert call_json(root, "score", "shades") == trained
    assert call_json(root, "score", "shades", "first") == trained
    assert [row["run"] for row in call_json(root, "runs", "shades")["runs"]] == ["first"]
    exported = call_json(root, "export", "shades")
    assert exported["notebook"] == str(root / "notebooks_export" / "shades" / "first" / "shades.ipynb")
    assert exported["bundle"] == str(root / "workspace" / "bundles" / "shades" / "first")
    predicted = call_json(root, "predict", "shades", "first", "--output", root / "mine.csv")
    assert predicted == {"submission": str(root / "mine.csv")}


def test_without_json_the_same_is_printed_for_people(ready):
    result = call(ready, "train", "shades", "--run", "first", "--set", "epochs=1", "--fold", 1)
    assert result.exit_code == 0
    assert re.search(r"^run +first\nCV +[01]\.\d{5} accuracy \(18 of 36 rows\)\nfolds +[01]\.\d{5} ", result.stdout)
    table = call(ready, "runs", "shades").stdout.splitlines()
    assert table[0].split()[:4] == ["run", "recipe", "backbone", "image_size"]
    assert table[1].split()[:5] == ["first", "baseline", "timm/test_resnet", "32", "1/2"]


def test_progress_goes_to_stderr(ready):
    result = call(ready, "train", "shades", "--run", "first", "--set", "epochs=1", "--fold", 0)
    assert "epoch   1/1" in result.stderr
    assert "epoch   1/1" not in result.stdout


def test_folds_are_written_anew_and_shown(ready):
    before = (ready / "workspace" / "tables" / "shades" / "folds.csv").read_text()
    report = call_json(ready, "folds", "shades", "--count", 3, "--seed", 7)
    assert (report["rows"], report["leaks"]) == ([12, 12, 12], 0)
    assert (ready / "workspace" / "tables" / "shades" / "folds.csv").read_text() != before
    assert call_json(ready, "fetch", "shades")["folds"] == 3, "what a person chose stays"
    text = call(ready, "folds", "shades").stdout
    assert text.splitlines()[0].split() == ["fold", "rows", "bright", "dark", "grey"]
    assert "groups (train.group) in more than one fold: 0" in text
    assert (ready / "workspace" / "tables" / "shades" / "folds.csv").read_text() == before


def test_folds_of_an_unknown_group_or_scheme_are_refused(ready):
    assert "no column 'patient'" in call(ready, "folds", "shades", "--group", "patient").stderr
    assert "folds.scheme = 'groop'" in call(ready, "folds", "shades", "--scheme", "groop").stderr


def test_a_new_competition_is_proposed_with_what_is_unsure(root, fake):
    (root / "competitions").rename(root / "aside")
    text = call(root, "new", "tints", "--from", root / "download")
    assert text.exit_code == 0, text.output
    assert "facts       " in text.stdout
    assert re.search(r"^unsure      metric: choose one of ", text.stdout, re.MULTILINE)
    assert call_json(root, "fetch", "tints", "--from", root / "download")["train_rows"] == 36
    again = call(root, "new", "tints", "--from", root / "download")
    assert again.exit_code == 1
    assert "--force" in again.stderr
    shipped = call(root, "new", "dog-breed-identification")
    assert "as kitsolve ships them" in shipped.stdout


def test_pictures_are_drawn_and_named(ready):
    shown = call_json(ready, "show", "shades")
    assert set(shown["pictures"]) == {"train", "classes", "sizes", "augmented"}
    assert all(os.path.isfile(path) for path in shown["pictures"].values())
    assert "Shades of grey: 36 rows, 3 classes" in call(ready, "show", "shades").stdout


def test_models_lists_backbones_as_lines_and_as_json(tmp_path):
    lines = call(tmp_path, "models", "*/test_resnet").stdout.splitlines()
    assert lines[0].split() == ["name", "params_m", "image_size", "top1", "top5", "licence"]
    assert lines[1].split()[0] == "timm/test_resnet"
    assert call_json(tmp_path, "models", "torchvision/resnet18")["models"][0]["top1"] == 69.758


def test_a_run_ends_with_cv_notebook_submission_and_rehearsal(root, monkeypatch):
    call_json(root, "fetch", "shades", "--from", root / "download")
    done = call_json(root, "run", "shades", "--set", "epochs=1")
    assert set(done["cv"]) == CV_KEYS
    assert done["rehearsal"]["passed"] is True
    assert done["score"] is None
    for step in ("training.fold.train_fold", "submission.rehearse.rehearse", "submission.predict.predict"):
        monkeypatch.setattr(f"kitsolve.{step}", lambda *_, **__: pytest.fail("done again"))
    again = call(root, "run", "shades", "--set", "epochs=1")
    assert again.exit_code == 0
    assert f"submission  {done['submission']}" in again.stdout


@pytest.fixture
def shop(exported, tmp_path, fake):
    """The root of a CSV competition with a trained run, and its Kaggle."""
    shutil.copytree(exported.root, tmp_path / "root")
    return tmp_path / "root", fake


def test_a_submission_is_confirmed_and_its_score_printed_beside_the_cv(shop):
    root, fake = shop
    result = call(root, "submit", "shades", "--yes")
    assert result.exit_code == 0, result.output
    assert re.match(r"submission  1000\nscore       0\.875\nCV          [01]\.\d{5} accuracy\n", result.stdout)
    assert "5 submissions left today" in result.stderr
    table = call(root, "status", "shades").stdout.splitlines()
    assert table[0].split() == ["time", "runs", "cv", "public_score", "private_score", "status", "ref"]
    assert table[1].split()[1] == "first"
    assert table[1].split()[3:] == ["0.875", "-", "complete", "1000"]
    assert table[2:] == [
        "today       4 submissions left, 1 used",
        "GPU         2.0 of 30 h used this week",
        table[4],
    ]
    assert table[4].startswith("deadline    2030-01-02 23:59 UTC, in ")
    assert call_json(root, "status", "shades")["submissions"][0]["public_score"] == 0.875


def test_submit_prints_json(shop):
    done = call_json(shop[0], "submit", "shades", "--yes", "--no-wait", "--message", "hello")
    assert done == {
        "ref": "1000", "status": "pending", "public_score": None, "private_score": None, "cv": done["cv"],
    }  # fmt: skip
    assert set(done["cv"]) == CV_KEYS


def test_without_a_terminal_to_ask_at_nothing_is_sent(shop):
    root, fake = shop
    result = call(root, "submit", "shades")
    assert result.exit_code == 1
    assert "say --yes" in result.stderr
    assert not fake.submissions


@pytest.mark.parametrize(("answer", "sent"), [("y", 1), ("n", 0), ("", 0)])
def test_at_a_terminal_it_asks(shop, monkeypatch, answer, sent):
    root, fake = shop
    monkeypatch.setattr("kitsolve.cli._has_terminal", lambda: True)
    result = CliRunner().invoke(app, ["--root", str(root), "submit", "shades"], input=f"{answer}\n")
    assert "Spend a submission on it? [y/N]" in result.stderr
    assert result.exit_code == 1 - sent
    assert len(fake.submissions) == sent


SECRETS = ("KGAT_", "secret-upload", "secret-signature")


@pytest.mark.parametrize("call_name", ["GetCompetition", "StartSubmissionUpload", "upload", "CreateSubmission"])
@pytest.mark.parametrize("status", [None, 401, 403, 429, 500])
def test_no_secret_is_shown_whatever_breaks(shop, monkeypatch, call_name, status):
    root, fake = shop
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setenv("VERBOSE", "1")
    fake.faults[call_name].extend([None if status is None else (status, b"{}" if call_name == "upload" else {})] * 90)
    words = ["--debug", "--root", str(root), "submit", "shades", "--yes"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert not [secret for secret in SECRETS if secret in result.output]
    assert "Starting upload" not in result.stdout


def test_a_dry_run_prints_what_would_be_sent(shop):
    root, fake = shop
    text = call(root, "submit", "shades", "--dry-run").stdout
    for expected in ("submission.csv", " bytes", "5 submissions left today, 0 used", "nothing was sent (--dry-run)"):
        assert expected in text
    assert call_json(root, "submit", "shades", "--dry-run")["dry_run"] is True
    assert not fake.submissions


def test_a_rehearsal_that_fails_exits_with_1(monkeypatch, exported):
    failed = failed_rehearsal({"one thing": True, "another thing": False}, versions={"torch": "2.6.0"})
    monkeypatch.setattr("kitsolve.submission.rehearse.rehearse", lambda *_, **__: failed)
    result = call(exported.root, "rehearse", "shades")
    assert result.exit_code == 1
    assert "FAILED      another thing" in result.stdout
    assert f"torch 2.6.0 ({read_kaggle_image().versions['torch']})" in result.stdout


# ------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("words", "problem", "repair"),
    [
        (["fetch", "digit"], "there is no competition 'digit'", "digits"),
        (["train", "shades", "--recipe", "basline"], "there is no recipe 'basline'", "baseline"),
        (["train", "shades", "--set", "epoch=3"], "unknown key 'epoch'", "epochs"),
        (["train", "shades", "--set", "epochs"], "--set epochs has no value", "--set key=value"),
        (["train", "shades", "--set", "epochs=many"], "epochs = 'many'", "correct the value"),
        (["train", "shades", "--set", "augment=havy"], "augment = 'havy'", "correct the value"),
        (["train", "shades", "--set", "backbone=timm/resnet19"], "no backbone 'timm/resnet19'", "resnet18"),
        (["train", "shades", "--fold", "7"], "there is no fold 7", "0 to 1"),
        (["train", "shades", "--device", "cuda:77"], "device cuda:77 cannot be used", "--device cpu"),
        (["score", "shades"], "no finished run", "kitsolve train shades"),
        (["export", "shades", "nothing"], "no run 'nothing'", "kitsolve train shades"),
        (["rehearse", "shades"], "no bundle", "kitsolve export shades"),
        (["board", "shades"], "no runs", "kitsolve train shades"),
        (["models", "rsnet18"], "no backbone matches 'rsnet18'", "resnet18"),
    ],
)
def test_a_mistake_is_one_line_with_its_repair_and_exit_code_1(ready, words, problem, repair):
    result = call(ready, *words)
    assert result.exit_code == 1
    error, fix = result.stderr.splitlines()[-2:]
    assert error.startswith("error: ")
    assert problem in error
    assert fix.startswith("  fix: ")
    assert repair in fix
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("words", [["train"], ["trian", "shades"], ["train", "shades", "--gpus", "x"], ["run", "--no"]])
def test_a_wrong_command_line_exits_with_2(tmp_path, words):
    assert call(tmp_path, *words).exit_code == 2


def test_debug_shows_where_an_error_came_from(tmp_path):
    result = CliRunner().invoke(app, ["--debug", "--root", str(tmp_path), "fetch", "digit"])
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "workspace.py" in result.stderr


def test_ctrl_c_names_the_command_that_goes_on_and_exits_with_130(ready, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("kitsolve.training.fold.train_folds", interrupted)
    monkeypatch.setattr(sys, "argv", ["/somewhere/kitsolve", "train", "shades", "--force", "--set", "tta=hflip x"])
    result = call(ready, "train", "shades")
    assert result.exit_code == 130
    assert "go on with: kitsolve train shades --set 'tta=hflip x'" in result.stderr


# ------------------------------------------------------------------------------------------------ the program


def start(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "kitsolve.cli", *words],
        capture_output=True, text=True, check=False, timeout=60, cwd="/", env=os.environ | environment,
    )  # fmt: skip


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert start("--version").stdout == f"kitsolve {version('kitsolve')}\n"


def test_without_a_command_help_is_printed():
    assert "kitsolve run digits" in start().stdout + start().stderr


def test_every_command_has_help_for_itself_and_its_options():
    for command in app.registered_commands:
        assert command.callback.__doc__
        result = CliRunner().invoke(app, [command.callback.__name__, "--help"])
        assert result.exit_code == 0
        assert command.callback.__doc__.splitlines()[0].split()[0] in result.stdout


def test_the_root_can_come_from_the_environment(tmp_path):
    write_shades(tmp_path)
    done = start("runs", "shades", KITSOLVE_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "no runs yet" in done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell):
    done = start("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert f"complete_{shell}" in done.stdout


def test_ctrl_c_ends_a_rehearsal_and_its_notebook(exported, tmp_path):
    root = shutil.copytree(exported.root, tmp_path / "copy")
    shutil.rmtree(root / "workspace" / "rehearsals", ignore_errors=True)
    rehearsal = subprocess.Popen(
        [sys.executable, "-m", "kitsolve.cli", "--root", str(root), "rehearse", "shades"],
        cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    while not list(root.glob("workspace/rehearsals/shades/*/public/working/kitsolve_inference.py")):
        assert rehearsal.poll() is None
        time.sleep(0.05)
    rehearsal.send_signal(signal.SIGINT)
    output, _ = rehearsal.communicate(timeout=60)  # ends when the notebook's process has closed the pipe, too
    assert rehearsal.returncode == 130
    assert "interrupted; go on with: kitsolve" in output
    assert "Traceback" not in output


def test_the_board_prints_its_address_and_stops_at_ctrl_c(exported):
    board = subprocess.Popen(
        [sys.executable, "-m", "kitsolve.cli", "--root", str(exported.root), "board", "shades"],
        cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    line = board.stdout.readline()
    board.send_signal(signal.SIGINT)
    board.communicate(timeout=60)
    assert re.search(r"TensorBoard at http://127\.0\.0\.1:\d+/", line)
    assert board.returncode == 0


def test_the_doctor_names_the_user_and_the_kind_of_credential(fake, tmp_path):
    result = call(tmp_path, "doctor")
    assert result.exit_code == 0
    assert "kaggle      tester, by access token: works" in result.stdout
    assert fake.calls("ListCompetitions")
    assert call_json(tmp_path, "doctor")["account"] == {"username": "tester", "credential": "access token"}


def test_the_doctor_says_what_to_do_without_a_credential(fake, tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    result = call(tmp_path, "doctor")
    assert result.exit_code == 1
    assert "kaggle      there are no Kaggle credentials on this machine.\n  fix: make a token at" in result.stdout


def test_the_doctor_finds_a_key_that_kaggle_refuses(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "tester")
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    result = call(tmp_path, "doctor")
    assert result.exit_code == 1
    assert "kaggle      Kaggle refuses the key of kaggle.json (401)." in result.stdout
    assert "wrong" not in result.stdout


def test_the_program_is_installed_under_its_name():
    assert shutil.which("kitsolve", path=os.path.dirname(sys.executable)), "pip install . makes the command"
    assert callable(cli.main)


def test_an_error_has_a_problem_and_a_hint():
    error = KitsolveError("what is wrong", hint="what to do")
    assert (str(error), error.hint) == ("what is wrong", "what to do")


def test_blend_shows_runs_ways_and_the_choice_and_export_takes_it(trained, tmp_path):
    shutil.copytree(trained.root, tmp_path / "root")
    done = call(tmp_path / "root", "train", "shades", "--run", "other", "--set", "seed=7", "--device", "cpu")
    assert done.exit_code == 0
    result = call(tmp_path / "root", "blend", "shades", "first", "other", "--method", "weighted")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", "accuracy", "r1", "r2"]
    assert [line.split()[0] for line in lines if line[:4] in ("mean", "weig")] == ["mean", "weighted"]
    assert "chosen      weighted: " in result.stdout
    exported = call(tmp_path / "root", "export", "shades", "first", "other", "--json")
    bundle = json.loads((Path(json.loads(exported.stdout)["bundle"]) / "bundle.json").read_text())
    assert bundle["blend"]["method"] == "weighted"
    one = call(tmp_path / "root", "blend", "shades", "first")
    assert one.exit_code == 1
    assert "a blend needs two runs" in one.stderr
