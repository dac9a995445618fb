import pytest
from conftest import write_image

from kitsolve.data.images import SHOWN, check_images
from kitsolve.errors import KitsolveError


def test_images_that_can_be_read_pass(tmp_path):
    write_image(tmp_path / "a.png", "dark", seed=0)
    check_images(tmp_path, ["a.png"], slug="shades")


def test_all_broken_images_are_listed_in_one_error(tmp_path):
    write_image(tmp_path / "good.png", "dark", seed=0)
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(KitsolveError) as caught:
        check_images(tmp_path, ["good.png", "cut.png", "empty.png", "text.png", "missing.png"], slug="shades")
    problem = caught.value.problem
    assert problem.startswith("4 of 5 images")
    for name in ("cut.png", "empty.png", "text.png", "missing.png"):
        assert name in problem
    assert "kitsolve fetch shades --force" in caught.value.hint


def test_a_long_list_is_cut_and_counted(tmp_path):
    with pytest.raises(KitsolveError, match="and 5 more") as caught:
        check_images(tmp_path, [f"{number}.png" for number in range(SHOWN + 5)], slug="shades")
    assert caught.value.problem.count(".png") == SHOWN
