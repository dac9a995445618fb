import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_image
from safetensors.torch import save_file

from kitsolve.config import read_competition
from kitsolve.data.cache import encode_paths
from kitsolve.data.targets import Targets
from kitsolve.errors import KitsolveError
from kitsolve.evaluation.decoding import find_judge
from kitsolve.evaluation.runs import Run
from kitsolve.inference.bundle import Architecture
from kitsolve.inference.ensemble import one_member
from kitsolve.inference.loop import predict_probs
from kitsolve.inference.members import load_member, load_model
from kitsolve.inference.models import build_model
from kitsolve.recipe import Recipe
from kitsolve.training.backbones import (
    build_backbone,
    check_backbone,
    find_preprocessing,
    list_backbones,
    load_pretrained,
)
from kitsolve.training.checkpoint import save_best
from kitsolve.training.job import FoldData, Settled, choose_machine, fold_spec, plan_fold
from kitsolve.training.start import start_training
from kitsolve.training.step import train_step

SMALLEST = {
    "torchvision/resnet18": 32,
    "torchvision/alexnet": 64,
    "torchvision/squeezenet1_0": 32,
    "torchvision/densenet161": 32,
    "torchvision/inception_v3": 75,
    "torchvision/googlenet": 32,
    "torchvision/shufflenet_v2_x1_0": 32,
    "torchvision/mobilenet_v2": 32,
    "torchvision/resnext50_32x4d": 32,
    "torchvision/mnasnet1_0": 32,
    "torchvision/vit_b_16": 32,
    "torchvision/swin_t": 32,
    "timm/test_resnet": 32,
    "timm/resnet10t": 32,
    "timm/test_efficientnet": 32,
    "timm/efficientnet_b0": 32,
    "timm/test_convnext": 32,
    "timm/test_vit": 32,
    "timm/swin_tiny_patch4_window7_224": 56,
    "timm/maxvit_pico_rw_256": 64,
}
LARGE = {"torchvision/vgg16": 32, "torchvision/wide_resnet50_2": 32}
"""Of the same families as others, with hundreds of megabytes of weights."""
CPU = torch.device("cpu")


def recipe(backbone, image_size=32, **choices):
    return Recipe(**{"backbone": backbone, "pretrained": False, "image_size": image_size, "batch_size": 3, **choices})


