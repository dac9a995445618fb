import json
import math
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from kitsolve import inference
from kitsolve.inference import (
    TTA,
    Architecture,
    Blend,
    Decoder,
    Member,
    ModelSpec,
    Preprocessing,
    Rescue,
    SubmissionRules,
    build_model,
    check_submission,
    choose_dtype,
    choose_views,
    decode,
    describe_rescue,
    find_input,
    fold_batch_norms,
    image_paths,
    make_submission,
    normalise,
    predict_probs,
    read_bundle,
    read_image,
    read_sample,
    resize_image,
)

PREP = Preprocessing(image_size=(8, 8), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), interpolation="bilinear")
LABELS = SubmissionRules("label", "sample.csv", ("a", "b", "c"))


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
    member = Member(model, preprocessing, tta, torch.float32)
    return predict_probs([member], paths, device=torch.device("cpu"), batch_size=batch_size, workers=2)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(10)]
    for number, path in enumerate(paths):
        pixels = np.random.default_rng(number).integers(0, 256, size=(11, 13, 3), dtype=np.uint8)
        cv2.imwrite(str(path), pixels)
    return paths


# ------------------------------------------------------------------------------------------------ images


def test_an_image_is_read_as_rgb(tmp_path):
    Image.new("RGB", (3, 2), (255, 0, 7)).save(tmp_path / "red.png")
    image = read_image(tmp_path / "red.png")
    assert image.shape == (2, 3, 3)
    assert image[0, 0].tolist() == [255, 0, 7]


def test_a_grey_image_gets_three_equal_channels(tmp_path):
    Image.new("L", (3, 2), 99).save(tmp_path / "grey.png")
    assert read_image(tmp_path / "grey.png")[1, 2].tolist() == [99, 99, 99]


def test_what_cv2_cannot_read_pillow_reads(tmp_path):
    Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / "image.pcx")
    assert read_image(tmp_path / "image.pcx")[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("content", "word"), [(b"", "empty"), (b"no image", "damaged"), (None, "cannot be read")])
def test_an_image_that_cannot_be_used_is_named(tmp_path, content, word):
    path = tmp_path / "broken.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"broken.png.* {word}"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_truncated_image_is_damaged(tmp_path, suffix):
    path = tmp_path / f"cut{suffix}"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, size=(40, 40, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="damaged"):
        read_image(path)


