"""A code competition: weights, notebook and submission, each sent once and checked before the next."""

import shutil

import pandas as pd
import pytest
from conftest import failed_rehearsal, submit_and_kill
from fake_kaggle import error

from kitsolve.errors import KitsolveError
from kitsolve.submission.bundle import find_bundle
from kitsolve.submission.ledger import read_ledger
from kitsolve.submission.notebook import kaggle_slug
from kitsolve.submission.submit import Wishes, describe_plan, plan_submit, submit
from kitsolve.workspace import Workspace, read_csv


@pytest.fixture
def shop(rehearsed, tmp_path, fake):
    """A workspace of the code competition `shades` with a rehearsed bundle, and a Kaggle that runs notebooks well."""
    shutil.copytree(rehearsed.root, tmp_path / "root")
    workspace = Workspace(tmp_path / "root")
    fake.kernel_files["submission.csv"] = workspace.submission("shades", "first").read_bytes()
    return workspace, fake


def hand_in(workspace, **wishes):
    return submit(workspace, find_bundle(workspace, "shades"), Wishes(**wishes), confirm=lambda plan: None)


def slug_of(workspace):
    return kaggle_slug(find_bundle(workspace, "shades"))


def counts(fake):
    """How often each thing was carried out: dataset versions, notebook versions, submissions."""
    return [sum(map(len, things.values())) for things in (fake.datasets, fake.kernels)] + [len(fake.submissions)]


def test_weights_notebook_and_submission_one_after_the_other(shop):
    workspace, fake = shop
    done = hand_in(workspace)
    assert (done.ref, done.public_score) == ("1000", 0.875)
    assert counts(fake) == [1, 1, 1]
    slug = slug_of(workspace)
    weights = workspace.bundle("shades", "first")
    sizes = {path.name: path.stat().st_size for path in weights.iterdir() if path.name != "dataset-metadata.json"}
    assert fake.datasets[slug] == [sizes]
    (sent,) = fake.calls("CreateDataset")
    assert (sent["ownerSlug"], sent["slug"], sent["isPrivate"]) == ("tester", slug, True)
    (entry,) = read_ledger(workspace.ledger("shades"))
    assert (entry.kind, entry.dataset, entry.kernel) == ("notebook", f"tester/{slug}/1", f"tester/{slug}/1")
    assert (entry.status, entry.public_score, entry.cv) == ("complete", 0.875, done.cv["pooled"])


def test_the_notebook_is_private_offline_on_two_t4_with_its_sources(shop):
    workspace, fake = shop
    hand_in(workspace)
    (sent,) = fake.calls("SaveKernel")
    slug = slug_of(workspace)
    assert sent["slug"] == f"tester/{slug}"
    assert sent["newTitle"].replace(" ", "-") == slug
    assert (sent["isPrivate"], sent["enableInternet"], sent["machineShape"]) == (True, False, "NvidiaTeslaT4")
    assert (sent["datasetDataSources"], sent["competitionDataSources"]) == ([f"tester/{slug}"], ["shades"])
    assert '"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}' in sent["text"]
    (code,) = fake.calls("CreateCodeSubmission")
    assert (code["kernelOwner"], code["kernelSlug"], code["kernelVersion"]) == ("tester", slug, 1)
    assert (code["fileName"], code["competitionName"]) == ("submission.csv", "shades")


def test_the_machine_is_a_fact_of_the_competition(shop):
    workspace, fake = shop
    facts = workspace.competition("shades") / "competition.toml"
    facts.write_text(facts.read_text() + 'machine_shape = "NvidiaL4"\n')
    hand_in(workspace)
    assert fake.calls("SaveKernel")[0]["machineShape"] == "NvidiaL4"


def test_it_waits_for_the_dataset_and_for_the_run(shop):
    workspace, fake = shop
    fake.dataset_statuses.extend(["READY", "BLOBS_RECEIVED", "INDIVIDUAL_BLOBS_COMPRESSED"])
    fake.faults["GetDataset"].extend([(403, {})] * 3)  # before, and for a moment after it was created
    fake.kernel_statuses.extend([404, "QUEUED", "RUNNING"])
    hand_in(workspace)
    order = [call for call, _ in fake.log]
    assert order.index("SaveKernel") > max(at for at, call in enumerate(order) if call == "GetDatasetStatus")
    assert len(fake.calls("GetKernelSessionStatus")) == 4
    assert counts(fake) == [1, 1, 1]


