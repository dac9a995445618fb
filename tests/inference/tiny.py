"""Models whose predictions can be told by hand."""

from dataclasses import replace

import torch
from torch import nn

from kitsolve.inference.bundle import TTA, Architecture, ModelSpec, Preprocessing
from kitsolve.inference.ensemble import Ensemble, one_member
from kitsolve.inference.loop import predict_probs
from kitsolve.inference.members import Member

PREP = Preprocessing(image_size=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bilinear")


class MeanColour(nn.Module):
    """Logits that are the mean of each channel: what an image holds, wherever it lies."""

    def forward(self, images):
        return images.mean(dim=(2, 3))


class LeftMinusRight(nn.Module):
    """Sees a difference between left and right, so that flips matter."""

    def forward(self, images):
        half = images.shape[-1] // 2
        left, right = images[..., :half].mean(dim=(2, 3)), images[..., half:].mean(dim=(2, 3))
        return left - 0.5 * right


def predict_with(model, paths, *, tta="none", batch_size=4, preprocessing=PREP):
    return predict_probs(alone(model, preprocessing, tta=tta, batch_size=batch_size), paths, workers=2)


def alone(model, preprocessing=PREP, *, tta="none", batch_size=4):
    """The ensemble of one model."""
    return one_member(Member(model, preprocessing, TTA[tta], torch.float32), torch.device("cpu"), batch_size=batch_size)


def together(members, blend, *, batch_size=4, groups=None):
    """The ensemble of several members; all on the device at once unless there are groups."""
    groups = groups or [list(range(len(members)))]
    return Ensemble(members, torch.device("cpu"), blend, batch_size, groups)


def spec_of(backbone, **changes):
    architecture = Architecture(backbone, 3, **changes)
    return ModelSpec(
        architecture, "softmax", replace(PREP, image_size=(64, 64)), ("identity",), "float32", "", "", "run"
    )


def trained_norms(model):
    """Give BatchNorm layers averages as training leaves them."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_()
    return model.eval()
