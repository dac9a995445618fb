from datetime import date

import pytest
import timm

from kitsolve.errors import KitsolveError
from kitsolve.submission.kaggle_image import check_backbones, read_kaggle_image

IMAGE = read_kaggle_image()


def test_the_record_has_a_date_and_the_versions_that_the_notebook_needs():
    assert date(2026, 1, 1) <= date.fromisoformat(IMAGE.date)
    needed = {"python", "torch", "torchvision", "timm", "numpy", "pandas", "cv2", "PIL", "safetensors"}
    assert needed <= set(IMAGE.versions)
    assert len(IMAGE.timm_models) > 1000


def test_what_kaggles_timm_knows_todays_timm_still_knows():
    assert all(timm.is_model(name) for name in IMAGE.timm_models)


@pytest.mark.parametrize("backbone", ["timm/resnet18.a1_in1k", "resnet18.a_tag_of_tomorrow", "torchvision/resnet18"])
def test_what_kaggle_has_passes_whatever_its_weights_are_called(backbone):
    check_backbones([backbone], IMAGE, slug="shades")


def test_what_kaggle_has_not_is_refused_with_the_way_out_and_the_nearest_names():
    with pytest.raises(KitsolveError, match=r"Kaggle's timm 1.0.26 .* has no cspnext_s") as caught:
        check_backbones(["timm/resnet18", "timm/cspnext_s.some_tag"], IMAGE, slug="shades")
    assert "kitsolve export shades --attach-timm" in caught.value.hint
    assert "such as cs" in caught.value.hint