def test_a_dry_run_shows_files_metadata_and_allowance_and_sends_nothing(shop):
    workspace, fake = shop
    shown = describe_plan(plan_submit(workspace, find_bundle(workspace, "shades"), Wishes()))
    names = {name.rpartition("/")[2] for name in shown["files"]}
    assert names == {
        "bundle.json",
        "kitsolve_inference.py",
        "first-fold_0.safetensors",
        "first-fold_1.safetensors",
        "shades.ipynb",
    }
    assert shown["kernel-metadata.json"]["enable_internet"] is False
    assert shown["dataset-metadata.json"]["id"] == f"tester/{slug_of(workspace)}"
    assert {call for call, _ in fake.log} == {"IntrospectToken", "GetCompetition", "GetSubmissionLimits"}


def test_only_a_bundle_that_was_rehearsed_is_sent(shop, monkeypatch):
    workspace, fake = shop
    rehearsed = []

    def fail(*_):
        rehearsed.append(1)
        return failed_rehearsal({"it predicts the same": False})

    monkeypatch.setattr("kitsolve.submission.rehearse.rehearse", fail)
    hand_in(workspace)
    assert not rehearsed, "the rehearsal that was passed counts"
    path = workspace.bundle("shades", "first") / "bundle.json"
    path.write_text(path.read_text().replace('"batch_size": 32', '"batch_size": 4'))
    with pytest.raises(KitsolveError, match="the rehearsal failed: not true that it predicts the same"):
        hand_in(workspace)
    assert counts(fake) == [1, 1, 1]


# What goes wrong at Kaggle


def test_a_file_whose_upload_fails_is_uploaded_before_the_notebook_runs(shop):
    workspace, fake = shop
    fake.faults["upload"].append((400, b"<Error>no</Error>"))
    hand_in(workspace)
    assert len(fake.datasets[slug_of(workspace)][-1]) == 4
    assert counts(fake)[1:] == [1, 1]


def test_a_file_that_never_arrives_stops_the_submit(shop, monkeypatch):
    workspace, fake = shop
    whole = fake.uploaded
    monkeypatch.setattr(fake, "uploaded", lambda files: dict(list(whole(files).items())[1:]))
    with pytest.raises(KitsolveError, match="lacks 1 of 4 files after two uploads"):
        hand_in(workspace)
    assert not fake.kernels
    monkeypatch.undo()


def test_a_dataset_that_kaggle_refuses_is_said(shop):
    workspace, fake = shop
    fake.faults["CreateDataset"].append((200, {"status": "error", "error": "You have no space left"}))
    with pytest.raises(KitsolveError, match="You have no space left"):
        hand_in(workspace)
    assert not fake.kernels


def test_a_dataset_that_cannot_be_prepared_stops_the_submit(shop):
    workspace, fake = shop
    fake.dataset_statuses.extend(["BLOBS_RECEIVED", "FAILED"])
    with pytest.raises(KitsolveError, match="could not be prepared"):
        hand_in(workspace)
    assert not fake.kernels


def test_a_run_that_fails_shows_the_end_of_its_log_and_is_pushed_anew(shop):
    workspace, fake = shop
    fake.kernel_statuses.append("ERROR")
    fake.kernel_log = "\n".join(f"line {number}" for number in range(30))
    with pytest.raises(KitsolveError, match="ended with status error") as caught:
        hand_in(workspace)
    assert "| line 29" in str(caught.value)
    assert "| line 9\n" not in str(caught.value)
    assert not fake.submissions
    hand_in(workspace)
    assert counts(fake) == [1, 2, 1]
    assert fake.calls("CreateCodeSubmission")[0]["kernelVersion"] == 2


def test_sources_that_kaggle_does_not_know_stop_the_submit_and_are_pushed_anew(shop):
    workspace, fake = shop
    fake.push_answer = {"invalidDatasetSources": ["tester/nothing"]}
    with pytest.raises(KitsolveError, match="does not know tester/nothing"):
        hand_in(workspace)
    assert not fake.submissions
    fake.push_answer = {}
    hand_in(workspace)
    assert fake.calls("CreateCodeSubmission")[0]["kernelVersion"] == 2


def test_a_push_that_kaggle_refuses_is_said(shop):
    workspace, fake = shop
    fake.push_answer = {"error": "Notebook not found"}
    with pytest.raises(KitsolveError, match="Notebook not found"):
        hand_in(workspace)
    assert counts(fake) == [1, 0, 0]


def test_it_waits_for_a_gpu_session(shop):
    workspace, fake = shop
    busy = (200, {"error": "Maximum batch GPU session count of 2 reached."})
    fake.faults["SaveKernel"].extend([busy, busy])
    hand_in(workspace)
    assert len(fake.calls("SaveKernel")) == 3
    assert counts(fake) == [1, 1, 1]


