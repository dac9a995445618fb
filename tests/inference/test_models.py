import numpy as np
import pytest
import torch

from kitsolve.inference.bundle import (
    Architecture,
    Preprocessing,
)
from kitsolve.inference.images import normalise, resize_image
from kitsolve.inference.models import Pool, build_model


@pytest.mark.parametrize("backbone", ["timm/no_such_net", "torchvision/no_such_net", "keras/resnet18"])
def test_an_unknown_backbone_is_refused(backbone):
    with pytest.raises(ValueError, match=r"no_such_net|must be timm"):
        build_model(Architecture(backbone, 3), image_size=(32, 32))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("backbone", ["timm/test_resnet", "torchvision/resnet18", "torchvision/googlenet"])
def test_a_backbone_takes_any_number_of_channels(tmp_path, channels, backbone):
    preprocessing = Preprocessing((32, 32), (0.5,) * channels, (0.25,) * channels, "bilinear")
    images = np.random.default_rng(0).integers(0, 256, (2, 40, 30, channels), dtype=np.uint8)
    resized = torch.from_numpy(np.stack([resize_image(image, preprocessing) for image in images]))
    model = build_model(Architecture(backbone, 3, channels=channels), image_size=(32, 32)).eval()
    assert model(normalise(resized, preprocessing)).shape == (2, 3)


def test_grey_channels_repeat_the_colours_weights():
    torch.manual_seed(0)
    colour = build_model(Architecture("torchvision/resnet18", 3), image_size=(32, 32)).eval()
    torch.manual_seed(0)
    grey = build_model(Architecture("torchvision/resnet18", 3, channels=1), image_size=(32, 32)).eval()
    image = torch.rand(1, 1, 32, 32)
    torch.testing.assert_close(grey(image), colour(image.repeat(1, 3, 1, 1)), atol=1e-4, rtol=1e-4)


def test_further_numbers_change_what_a_model_sees():
    model = build_model(Architecture("timm/test_resnet", 2, num_features=4), image_size=(32, 32)).eval()
    images = torch.rand(3, 3, 32, 32)
    one, other = model(images, torch.zeros(3, 4)), model(images, torch.ones(3, 4))
    assert one.shape == (3, 2)
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("pool", ["avg", "max", "catavgmax", "gem"])
@pytest.mark.parametrize("head", ["linear", "cosine"])
@pytest.mark.parametrize("backbone", ["timm/test_resnet", "timm/test_convnext", "timm/test_mambaout"])
def test_every_pooling_and_head_gives_logits_that_learn(backbone, pool, head):
    model = build_model(Architecture(backbone, 5, pool=pool, head=head, num_features=2), image_size=(64, 64))
    logits = model(torch.rand(3, 3, 64, 64), torch.rand(3, 2))
    assert logits.shape == (3, 5)
    logits.square().sum().backward()
    assert all(tensor.grad is not None for tensor in model.parameters())


def test_the_generalised_mean_lies_between_mean_and_maximum():
    maps = torch.rand(2, 4, 3, 3)
    mean, most, general = (Pool(kind, 4)(maps) for kind in ("avg", "max", "gem"))
    assert ((mean < general) & (general < most)).all()
    torch.testing.assert_close(Pool("catavgmax", 4)(maps), torch.cat([mean, most], dim=1))
    torch.testing.assert_close(Pool("max", 4)(maps.permute(0, 2, 3, 1)), most)


def test_cosine_logits_do_not_depend_on_the_length_of_a_class_vector():
    model = build_model(Architecture("timm/test_resnet", 3, head="cosine"), image_size=(32, 32)).eval()
    images = torch.rand(2, 3, 32, 32)
    before = model(images)
    with torch.no_grad():
        model.head.weight.mul_(7)
    torch.testing.assert_close(model(images), before)
    assert before.abs().max() <= 30


@pytest.mark.parametrize("backbone", ["timm/test_vit", "torchvision/resnet18"])
def test_pooling_is_refused_where_there_is_nothing_to_pool(backbone):
    with pytest.raises(ValueError, match="pool = 'gem'"):
        build_model(Architecture(backbone, 3, pool="gem"), image_size=(32, 32))