@pytest.fixture
def plan(shades, tmp_path):
    """A function that plans a fold of three images for a recipe."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(paths):
        write_image(path, "grey", seed=number)
    rows = np.arange(3)
    targets = Targets("multiclass", ("x", "y", "z"), rows)
    data = FoldData(0, pd.Index(["a", "b", "c"]), encode_paths(paths), targets, targets.learned, None, rows, rows)
    competition = read_competition(shades, "shades")
    judge = find_judge(shades, competition, targets)

    def make(chosen):
        run = Run(tmp_path / "run", competition, chosen, "", "", "")
        settled = Settled(3, "none", 1.0)
        return plan_fold(shades, run, data, judge, machine=choose_machine("cpu", 0), settled=settled)

    return make


@pytest.mark.parametrize(
    ("backbone", "size"), [*SMALLEST.items(), *(pytest.param(*one, marks=pytest.mark.slow) for one in LARGE.items())]
)
def test_a_backbone_is_built_trained_saved_and_loaded_strictly_through_a_bundle(backbone, size, plan):
    job = plan(recipe(backbone, size))
    state = start_training(job)
    before = [tensor.detach().clone() for tensor in list(state.model.parameters())[-2:]]
    batch = [torch.randint(0, 256, (3, size, size, 3), dtype=torch.uint8), torch.arange(3)]
    loss = train_step(job, state, batch, lr=1e-3)
    assert torch.isfinite(loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, list(state.model.parameters())[-2:], strict=True))

    save_best(state.evaluated, job.folder / "best.safetensors")
    member = load_member(fold_spec(job.run, 0, job.data.targets), job.folder, CPU)
    probs = predict_probs(one_member(member, CPU, batch_size=3), job.data.val_paths, workers=1)
    assert probs.shape == (3, 3)
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    loaded = load_model(fold_spec(job.run, 0, job.data.targets), job.folder, CPU).state_dict()
    for name, tensor in state.evaluated.state_dict().items():
        assert torch.equal(loaded[name], tensor), name


@pytest.mark.parametrize(
    ("backbone", "image_size"), [("torchvision/inception_v3", 32), ("timm/test_vit", 33), ("torchvision/vit_b_16", 33)]
)
def test_an_image_size_that_the_backbone_refuses_is_an_error_with_its_own_size(backbone, image_size):
    with pytest.raises(KitsolveError, match=rf"{backbone} refuses image_size = {image_size}") as caught:
        build_backbone(recipe(backbone, image_size), Architecture(backbone, 3))
    assert "image_size = " in caught.value.hint


@pytest.mark.parametrize(
    ("backbone", "near"),
    [
        ("timm/resnet181", "resnet18"),
        ("rsnet18", "resnet18"),
        ("torchvision/resnet19", "resnet18"),
        ("timm/resnet18.a1_in1", "resnet18.a1_in1k"),
    ],
)
def test_an_unknown_backbone_names_the_nearest(backbone, near):
    with pytest.raises(KitsolveError, match=backbone.rpartition("/")[2].partition(".")[0]) as caught:
        check_backbone(backbone)
    assert near in caught.value.hint


def test_an_unknown_library_is_an_error():
    with pytest.raises(KitsolveError, match="keras") as caught:
        check_backbone("keras/resnet50")
    assert "torchvision/" in caught.value.hint


def test_weights_that_cannot_be_had_are_an_error_with_the_ways_out(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("We couldn't connect to 'https://huggingface.co'\nmore lines")

    monkeypatch.setattr("kitsolve.training.backbones.build_model", unreachable)
    with pytest.raises(KitsolveError, match="cannot be had: We couldn't connect") as caught:
        build_backbone(recipe("timm/test_resnet", pretrained=True), Architecture("timm/test_resnet", 3))
    assert "--set pretrained=false" in caught.value.hint


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_pretrained_weights_of_a_file_fill_all_but_the_head(tmp_path, suffix):
    source = build_model(Architecture("timm/test_resnet", 7), image_size=(32, 32))
    path = tmp_path / f"weights{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    model = build_backbone(recipe("timm/test_resnet", pretrained=str(path)), Architecture("timm/test_resnet", 3))
    own, given = model.state_dict(), source.state_dict()
    assert [name for name in own if not torch.equal(own[name], given[name])] == ["fc.weight", "fc.bias"]


def test_pretrained_weights_of_another_backbone_are_refused(tmp_path):
    path = tmp_path / "vit.safetensors"
    save_file(build_model(Architecture("timm/test_vit", 3), image_size=(32, 32)).state_dict(), path)
    model = build_model(Architecture("timm/test_resnet", 3), image_size=(32, 32))
    with pytest.raises(KitsolveError, match="fits 0 of the model's"):
        load_pretrained(model, path)
    with pytest.raises(KitsolveError, match="is no file"):
        load_pretrained(model, tmp_path / "none.pth")


def test_normalisation_is_the_backbones_own():
    prep = find_preprocessing(recipe("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", 64))
    assert (prep.image_size, prep.mean, prep.std) == ((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert find_preprocessing(recipe("torchvision/resnet18")).mean == (0.485, 0.456, 0.406)


def test_the_list_of_backbones_knows_size_accuracy_and_licence():
    found = {facts.name: facts for facts in list_backbones("*/resnet18")}
    ours, theirs = found["timm/resnet18"], found["torchvision/resnet18"]
    assert ours.params_m == theirs.params_m == pytest.approx(11.69, abs=0.01)
    assert (ours.image_size, ours.licence) == (224, "apache-2.0")
    assert (theirs.top1, theirs.top5) == (69.758, 89.078)


@pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_efficientnet"])
def test_parameters_counted_without_memory_are_those_of_the_built_model(name):
    facts = next(list_backbones(f"timm/{name}"))
    built = build_model(Architecture(f"timm/{name}", 1000), image_size=(160, 160))
    assert facts.params_m == sum(tensor.numel() for tensor in built.parameters()) / 1e6


def test_a_pattern_that_nothing_matches_names_the_nearest():
    with pytest.raises(KitsolveError, match="rsnet18") as caught:
        list_backbones("rsnet18")
    assert "timm/resnet18" in caught.value.hint


def test_several_dropouts_average_the_loss_in_training_and_are_one_pass_after_it():
    chosen = recipe("timm/test_resnet", drop_rate=0.5, dropout_samples=4)
    model = build_backbone(chosen, Architecture("timm/test_resnet", 3))
    plain = build_model(Architecture("timm/test_resnet", 3), image_size=(32, 32))
    assert model.state_dict().keys() == plain.state_dict().keys()
    images = torch.rand(2, 3, 32, 32)
    assert model.train()(images).shape == (8, 3)
    assert model.eval()(images).shape == (2, 3)


def test_several_dropouts_train(plan):
    job = plan(recipe("timm/test_resnet", drop_rate=0.5, dropout_samples=4))
    batch = [torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8), torch.arange(3)]
    assert torch.isfinite(train_step(job, start_training(job), batch, lr=1e-3))


@pytest.mark.parametrize("backbone", ["timm/test_vit", "torchvision/resnet18"])
def test_a_backbone_without_maps_says_which_pooling_it_has(backbone):
    with pytest.raises(KitsolveError, match="pool = 'gem'") as caught:
        build_backbone(recipe(backbone, pool="gem"), Architecture(backbone, 3, pool="gem"))
    assert "timm backbone" in caught.value.hint


def test_every_train_size_is_proved(plan):
    chosen = recipe("timm/test_vit", train_sizes=[32, 33])
    with pytest.raises(KitsolveError, match="refuses image_size = "):
        build_backbone(chosen, Architecture("timm/test_vit", 3))
