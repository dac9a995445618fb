import pytest

from kitsolve.data.missing import explain_missing
from kitsolve.inference.filetree import FileTree, folder_lister


@pytest.mark.parametrize(
    ("files", "path", "said"),
    [
        (["train/a.jpg"], "train/a.jpg", ""),
        (["train/a.png"], "train/a.jpg", "a.png is there: a template that ends in .* takes any suffix of an image."),
        (["train/a.png"], "train/a", "a.png is there: a template that ends in .* takes any suffix of an image."),
        (["train/a.png", "train/a.jpg"], "train/a.*", "several files are meant: train/a.jpg, train/a.png:"),
        (["train/A.jpg"], "train/a.jpg", "the nearest file there is A.jpg."),
        (["train/img_0012.jpg"], "train/0012.jpg", "the nearest file there is img_0012.jpg."),
        (["train/a.txt"], "train/a.*", "the nearest file there is a.txt."),
        (["train/a.jpg"], "train/zzzzzzzzzzzz.jpg", "no file there has a name like it."),
        (["train_images/a.jpg"], "train/a.jpg", "there is no folder train; the nearest is train_images."),
        (["x/Train/a.jpg"], "x/train/b/a.jpg", "there is no folder train in x/; the nearest is Train."),
        (["a.jpg"], "../a.jpg", "it lies outside of the raw folder."),
        (["a.jpg"], "/nowhere/a.jpg", "it lies outside of the raw folder."),
    ],
)
def test_what_is_there_in_the_place_of_a_missing_image(tmp_path, files, path, said):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = explain_missing(FileTree(folder_lister(tmp_path)), path)
    assert found.startswith(said)
    assert bool(found) == bool(said)