def test_shrinking_averages_whole_areas():
    stripes = np.zeros((16, 16, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    assert (resize_image(stripes, PREP) == 100).all()


def test_normalised_images_have_the_formula_of_torchvision():
    images = torch.randint(0, 256, (2, 8, 8, 3), dtype=torch.uint8)
    expected = (images.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    result = normalise(images, PREP)
    assert torch.allclose(result, expected, atol=1e-6)
    assert result.is_contiguous(memory_format=torch.channels_last)


# ------------------------------------------------------------------------------------------------ prediction


@pytest.mark.parametrize("views", [views for name, views in TTA.items() if name != "none"])
def test_the_views_of_a_tta_are_all_different_and_keep_every_pixel(views):
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    seen = {tuple(view(image).flatten().tolist()) for view in views}
    assert len(seen) == len(views)
    assert all(sorted(view) == sorted(image.flatten().tolist()) for view in seen)


def test_every_view_of_d4_is_undone_by_a_view_of_d4():
    image = torch.arange(9.0).reshape(1, 1, 3, 3)
    for view in TTA["d4"]:
        assert any(torch.equal(back(view(image)), image) for back in TTA["d4"])


def test_tta_makes_an_image_and_its_mirror_equal(images):
    mirrored = []
    for path in images:
        mirrored.append(path.with_name(f"mirrored_{path.name}"))
        cv2.imwrite(str(mirrored[-1]), cv2.imread(str(path))[:, ::-1])
    plain = [predict_with(LeftMinusRight(), paths) for paths in (images, mirrored)]
    assert np.abs(plain[0] - plain[1]).max() > 1e-3
    both = [predict_with(LeftMinusRight(), paths, tta="hflip") for paths in (images, mirrored)]
    np.testing.assert_allclose(both[0], both[1], atol=1e-3)  # cv2's resize rounds a mirrored pixel now and then


def test_neither_batch_size_nor_order_matters(images):
    all_at_once = predict_with(MeanColour(), images, batch_size=64)
    np.testing.assert_allclose(predict_with(MeanColour(), images, batch_size=3), all_at_once, atol=1e-6)
    np.testing.assert_allclose(predict_with(MeanColour(), images[::-1])[::-1], all_at_once, atol=1e-6)
    np.testing.assert_allclose(all_at_once.sum(axis=1), 1, atol=1e-6)


def test_members_with_another_input_size_get_their_own_images_of_one_decode(images):
    reads = []

    def read(path, channels):
        reads.append(path)
        return read_image(path)

    small, large = PREP, replace(PREP, image_size=(12, 12))
    members = [Member(MeanColour(), kind, "none", torch.float32, run=run) for kind, run in ((small, "a"), (large, "b"))]
    mixed = Blend(("a", "b"), "weighted", (0.25, 0.75))
    both = predict_probs(members, images, device=torch.device("cpu"), batch_size=4, workers=2, read=read, blend=mixed)
    assert len(reads) == len(images)
    alone = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (small, large)]
    np.testing.assert_allclose(both, (alone[0] + 3 * alone[1]) / 4, atol=1e-6)


def test_predicting_nothing_is_an_error():
    with pytest.raises(ValueError, match="no image"):
        predict_with(MeanColour(), [])


def test_members_of_one_run_count_alike_whatever_their_number(images):
    """Two members of run a, one of run b: the runs are mixed, not the members."""
    dark = replace(PREP, mean=(0.9, 0.9, 0.9))
    members = [
        Member(MeanColour(), kind, "none", torch.float32, run=run)
        for kind, run in ((PREP, "a"), (PREP, "a"), (dark, "b"))
    ]
    mixed = predict_probs(
        members,
        images,
        device=torch.device("cpu"),
        batch_size=4,
        workers=1,
        blend=Blend(("a", "b"), "mean", (0.5, 0.5)),
    )
    alone = [predict_with(MeanColour(), images, preprocessing=kind) for kind in (PREP, dark)]
    np.testing.assert_allclose(mixed, (alone[0] + alone[1]) / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "device", "bfloat16", "dtype"),
    [
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cpu", False, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("float32", "cuda", True, torch.float32),
    ],
)
def test_the_dtype_follows_the_hardware_unless_the_recipe_chooses(precision, device, bfloat16, dtype):
    assert choose_dtype(precision, device, has_bfloat16=bfloat16) is dtype


@pytest.mark.parametrize("backbone", ["timm/no_such_net", "torchvision/no_such_net", "keras/resnet18"])
def test_an_unknown_backbone_is_refused(backbone):
    with pytest.raises(ValueError, match=r"no_such_net|must be timm"):
        build_model(Architecture(backbone, 3), image_size=(32, 32))


# ------------------------------------------------------------------------------------------------ submission


@pytest.fixture
def sample():
    return pd.DataFrame({"id": ["007", "1e5", "x"], "label": ["a", "a", "a"]})


def test_labels_are_written_in_their_own_words_and_ids_stay_names(sample, tmp_path):
    submission = make_submission(sample, np.array([2, 0, 1]), LABELS)
    assert submission.values.tolist() == [["007", "c"], ["1e5", "a"], ["x", "b"]]
    check_submission(submission, sample, LABELS)


def test_the_positive_class_is_the_last(sample):
    rules = SubmissionRules("probability", "sample.csv", ("0", "1"))
    probs = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]])
    assert make_submission(sample, probs, rules).label.tolist() == pytest.approx([0.1, 0.5, 0.8])


