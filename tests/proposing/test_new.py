from pathlib import Path

import pytest
from fake_kaggle import zipped
from layouts import NAMES, WHOLE, table_layout

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError
from kitsolve.proposing.new import ask_kaggle, new_competition
from kitsolve.workspace import Workspace, catalogue

KNOWN = "cassava-leaf-disease-classification"


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path / "root")


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    table_layout("whole", WHOLE).write(folder)
    return folder


def test_a_competition_of_the_catalogue_is_copied(workspace):
    made = new_competition(workspace, KNOWN)
    assert made.folder == workspace.root / "competitions" / KNOWN
    assert made.proposal is None
    for path in (catalogue() / KNOWN).rglob("*.*"):
        if "__pycache__" not in path.parts:
            assert (made.folder / path.relative_to(catalogue() / KNOWN)).read_bytes() == path.read_bytes()


def test_another_one_is_proposed_from_a_folder(workspace, files):
    made = new_competition(workspace, "cats-of-mars", source=files)
    competition = read_competition(workspace, "cats-of-mars")
    assert (competition.title, competition.train.target) == ("Cats Of Mars", "target")
    assert "submission.kind" in {f"{fact.table}.{fact.key}" for fact in made.proposal.unsure}


def test_the_readme_has_the_link_what_was_found_and_what_to_decide(workspace, files):
    text = (new_competition(workspace, "cats-of-mars", source=files).folder / "README.md").read_text()
    assert text.startswith("# Cats Of Mars\n\n<https://www.kaggle.com/c/cats-of-mars>\n")
    assert "- train rows: 60, with 60 images" in text
    assert '- `submission.kind`: "probability", "label"' in text


def test_without_a_folder_the_raw_files_of_the_workspace_are_read(workspace):
    raw = workspace.raw("birds")
    raw.mkdir(parents=True)
    table_layout("names", NAMES).write(raw)
    assert new_competition(workspace, "birds").proposal is not None


def test_a_folder_that_is_there_is_not_overwritten(workspace, files):
    new_competition(workspace, "birds", source=files)
    with pytest.raises(KitsolveError, match="there already") as caught:
        new_competition(workspace, "birds", source=files)
    assert "--force" in caught.value.hint


def test_force_writes_the_facts_anew_and_keeps_the_rest(workspace, files):
    folder = new_competition(workspace, "birds", source=files).folder
    (folder / "competition.toml").write_text("broken")
    (folder / "README.md").write_text("my notes")
    new_competition(workspace, "birds", source=files, force=True)
    assert read_competition(workspace, "birds").slug == "birds"
    assert (folder / "README.md").read_text() == "my notes"


def test_force_on_a_copy_of_the_catalogue_copies_it_again(workspace):
    folder = new_competition(workspace, KNOWN).folder
    (folder / "competition.toml").write_text("broken")
    new_competition(workspace, KNOWN, force=True)
    assert read_competition(workspace, KNOWN).slug == KNOWN


def test_the_catalogue_itself_is_never_overwritten():
    workspace = Workspace(catalogue().parent)
    before = (catalogue() / KNOWN / "competition.toml").read_bytes()
    with pytest.raises(KitsolveError, match="catalogue's own"):
        new_competition(workspace, KNOWN, force=True)
    assert (catalogue() / KNOWN / "competition.toml").read_bytes() == before


def test_without_files_and_without_kaggle_the_error_says_how_to_name_them(workspace, fake, monkeypatch):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    with pytest.raises(KitsolveError, match="no Kaggle credentials") as caught:
        new_competition(workspace, "birds")
    assert "--from DIR" in caught.value.hint
    assert not (workspace.root / "competitions").exists()


def pack_files(files):
    members = {path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    return zipped(members), [(name, len(value)) for name, value in members.items()]


def test_an_archive_is_unpacked_to_where_fetch_finds_it(workspace, files, tmp_path):
    (tmp_path / "birds.zip").write_bytes(pack_files(files)[0])
    made = new_competition(workspace, "birds", source=tmp_path / "birds.zip")
    assert not made.proposal.problems
    assert workspace.raw("birds").is_dir()


def test_what_is_not_on_this_disk_is_downloaded(workspace, files, fake):
    fake.archive, fake.files["birds"] = pack_files(files)
    assert not new_competition(workspace, "birds").proposal.problems
    assert fake.calls("DownloadDataFiles")


def fact_of(made, key):
    (fact,) = [fact for fact in made.proposal.facts if fact.key == key]
    return fact


@pytest.mark.parametrize(("only", "way"), [(True, "notebook"), (False, "csv")])
def test_kaggle_tells_the_metric_and_the_way_of_submission(fake, files, workspace, only, way):
    fake.pages = {"evaluation": "Submissions are evaluated on the quadratic weighted kappa."}
    fake.terms["isKernelsSubmissionsOnly"] = only
    made = new_competition(workspace, "birds", source=files, known=ask_kaggle("birds"))
    assert fact_of(made, "metric").value == "qwk"
    assert (fact_of(made, "via").value, fact_of(made, "via").choices) == (way, ())


def test_without_kaggle_it_is_said_and_the_way_is_unsure(fake, files, workspace, monkeypatch, capsys):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    made = new_competition(workspace, "birds", source=files, known=ask_kaggle("birds"))
    assert fact_of(made, "via").choices
    assert "the metric is a guess: there are no Kaggle credentials" in capsys.readouterr().err


@pytest.mark.parametrize("slug", ["", "../birds", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_competition_makes_no_folder(slug, workspace, files):
    with pytest.raises(KitsolveError, match="no competition's name"):
        new_competition(workspace, slug, source=files)
    assert not Path(workspace.root).exists()
