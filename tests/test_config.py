import json

import pytest

from kitsolve.config import read_competition
from kitsolve.errors import KitsolveError
from kitsolve.inference.bundle import TTA
from kitsolve.recipe import read_recipe
from kitsolve.workspace import Workspace


def test_the_catalogue_travels_with_the_package(tmp_path):
    assert read_competition(Workspace(tmp_path), "digits").metric == "accuracy"


def test_an_unknown_competition_names_the_nearest(tmp_path):
    with pytest.raises(KitsolveError) as caught:
        read_competition(Workspace(tmp_path), "digit")
    assert "digits" in caught.value.hint


def test_a_recipe_of_the_competition_extends_the_built_in_one_of_its_name(shades):
    own = shades.competition("shades") / "recipes" / "strong.toml"
    own.write_text('extends = "strong"\nepochs = 3\n')
    recipe = read_recipe(shades, "shades", "strong")
    assert (recipe.epochs, recipe.tta, recipe.image_size) == (3, "d4", 384)


def test_recipes_that_extend_each_other_are_refused(shades):
    recipes = shades.competition("shades") / "recipes"
    (recipes / "a.toml").write_text('extends = "b"\n')
    (recipes / "b.toml").write_text('extends = "a"\n')
    with pytest.raises(KitsolveError, match="extends itself"):
        read_recipe(shades, "shades", "a")


def test_overrides_win_and_are_read_as_toml_or_as_words(shades):
    recipe = read_recipe(shades, "shades", "baseline", ["lr=1e-4", "backbone=timm/test_vit", "tta='none'"])
    assert (recipe.lr, recipe.backbone, recipe.tta) == (1e-4, "timm/test_vit", "none")


@pytest.mark.parametrize(
    ("override", "problem", "hint"),
    [
        ("epoch=3", "unknown key 'epoch'", "epochs"),
        ("epochs=0", "epochs = 0", "epochs"),
        ('epochs="3"', "epochs = '3'", "epochs"),
        ("augment=heavier", "augment = 'heavier'", "augment"),
        ("lr", "--set lr has no value", "key=value"),
    ],
)
def test_a_wrong_override_is_named_with_its_repair(shades, override, problem, hint):
    with pytest.raises(KitsolveError) as caught:
        read_recipe(shades, "shades", "baseline", [override])
    assert problem in caught.value.problem
    assert hint in caught.value.hint


def test_an_unknown_recipe_names_the_nearest(shades):
    with pytest.raises(KitsolveError) as caught:
        read_recipe(shades, "shades", "stong")
    assert "strong" in caught.value.hint


@pytest.mark.parametrize(
    ("old", "new", "problem", "hint"),
    [
        ("[folds]\ncount", "[folds]\ncuont", "unknown key 'folds.cuont'", "count"),
        ('target = "shade"', "", "the key 'train.target' is missing", "add target"),
        ('metric = "accuracy"', 'metric = "acuracy"', "unknown metric 'acuracy'; known: accuracy", "metric"),
        ('kind   = "label"', 'kind = "lable"', "submission.kind = 'lable'", "submission.kind"),
        ("[train]", "[train", "not valid TOML", "correct that line"),
    ],
)
def test_a_mistake_in_the_facts_names_file_key_and_repair(shades, old, new, problem, hint):
    path = shades.competition("shades") / "competition.toml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(KitsolveError) as caught:
        read_competition(shades, "shades")
    assert str(path) in caught.value.problem
    assert problem in caught.value.problem
    assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["quick", "baseline", "strong"])
def test_the_built_in_recipes_are_valid(tmp_path, name):
    folder = tmp_path / "competitions" / "bare"
    folder.mkdir(parents=True)
    (folder / "competition.toml").write_text("")
    assert read_recipe(Workspace(tmp_path), "bare", name).backbone.startswith("timm/")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["image_size=[224, 448]", "tta=d4"], "height and width must be equal"),
        (["image_size=0"], "image_size = 0: must be at least 1"),
        (["batch_size=1"], "batch_size = 1: must be at least 2"),
        (["batch_size=many"], "batch_size = 'many'"),
        (["dropout_samples=4"], "dropout_samples needs a drop_rate"),
    ],
)
def test_choices_that_do_not_fit_together_are_named(shades, overrides, problem):
    with pytest.raises(KitsolveError) as caught:
        read_recipe(shades, "shades", "baseline", overrides)
    assert problem in caught.value.problem


def test_an_image_size_is_a_number_or_height_and_width(shades):
    square, wide = (read_recipe(shades, "shades", "baseline", [f"image_size={size}"]).size for size in (64, [64, 96]))
    assert (square, wide) == ((64, 64), (64, 96))


def test_a_recipe_survives_its_way_through_json(shades):
    recipe = read_recipe(shades, "shades", "baseline", ["train_sizes=[16, 32]", "image_size=[32, 32]"])
    assert type(recipe).model_validate(json.loads(recipe.model_dump_json())) == recipe


def test_views_may_be_listed_and_mistakes_in_them_are_named(shades):
    assert read_recipe(shades, "shades", "baseline", ["tta=['identity', 'rot90']"]).views == ("identity", "rot90")
    assert read_recipe(shades, "shades", "baseline", ["tta=flips"]).views == TTA["flips"]
    for wrong in ("tta=diagonal", "tta=['rot45']", "tta=['hflip', 'hflip']", "tta=[]"):
        with pytest.raises(KitsolveError, match="tta"):
            read_recipe(shades, "shades", "baseline", [wrong])
    with pytest.raises(KitsolveError, match="must be equal"):
        read_recipe(shades, "shades", "baseline", ["image_size=[32, 64]", "tta=['rot90']"])


def test_how_many_hidden_images_there_are_does_not_change_a_training(shades):
    before = read_competition(shades, "shades")
    after = before.model_copy(update={"test": before.test.model_copy(update={"hidden": 5})})
    assert before.for_training() == after.for_training()


def change_facts(workspace, *changes):
    path = workspace.competition("shades") / "competition.toml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return read_competition(workspace, "shades")


SCORED = (('"multiclass"', '"regression"'), ('"accuracy"', '"rmse"'), ('"label"', '"value"'))
ONE = 'target = "shade"'


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            (*SCORED, (ONE, 'target = ["x", "y", "z"]')),
            r"names 3 columns: a regression has one output, .* target = .x.",
        ),
        ((*SCORED, (ONE, 'target = { column = "x" }')), "is for multilabel tasks, not regression"),
        (((ONE, 'target = { column = "x" }'),), "is for multilabel tasks, not multiclass"),
        (((ONE, "target = []"),), "names a column twice, or none"),
        (((ONE, 'target = ["a", "b", "a"]'),), "names a column twice, or none"),
        ((('"accuracy"', '"kl_divergence"'), ('"label"', '"class_probabilities"')), "lists a column for each class"),
    ],
)
def test_targets_that_the_task_cannot_take_are_refused(shades, changes, problem):
    with pytest.raises(KitsolveError, match=problem):
        change_facts(shades, *changes)


def test_a_list_of_one_column_is_that_column(shades):
    assert change_facts(shades, *SCORED, (ONE, 'target = ["x"]')).train.targets == ["x"]