def test_class_probabilities_sum_to_one_more_exactly_than_float32(tmp_path):
    sample = pd.DataFrame({"id": ["x"], "a": ["0"], "b": ["0"], "c": ["0"]})
    rules = replace(LABELS, kind="class_probabilities", whole_rows=True)
    probs = decode(np.array([[0.3, 0.3, 0.4001]], dtype=np.float32), Decoder("multiclass"), "probs")
    submission = make_submission(sample, probs, rules)
    assert submission[["a", "b", "c"]].sum(axis=1).item() == pytest.approx(1, abs=1e-12)
    check_submission(submission.astype(str), sample, rules)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.rename(columns={"label": "Label"}), "columns"),
        (lambda table: table.iloc[:2], "lacks 1 of 3 ids, first: 'x'"),
        (lambda table: pd.concat([table, table.tail(1)]), "'x' twice"),
        (lambda table: table.replace("007", "7"), "lacks 1 of 3 ids, first: '007'"),
        (lambda table: table.assign(label=["a", "d", "b"]), r"row 3, id '1e5': 'd' is none of the classes"),
        (lambda table: table.assign(label=["a", "", "b"]), r"row 3, id '1e5': '' is none"),
    ],
)
def test_a_submission_that_kaggle_would_refuse_is_refused_by_row(sample, change, problem):
    with pytest.raises(ValueError, match=problem):
        check_submission(change(sample.copy()), sample, LABELS)


@pytest.mark.parametrize("value", ["1.2", "-0.1", "", "nan", "inf", "high"])
def test_a_probability_outside_of_0_and_1_is_refused(sample, value):
    rules = SubmissionRules("probability", "sample.csv", ("0", "1"))
    with pytest.raises(ValueError, match="row 3, id '1e5'"):
        check_submission(sample.assign(label=["0.5", value, "0.5"]), sample, rules)


def test_rows_that_do_not_sum_to_one_are_refused():
    sample = pd.DataFrame({"id": ["x", "y"], "a": "0", "b": "0", "c": "0"})
    submission = sample.assign(a=["0.5", "0.5"], b=["0.5", "0.4999"])
    with pytest.raises(ValueError, match="row 3, id 'y': the probabilities sum to 0.9999"):
        check_submission(submission, sample, replace(LABELS, kind="class_probabilities", whole_rows=True))


def test_a_sample_with_the_same_id_twice_is_refused(tmp_path):
    (tmp_path / "sample.csv").write_text("id,label\nx,a\nx,a\n")
    with pytest.raises(ValueError, match="'x' twice"):
        read_sample(tmp_path, LABELS)


def test_a_template_may_use_a_part_of_a_column():
    rows = pd.DataFrame({"id": ["abc", "0012"]})
    assert image_paths(rows, "{id[0]}/{id}.npy") == ["a/abc.npy", "0/0012.npy"]
    with pytest.raises(ValueError, match="'name'"):
        image_paths(rows, "{name}.png")


@pytest.mark.parametrize("place", ["slug", "competitions/slug", "datasets/owner/slug", "slug/deeper/still"])
def test_an_input_is_found_however_kaggle_mounts_it(tmp_path, place):
    for other in ("other", "competitions/another"):
        (tmp_path / other).mkdir(parents=True)
        (tmp_path / other / "marker.csv").touch()
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / "marker.csv").touch()
    assert find_input(tmp_path, "slug", "marker.csv") == tmp_path / place


def test_an_input_that_is_not_there_lists_what_is(tmp_path):
    (tmp_path / "something").mkdir()
    with pytest.raises(ValueError, match="something"):
        find_input(tmp_path, "slug", "marker.csv")


# ------------------------------------------------------------------------------------------------ bundle


