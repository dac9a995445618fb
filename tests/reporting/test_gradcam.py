import numpy as np
import pytest
import torch
from torch import nn

from kitsolve.inference.bundle import Architecture
from kitsolve.inference.models import build_model
from kitsolve.reporting.gradcam import explain, overlay, to_maps

RED, BLUE = 0, 1


class Colours(nn.Module):
    """The logits are the mean red and the mean blue of the image."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, 1, bias=False)
        self.maps.weight.data = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])[..., None, None]

    def forward(self, images):
        return self.maps(images).mean(dim=(2, 3))


def coloured_corners():
    """Red at the upper left, blue at the lower right."""
    image = torch.zeros(1, 3, 16, 16)
    image[:, 0, :4, :4] = 1
    image[:, 2, 12:, 12:] = 1
    return image


def build(backbone, size, **settings):
    torch.manual_seed(0)
    return build_model(Architecture(backbone, 5, **settings), image_size=(size, size)).eval()


def test_what_makes_a_logit_large_is_hot():
    heat = explain(Colours(), coloured_corners(), output=RED)
    assert heat[:3, :3].min() > 0.9
    assert heat[6:, 6:].max() == 0
    heat = explain(Colours(), coloured_corners(), output=BLUE)
    assert heat[13:, 13:].min() > 0.9
    assert heat[:8, :8].max() == 0


def test_what_speaks_against_a_logit_is_cut_off_unless_it_is_asked_for():
    image = -coloured_corners()
    assert explain(Colours(), image, output=RED).max() == 0
    for asked in ({"output": RED, "sign": -1}, {"output": None}):
        assert explain(Colours(), image, **asked)[:3, :3].min() > 0.9


@pytest.mark.parametrize(
    "backbone",
    ["timm/test_resnet", "timm/test_convnext", "timm/test_vit", "timm/test_efficientnet", "torchvision/squeezenet1_1"],
)
def test_convolutions_and_transformers_can_be_asked(backbone):
    size = 160 if "vit" in backbone else 96
    model = build(backbone, size)
    heats = [explain(model, torch.randn(1, 3, size, size), output=output) for output in range(5)]
    assert {heat.shape for heat in heats} == {(size, size)}
    assert all(0 <= heat.min() <= heat.max() <= 1 for heat in heats)
    assert any(heat.max() > 0.5 for heat in heats)


def test_pooling_of_ones_own_numbers_beside_the_image_and_oblong_images_are_no_hindrance():
    model = build_model(Architecture("timm/test_resnet", 5, num_features=2, pool="gem"), image_size=(96, 160)).eval()
    assert explain(model, torch.randn(1, 3, 96, 160), output=1, features=torch.zeros(1, 2)).shape == (96, 160)


def test_of_a_small_image_the_last_map_is_taken_that_has_places():
    assert len(np.unique(explain(build("timm/test_resnet", 32), torch.randn(1, 3, 32, 32), output=None).round(3))) > 5


def test_a_model_without_maps_is_not_asked():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    assert explain(model, torch.randn(1, 3, 8, 8), output=0) is None


def test_the_model_is_left_as_it_was():
    model, image = build("timm/test_vit", 160), torch.randn(1, 3, 160, 160)
    before = model(image)
    explain(model, image, output=0)
    assert "forward_features" not in vars(model)
    assert not any(layer._forward_hooks for layer in model.modules())
    torch.testing.assert_close(model(image), before)
    assert all(tensor.grad is None for tensor in model.parameters())


@pytest.mark.parametrize(
    ("shape", "ratio", "maps"),
    [
        ((2, 48, 7, 7), 1.0, (2, 48, 7, 7)),
        ((2, 7, 7, 48), 1.0, (2, 48, 7, 7)),
        ((2, 6, 10, 48), 0.6, (2, 48, 6, 10)),
        ((2, 197, 48), 1.0, (2, 48, 14, 14)),
        ((2, 201, 48), 1.0, (2, 48, 14, 14)),
        ((2, 49, 48), 1.0, (2, 48, 7, 7)),
        ((2, 60, 48), 0.6, (2, 48, 6, 10)),
    ],
)
def test_maps_are_found_whatever_the_order_of_the_axes(shape, ratio, maps):
    assert to_maps(torch.zeros(shape), ratio).shape == maps


def test_the_last_token_is_the_place_at_the_lower_right():
    tokens = torch.zeros(1, 17, 1)
    tokens[0, -1] = 1
    assert to_maps(tokens, 1.0)[0, 0, 3, 3] == 1


@pytest.mark.parametrize("shape", [(2, 30, 11, 48), (2, 62, 48), (2, 1, 48)])
def test_what_is_no_map_is_none(shape):
    assert to_maps(torch.zeros(shape), 1.0) is None


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_where_there_is_no_heat_the_image_is_grey(channels):
    image = np.random.default_rng(0).integers(0, 256, (8, 9, channels), dtype=np.uint8)
    drawn = overlay(image, np.zeros((8, 9), dtype=np.float32))
    np.testing.assert_allclose(drawn, np.repeat(image.mean(axis=-1, keepdims=True), 3, axis=-1), atol=0.5)
    hot = overlay(image, np.ones((8, 9), dtype=np.float32))
    assert (hot[..., 0] > hot[..., 2]).all()
