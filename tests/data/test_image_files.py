import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kitsolve.config import Rows
from kitsolve.data.image_files import describe_unused, find_unused_images
from kitsolve.data.table import read_train_rows
from kitsolve.inference.filetree import IMAGE_SUFFIXES

TREES = st.dictionaries(
    st.sampled_from(["train", "train/cat", "train/dog", "test", "other", ""]),
    st.dictionaries(
        st.sampled_from(["a", "b", "ä", "._a", ".b"]), st.sampled_from([*IMAGE_SUFFIXES, ".txt", ".db", ".JPG"])
    ),
)


def make(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


@given(tree=TREES, choice=st.data())
def test_every_image_beside_a_used_one_is_used_or_named(tree, choice, tmp_path_factory):
    root = tmp_path_factory.mktemp("tree")
    files = [os.path.join(folder, name + suffix) for folder, names in tree.items() for name, suffix in names.items()]
    make(root, *files)
    images = [path for path in files if path.lower().endswith(IMAGE_SUFFIXES)]
    used = choice.draw(st.lists(st.sampled_from(images), unique=True)) if images else []
    unused = find_unused_images(root, used)
    assert not set(unused) & set(used)
    assert set(unused) <= set(images)
    beside = {path for path in images if os.path.dirname(path) in {os.path.dirname(path) for path in used}}
    visible = {path for path in beside if not os.path.basename(path).startswith(".")}
    assert visible <= {*used, *unused}
    assert not any(os.path.basename(path).startswith(".") for path in unused)


def test_suffixes_that_the_rows_leave_out_are_named(tmp_path):
    make(tmp_path, "train/a.jpg", "train/b.jfif", "train/c.JPG", "train/Thumbs.db", "train/._a.jpg", "train/d.avif")
    assert find_unused_images(tmp_path, ["train/a.jpg"]) == ["train/b.jfif", "train/c.JPG", "train/d.avif"]


def test_a_class_folder_of_which_no_row_uses_an_image_is_named(tmp_path):
    make(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "train/eel/1.jfif", "train/masks/1.png", "test/1.jpg")
    assert find_unused_images(tmp_path, ["train/cat/1.jpg", "train/dog/1.jpg"]) == ["train/eel/1.jfif"]


def test_other_splits_and_test_images_beyond_the_sample_are_no_unused_ones(tmp_path):
    make(tmp_path, "train/1.jpg", "test/1.jpg", "test/2.jpg", "masks/1.png", "data/test/a/1.png", "data/train/a/1.png")
    assert find_unused_images(tmp_path, ["train/1.jpg"], test_paths=["test/1.jpg"]) == []
    make(tmp_path, "train/hidden.jpg")
    assert find_unused_images(tmp_path, ["train/1.jpg"], test_paths=["train/hidden.jpg"]) == []


def test_a_path_may_be_spelt_otherwise_than_the_listing(tmp_path):
    make(tmp_path, "train/a.jpg", "train/b.jpg", "b.png")
    assert find_unused_images(tmp_path, ["./train/../train//a.jpg", "train\\b.jpg", "./b.png"]) == []


@pytest.mark.parametrize("count", [1, 3])
def test_the_sentence_counts_the_suffixes_and_names_the_first(count):
    said = describe_unused([f"train/{number}.jfif" for number in range(count)])
    assert said.startswith(f"{count} image files")
    assert f"({count} .jfif), first: train/0.jfif" in said


def test_rows_of_any_suffix_are_images_alone(tmp_path):
    make(tmp_path, "train/cat/a.jpg", "train/cat/Thumbs.db", "train/dog/b.JFIF", "train/dog/desktop.ini")
    rows = read_train_rows(tmp_path, Rows(glob="train/*/*"), slug="pets")
    assert rows.path.tolist() == ["train/cat/a.jpg", "train/dog/b.JFIF"]
    make(tmp_path, "odd/a.one", "odd/b.two")
    assert len(read_train_rows(tmp_path, Rows(glob="odd/*"), slug="pets")) == 2