def test_a_bundle_of_another_format_is_refused(tmp_path):
    (tmp_path / "bundle.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        read_bundle(tmp_path)


def test_the_file_predicts_alone_from_a_folder_that_holds_nothing_else(trained, tmp_path):
    from kitsolve.submission.bundle import export_bundle

    bundle = export_bundle(trained, "shades", [])
    alone = tmp_path / "kitsolve_inference.py"
    alone.write_text(Path(inference.__file__).read_text())
    places = [
        "--bundle",
        trained.bundle("shades", bundle.name),
        "--input",
        trained.raw("shades"),
        "--output",
        tmp_path / "s.csv",
    ]
    subprocess.run([sys.executable, alone, *map(str, places)], check=True, cwd=tmp_path)
    assert list(pd.read_csv(tmp_path / "s.csv").columns) == ["image_id", "shade"]


def spec_of(backbone, **changes):
    architecture = Architecture(backbone, 3, **changes)
    return ModelSpec(architecture, "softmax", replace(PREP, image_size=(64, 64)), "none", "float32", "", "", 1.0)


def trained_norms(model):
    """Give BatchNorm layers averages as training leaves them."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_()
            layer.running_var.uniform_(0.5, 2)
            layer.weight.data.uniform_(0.5, 1.5)
            layer.bias.data.normal_()
    return model.eval()


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


# ------------------------------------------------------------------------------------------------ a submission is saved


@pytest.mark.parametrize(
    ("allowed_s", "chosen"),
    [(100, [4, 4]), (11, [4, 3]), (9.5, [3, 3]), (3, [1, 1]), (2.9, [1, 0]), (0, [1, 0]), (-5, [1, 0])],
)
def test_first_views_are_left_out_then_members_of_the_least_weight(allowed_s, chosen):
    """A view of the first member takes 1 s, of the second 2 s."""
    assert choose_views([1.0, 2.0], [4, 4], [0.7, 0.3], allowed_s) == chosen


def test_before_anything_is_measured_everything_is_computed():
    assert choose_views([0.0, 0.0], [8, 1], [0.5, 0.5], 1e-9) == [8, 1]


def test_the_heaviest_member_is_the_last_to_go():
    assert choose_views([1.0, 1.0, 1.0], [1, 1, 1], [0.2, 0.5, 0.3], 1.5) == [0, 1, 0]


def rescued(images, **changes):
    rescue = Rescue(np.array([0.1, 0.2, 0.7], dtype=np.float32), **changes)
    member = Member(MeanColour(), PREP, "flips", torch.float32)
    settings = {"device": torch.device("cpu"), "batch_size": 4, "workers": 2, "rescue": rescue}
    return predict_probs([member], images, **settings), rescue


def test_an_image_that_cannot_be_read_gets_the_mean_prediction_and_the_others_their_own(images):
    whole, _ = rescued(images)
    images[2].write_bytes(images[2].read_bytes()[:40])
    images[5].unlink()
    probs, rescue = rescued(images)
    np.testing.assert_allclose(probs[[2, 5]], [[0.1, 0.2, 0.7]] * 2, atol=1e-6)
    kept = [row for row in range(len(images)) if row not in (2, 5)]
    np.testing.assert_array_equal(probs[kept], whole[kept])
    assert all(str(images[row]) in reason for row, reason in zip((2, 5), rescue.lost, strict=True))
    with pytest.raises(ValueError, match="cannot be read"):
        predict_with(MeanColour(), images[5:6])


def test_when_the_time_is_over_the_rest_gets_the_mean_prediction(images):
    probs, rescue = rescued(images, end=time.monotonic() - 1)
    assert rescue.unseen == len(probs) == len(images)
    np.testing.assert_allclose(probs, np.tile([0.1, 0.2, 0.7], (len(images), 1)), atol=1e-6)
    assert "the time was over" in " ".join(describe_rescue(rescue, images=len(images)))


def test_when_the_time_is_short_views_are_left_out_and_counted(images, monkeypatch):
    monkeypatch.setattr(Rescue, "allow", lambda self, left: -1.0 if left < 3 else math.inf)
    probs, rescue = rescued(images)
    assert (rescue.passes, rescue.wanted, rescue.unseen) == (4 + 1 + 1, 12, 0)
    assert probs.shape == (len(images), 3)
    assert "left out" in " ".join(describe_rescue(rescue, images=len(images)))


def test_several_devices_take_turns_and_keep_the_order(images):
    one = predict_with(MeanColour(), images)
    member = Member(MeanColour(), PREP, "none", torch.float32)
    settings = {"device": torch.device("cpu"), "others": {torch.device("cpu", 0): [member]}, "workers": 2}
    for batch_size in (1, 3, 100):
        both = predict_probs([member], images, batch_size=batch_size, **settings)
        np.testing.assert_allclose(both, one, atol=1e-6)


def test_a_device_that_cannot_compute_is_left_out_with_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert inference.all_devices() == [torch.device("cpu")]
    assert "device cuda:0 cannot be used here" in capsys.readouterr().out
