import pytest
import torch
from tiny import spec_of, trained_norms
from torch import nn

from kitsolve.inference.bundle import TTA, TURNED
from kitsolve.inference.members import VIEWS, fold_batch_norms
from kitsolve.inference.models import build_model


@pytest.mark.parametrize("tta", TTA)
def test_the_views_of_a_tta_are_all_different_keep_every_pixel_and_begin_with_the_image_itself(tta):
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen = [tuple(VIEWS[view](image).flatten().tolist()) for view in TTA[tta]]
    assert len(set(seen)) == len(seen)
    assert all(sorted(view) == sorted(seen[0]) for view in seen)
    assert seen[0] == tuple(image.flatten().tolist())


INVERSE = {"rot90": "rot270", "rot270": "rot90"}


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_undone_by_itself_or_by_its_inverse(view):
    images = torch.arange(2.0 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    assert torch.equal(VIEWS[INVERSE.get(view, view)](VIEWS[view](images)), images)


@pytest.mark.parametrize("view", VIEWS)
def test_only_the_turned_views_exchange_height_and_width(view):
    assert (VIEWS[view](torch.zeros(1, 1, 4, 6)).shape[-2:] == (6, 4)) is (view in TURNED)


def test_turns_are_counter_clockwise():
    image = torch.arange(12.0).reshape(1, 1, 3, 4)
    for turns, view in enumerate(("identity", "rot90", "rot180", "rot270")):
        assert torch.equal(VIEWS[view](image), image.rot90(turns, (-2, -1)))


@pytest.mark.parametrize(
    ("backbone", "left"),
    [("timm/test_resnet", 0), ("timm/mobilenetv3_small_050", 0), ("torchvision/resnet18", 0), ("timm/test_vit", 0),
     ("torchvision/densenet121", 62), ("timm/test_efficientnet", 0)],
)  # fmt: skip
def test_folding_batch_norms_into_convolutions_changes_only_the_rounding(backbone, left):
    spec = spec_of(backbone, num_features=2)
    model = trained_norms(build_model(spec.architecture, image_size=(64, 64)))
    images, beside = torch.rand(4, 3, 64, 64), torch.rand(4, 2)
    before = model(images, beside)
    folded = fold_batch_norms(model, spec)
    torch.testing.assert_close(folded(images, beside), before, atol=1e-4, rtol=1e-4)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in folded.modules()) == left


class TwiceUsed(nn.Module):
    """A convolution whose output goes around its BatchNorm as well."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

    def forward(self, images):
        maps = self.conv(images)
        return (maps + self.norm(maps)).mean((2, 3))


def test_a_model_that_would_change_stays_as_it_was():
    model = trained_norms(TwiceUsed())
    before = model(torch.ones(1, 3, 64, 64))
    folded = fold_batch_norms(model, spec_of("timm/test_resnet"))
    torch.testing.assert_close(folded(torch.ones(1, 3, 64, 64)), before)
