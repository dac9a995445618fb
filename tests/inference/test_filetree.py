import os
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kitsolve.inference.filetree import IMAGE_SUFFIXES, FileTree, resolve_images

# Letters with marks, Hangul, a sign that both forms spell in another way; no slash, no line end.
LETTERS = st.sampled_from("abcXYZ012 _-.*éÄñçåø가힣Åﬁ日")
NAMES = st.text(LETTERS, min_size=1, max_size=8).filter(lambda name: name.strip(" ./") != "")
FORMS = st.sampled_from(["NFC", "NFD"])
SUFFIXES = st.sampled_from([*IMAGE_SUFFIXES, *map(str.upper, IMAGE_SUFFIXES), ".Jpg"])


def tree_of(*paths):
    """A tree that holds these files."""

    def list_names(folder):
        start = f"{folder}/" if folder else ""
        return {path.removeprefix(start).partition("/")[0] for path in paths if path.startswith(start)}

    return FileTree(list_names)


def spell(text, form):
    return unicodedata.normalize(form, text)


def composed(paths):
    """The paths as they look, whatever their suffix."""
    return {os.path.splitext(spell(path, "NFC"))[0] for path in paths}


@given(folders=st.lists(NAMES, max_size=2), stem=NAMES, suffix=SUFFIXES, disk=FORMS, table=FORMS, data=st.data())
def test_a_file_is_found_in_any_unicode_form_and_case_of_its_suffix(folders, stem, suffix, disk, table, data):
    path = "/".join([*folders, stem]) + suffix
    there = spell(path, disk)
    others = [f"x{number}{suffix}" for number in range(3)]
    written = spell("/".join([*folders, stem]), table) + data.draw(st.sampled_from([suffix, suffix.lower()]))
    assert tree_of(there, *others).resolve(written) == there


@given(stems=st.lists(NAMES, min_size=1, max_size=5), disk=FORMS, table=FORMS, data=st.data())
def test_any_suffix_finds_the_one_image_of_a_stem(stems, disk, table, data):
    stems = list(dict.fromkeys(spell(stem, "NFC") for stem in stems))
    files = [f"train/{spell(stem, disk)}{data.draw(SUFFIXES)}" for stem in stems]
    assume(len(composed(files)) == len(files))
    beside = [f"train/{spell(stem, disk)}.txt" for stem in stems]
    tree = tree_of(*files, *beside)
    assert [tree.resolve(f"train/{spell(stem, table)}.*") for stem in stems] == files


@given(st.lists(NAMES, min_size=1, max_size=6, unique=True), st.integers(0, 5))
@example(["a.jpg", "a.JPG"], 1)
@example(["é", "é"], 0)
@example(["a.*", "a.jpg"], 0)
def test_a_file_that_is_there_by_its_very_name_is_taken_whatever_else_there_is(names, which):
    wanted = names[which % len(names)]
    assert tree_of(*names).resolve(wanted) == wanted


@pytest.mark.parametrize(
    ("files", "written", "found"),
    [
        (["a.jpg", "a.png"], "a.*", ["a.jpg", "a.png"]),
        (["a.jpg", "a.txt", "a.json", "b.png"], "a.*", ["a.jpg"]),
        (["a.jpg"], "b.*", []),
        (["a.b.jpg", "a.png"], "a.b.*", ["a.b.jpg"]),
        (["a.JPG", "a.jpG"], "a.jpg", ["a.JPG", "a.jpG"]),
        (["A.jpg"], "a.jpg", []),
        (["Train/a.jpg"], "train/a.jpg", []),
        (["train/a.jpg"], "train\\a.jpg", ["train/a.jpg"]),
        (["train/a.jpg"], ".\\train\\a.*", ["train/a.jpg"]),
        (["train\\a.jpg", "train/a.jpg"], "train\\a.jpg", ["train\\a.jpg"]),
        (["train/a.jpg"], "./train//./a.jpg", ["train/a.jpg"]),
        (["train/a.jpg"], "train/", []),
        (["train/a.jpg"], "../train/a.jpg", []),
        (["train/a.jpg"], "", []),
        ([".jpg"], ".*", []),
    ],
)
def test_which_files_a_path_may_mean(files, written, found):
    assert tree_of(*files).find(written) == found


def test_a_folder_is_listed_once():
    asked = []

    def list_names(folder):
        asked.append(folder)
        return ["train"] if folder == "" else [f"{number}.JPG" for number in range(100)]

    tree = FileTree(list_names)
    assert [tree.resolve(f"train/{number}.jpg") for number in range(100)] == [f"train/{n}.JPG" for n in range(100)]
    assert sorted(asked) == ["", "train"]


def test_files_of_a_disk_are_resolved_and_those_that_are_missing_stay_as_written(tmp_path):
    folder = tmp_path / spell("café", "NFD")
    folder.mkdir()
    (folder / "a.JPEG").touch()
    assert resolve_images(tmp_path, ["café/a.*", "café/b.*", "else/c.png"]) == [
        f"{spell('café', 'NFD')}/a.JPEG",
        "café/b.*",
        "else/c.png",
    ]
