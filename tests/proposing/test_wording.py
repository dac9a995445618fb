import pytest

from kitsolve.proposing.wording import name_metric, wants_notebook


def named(text, page="Evaluation"):
    return name_metric({page: text})


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("Submissions are evaluated on area under the ROC curve between prediction and target.", "roc_auc"),
        ("Evaluated by [AUC](https://en.wikipedia.org/wiki/Accuracy).", "roc_auc"),
        ("Submissions are evaluated on mean column-wise ROC AUC.", "mean_column_auc"),
        ("The score is the average of the individual AUCs, each an area under the ROC curve.", "mean_column_auc"),
        ("Scored by weighted AUC. The area under the curve is computed for each region.", "weighted_auc"),
        ("Submissions are evaluated using the multi-class logarithmic loss.", "log_loss"),
        ("Scored on the <b>quadratic weighted kappa</b>.", "qwk"),
        (
            "Evaluated according to the Mean Average Precision @ 5 (MAP@5). All score an average precision of 1.",
            "map@5",
        ),
        ("Your score is the MAP@20.", "map@20"),
        ("The evaluation metric is macro F1 score. F1 is calculated as follows.", "f1_macro"),
        ("The evaluation metric is the micro-averaged F1 score.", "f1_micro"),
        ("Scored by probabilistic F1 score.", "pf1"),
        ("Submissions are scored on the root mean squared error.", "rmse"),
        ("Submissions are scored on the mean absolute error.", "mae"),
        ("Submissions will be evaluated based on their categorization accuracy.", "accuracy"),
        ("Scored by the Kullback Liebler divergence.", "kl_divergence"),
        ("Scored by top-5 classification error.", "top_error@5"),
    ],
)
def test_pages_name_the_metric(text, metric):
    guess = named(text)
    assert (guess.value, guess.choices) == (metric, ())


def test_words_that_may_mean_several_metrics_are_unsure():
    assert set(named("The evaluation metric is Mean F1-Score.").choices) == {"f1_sample", "f1_macro", "f1_micro"}


def test_two_metrics_on_one_page_are_unsure():
    assert named("Scored by accuracy. Also the log loss is computed.").choices == ("accuracy", "log_loss")


@pytest.mark.parametrize(
    "text",
    [
        "Scored by the weighted multi-label logarithmic loss.",
        "Submissions are scored using MCRMSE.",
        "Evaluated on the mean average precision at different intersection over union thresholds.",
        "Scored by RMSLE.",
        "Evaluated using the Dice coefficient.",
        "The metric is the F2 score.",
    ],
)
def test_a_metric_that_is_not_there_is_to_be_written_and_unsure(text):
    guess = named(text)
    assert guess.value == "prepare:metric"
    assert "accuracy" in guess.choices


def test_a_metric_in_a_sentence_about_something_else_is_none():
    assert named("The accuracy of the clocks matters.", page="Description") is None


def test_the_evaluation_page_has_the_last_word():
    pages = {"Description": "We measured an accuracy of 90 %.", "evaluation": "Scored by log loss."}
    assert name_metric(pages).value == "log_loss"


def test_no_pages_name_nothing():
    assert name_metric({}) is None


@pytest.mark.parametrize(
    "text",
    [
        "Submissions to this competition must be made through Notebooks.",
        "<p>This is a <b>Code Competition</b>.</p>",
        "This is a kernels-only competition.",
    ],
)
def test_pages_tell_a_code_competition(text):
    assert wants_notebook({"Code Requirements": text})


def test_pages_that_only_recommend_notebooks_do_not():
    assert not wants_notebook({"Description": "Have a look at the Notebooks tab."})