def test_another_prediction_than_ours_is_not_submitted(shop):
    workspace, fake = shop
    ours = read_csv(workspace.submission("shades", "first"))
    other = ours.assign(shade=["grey" if shade != "grey" else "dark" for shade in ours.shade])
    fake.kernel_files["submission.csv"] = other.to_csv(index=False).encode()
    with pytest.raises(KitsolveError, match=r"7 of 7 rows differ, first: id 't000'"):
        hand_in(workspace)
    fake.kernel_files["submission.csv"] = ours[:3].to_csv(index=False).encode()
    with pytest.raises(KitsolveError, match="lacks 4 of 7 ids"):
        hand_in(workspace)
    assert not fake.submissions
    fake.kernel_files["submission.csv"] = ours[::-1].to_csv(index=False).encode()
    assert hand_in(workspace).ref == "1000", "the order of rows is free"
    assert counts(fake) == [1, 1, 1]


def test_a_run_without_a_submission_is_said(shop):
    workspace, fake = shop
    fake.kernel_files.clear()
    with pytest.raises(KitsolveError, match=r"wrote no submission\.csv"):
        hand_in(workspace)


def test_the_allowance_is_asked_again_after_the_run(shop):
    workspace, fake = shop
    fake.arrivals["SaveKernel"].append(lambda: setattr(fake, "left", 0))  # a team mate was faster
    with pytest.raises(KitsolveError, match="used up"):
        hand_in(workspace)
    assert counts(fake) == [1, 1, 0]
    fake.left = 5
    hand_in(workspace)
    assert counts(fake) == [1, 1, 1]


def test_forced_again_it_runs_a_new_version_with_the_weights_that_are_there(shop):
    workspace, fake = shop
    hand_in(workspace)
    with pytest.raises(KitsolveError, match="the same was submitted"):
        hand_in(workspace)
    hand_in(workspace, force=True)
    assert counts(fake) == [1, 2, 2]


def test_a_file_is_no_submission_to_a_code_competition(shop, tmp_path):
    with pytest.raises(KitsolveError, match="takes a notebook, not a file"):
        hand_in(shop[0], file=tmp_path / "submission.csv")


# Lost answers and kills

SPENDING = ["CreateDataset", "SaveKernel", "CreateCodeSubmission"]


@pytest.mark.parametrize("call", SPENDING)
def test_a_lost_answer_is_looked_up_and_not_repeated(shop, call):
    workspace, fake = shop
    fake.after[call].append(None)
    assert hand_in(workspace).public_score == 0.875
    assert counts(fake) == [1, 1, 1]
    assert len(fake.calls(call)) == 1


@pytest.mark.parametrize("call", ["StartBlobUpload", *SPENDING])
def test_a_fault_that_passes_is_waited_for(shop, call):
    workspace, fake = shop
    fake.faults[call].extend([(500, error(500, "broken", "X")), None, (429, error(429, "slow", "X"))])
    assert hand_in(workspace).public_score == 0.875
    assert counts(fake) == [1, 1, 1]


STAGES = [("arrivals", call) for call in ("StartBlobUpload", "upload", "GetDatasetStatus", "output", *SPENDING)]
STAGES += [("after", call) for call in ("StartBlobUpload", "ListDatasetFiles", "GetKernelSessionStatus", *SPENDING)]
STAGES += [("after", "ListSubmissions")]


@pytest.mark.parametrize(("when", "call"), STAGES)
def test_a_submit_that_is_killed_anywhere_sends_everything_once(shop, when, call):
    workspace, fake = shop
    submit_and_kill(workspace, fake, call, when)
    assert hand_in(workspace).public_score == 0.875
    assert counts(fake) == [1, 1, 1]
    assert [entry.status for entry in read_ledger(workspace.ledger("shades"))] == ["complete"]


def test_what_was_uploaded_before_the_kill_is_not_uploaded_again(shop):
    workspace, fake = shop
    submit_and_kill(workspace, fake, "CreateDataset", "arrivals")
    uploads = len(fake.calls("upload"))
    hand_in(workspace)
    assert len(fake.calls("StartBlobUpload")) == 4
    assert uploads == 4


def test_the_predictions_compared_are_those_of_the_public_test_set(shop):
    workspace, fake = shop
    hand_in(workspace)
    (folder,) = [path for path in workspace.sending("shades").iterdir() if path.is_dir()]
    pd.testing.assert_frame_equal(
        read_csv(folder / "submission.csv"), read_csv(workspace.submission("shades", "first"))
    )
