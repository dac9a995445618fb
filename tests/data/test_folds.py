import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from kitsolve.data.folds import describe_folds, make_folds
from kitsolve.errors import KitsolveError

TARGETS = np.array(["a"] * 30 + ["b"] * 20 + ["c"] * 10, dtype=object)
SCHEMES = ["plain", "stratified", "group", "stratified_group", "multilabel_stratified", "binned_stratified"]
STRATIFIED = ["stratified", "stratified_group", "multilabel_stratified", "binned_stratified"]

counts = st.integers(2, 6)
seeds = st.integers(0, 99)


def some_targets(scheme, rows, rng):
    """What a scheme is for: classes of which some are rare, sets of labels, or values."""
    if scheme == "multilabel_stratified":
        return (rng.random((rows, 7)) < rng.random(7)).astype(np.uint8)
    return rng.normal(size=rows) if scheme == "binned_stratified" else (rng.pareto(1, rows) * 2).astype(int)


def some_groups(rows, count, rng):
    """Of very different sizes; `count` or more."""
    return rng.permutation(np.r_[np.arange(count), (rng.pareto(1, rows - count) * 10).astype(int)])


def sizes_by_label(folds, labels, count):
    """(labels, folds) rows."""
    return np.array([np.bincount(folds[labels == label], minlength=count) for label in np.unique(labels)])


def sklearn_folds(splitter, *given):
    folds = np.empty(len(given[0]), dtype=int)
    for fold, (_, rows) in enumerate(splitter.split(np.zeros(len(folds)), *given)):
        folds[rows] = fold
    return folds


def largest_gap(folds, targets):
    number = targets.shape[1] if targets.ndim == 2 else targets.max() + 1
    return describe_folds(folds, targets=targets, label_names=[str(label) for label in range(number)]).largest_gap


def stratify_iteratively(labels, count, rng):
    """Algorithm 1 of Sechidis, Tsoumakas and Vlahavas 2011."""
    folds, labels = np.full(len(labels), -1), labels.astype(int)
    wanted, space = np.full((count, labels.shape[1]), labels.sum(axis=0) / count), np.full(count, len(labels) / count)
    while (waiting := labels[folds < 0].sum(axis=0)).any():
        label = min(np.flatnonzero(waiting), key=waiting.__getitem__)
        for row in np.flatnonzero((folds < 0) & (labels[:, label] == 1)):
            keys = [(wanted[fold, label].round(6), space[fold].round(6), rng.random()) for fold in range(count)]
            folds[row] = fold = keys.index(max(keys))
            wanted[fold] -= labels[row]
            space[fold] -= 1
    for row in np.flatnonzero(folds < 0):
        folds[row] = space.argmax()
        space[folds[row]] -= 1
    return folds


@pytest.mark.parametrize("scheme", SCHEMES)
@given(rows=st.integers(6, 200), count=counts, seed=seeds, shuffle=st.booleans(), grouped=st.booleans())
@settings(max_examples=40)
def test_every_row_is_validated_in_exactly_one_fold_and_no_fold_is_empty(scheme, rows, count, seed, shuffle, grouped):
    rng = np.random.default_rng(seed)
    groups = some_groups(rows, count, rng) if grouped or "group" in scheme else None
    folds = make_folds(
        some_targets(scheme, rows, rng), scheme=scheme, count=count, seed=seed, shuffle=shuffle, groups=groups
    )
    assert folds.shape == (rows,)
    assert folds.dtype == np.int64
    assert np.unique(folds).tolist() == list(range(count))


@pytest.mark.parametrize("scheme", SCHEMES)
@given(rows=st.integers(6, 200), count=counts, seed=seeds)
@settings(max_examples=40)
def test_groups_never_fall_into_two_folds_whatever_the_scheme(scheme, rows, count, seed):
    rng = np.random.default_rng(seed)
    groups = some_groups(rows, count, rng)
    folds = make_folds(some_targets(scheme, rows, rng), scheme=scheme, count=count, seed=seed, groups=groups)
    assert (np.count_nonzero(sizes_by_label(folds, groups, count), axis=1) == 1).all()


@given(labels=st.lists(st.integers(0, 20), min_size=6, max_size=100), count=counts, seed=seeds, shuffle=st.booleans())
def test_stratified_folds_and_the_rows_of_a_class_in_them_differ_by_one_at_most(labels, count, seed, shuffle):
    folds = make_folds(np.array(labels), scheme="stratified", count=count, seed=seed, shuffle=shuffle)
    assert np.ptp(np.bincount(folds, minlength=count)) <= 1
    assert np.ptp(sizes_by_label(folds, np.array(labels), count), axis=1).max() <= 1


@given(
    sizes=st.lists(st.integers(6, 20), min_size=1, max_size=5),
    count=counts,
    seed=seeds,
    shuffle=st.booleans(),
    scheme=st.sampled_from(["plain", "stratified"]),
)
def test_without_rare_classes_folds_are_those_of_scikit_learn(sizes, count, seed, shuffle, scheme):
    targets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    splitter = {"plain": KFold, "stratified": StratifiedKFold}[scheme]
    expected = sklearn_folds(splitter(count, shuffle=shuffle, random_state=seed if shuffle else None), targets)
    folds = make_folds(targets, scheme=scheme, count=count, seed=seed, shuffle=shuffle)
    assert folds.tolist() == expected.tolist()


@pytest.mark.parametrize("scheme", ["stratified", "stratified_group", "binned_stratified"])
def test_no_class_has_a_row_for_every_fold(scheme):
    targets = np.repeat(np.arange(40), 2)
    folds = make_folds(targets, scheme=scheme, count=4, seed=0, groups=np.arange(80) if "group" in scheme else None)
    assert np.bincount(folds).tolist() == [20, 20, 20, 20]
    if scheme != "binned_stratified":
        assert sizes_by_label(folds, targets, 4).max() == 1


def test_classes_of_one_row_lie_elsewhere_with_another_seed():
    first, other = (make_folds(np.arange(50), scheme="stratified", count=5, seed=seed) for seed in (1, 2))
    assert (first != other).any()


@given(sizes=st.lists(st.integers(1, 50), min_size=6, max_size=40), count=counts, seed=seeds)
def test_whole_groups_fill_folds_that_differ_by_no_more_than_the_largest_group(sizes, count, seed):
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = make_folds(groups, scheme="group", count=count, seed=seed, groups=groups)
    assert np.ptp(np.bincount(folds, minlength=count)) <= max(sizes)


@given(seed=seeds, count=counts)
def test_stratified_groups_of_one_row_share_each_class_evenly(seed, count):
    targets = some_targets("stratified", 150, np.random.default_rng(seed))
    folds = make_folds(targets, scheme="stratified_group", count=count, seed=seed, groups=np.arange(150))
    assert np.ptp(sizes_by_label(folds, targets, count), axis=1).max() <= 1


@pytest.mark.parametrize("number", [2, 20])
def test_stratified_groups_are_as_even_as_those_of_scikit_learn(number):
    ours, theirs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        groups = rng.permutation(np.repeat(np.arange(300), rng.lognormal(1.5, 1, 300).astype(int) + 1))
        odds = rng.dirichlet(np.full(number, 0.3), 300).cumsum(axis=1)[groups]
        targets = (odds[:, :-1] < rng.random((len(groups), 1))).sum(axis=1)
        folds = make_folds(targets, scheme="stratified_group", count=5, seed=seed, groups=groups)
        ours.append(largest_gap(folds, targets))
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        theirs.append(largest_gap(sklearn_folds(splitter, targets, groups), targets))
    assert np.mean(ours) <= 1.2 * np.mean(theirs)


@given(seed=seeds, count=counts, compressed=st.booleans(), scheme=st.sampled_from(STRATIFIED[:3]))
@settings(max_examples=50)
def test_each_label_of_a_multilabel_table_has_nearly_equally_many_rows_in_all_folds(seed, count, compressed, scheme):
    labels = some_targets("multilabel_stratified", 300, np.random.default_rng(seed))
    groups = np.arange(300) if "group" in scheme else None
    targets = sparse.csr_matrix(labels) if compressed else labels
    folds = make_folds(targets, scheme=scheme, count=count, seed=seed, groups=groups)
    assert np.ptp(np.bincount(folds)) <= 12
    assert max(np.ptp(np.bincount(folds[column == 1], minlength=count)) for column in labels.T) <= 12


def test_labels_are_shared_more_evenly_than_by_plain_iterative_stratification():
    ours, theirs = [], []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        labels = some_targets("multilabel_stratified", 300, rng)
        ours.append(largest_gap(make_folds(labels, scheme="multilabel_stratified", count=5, seed=seed), labels))
        theirs.append(largest_gap(stratify_iteratively(labels, 5, rng), labels))
    assert np.mean(ours) < np.mean(theirs)


def test_a_label_of_few_rows_lies_in_as_many_folds():
    labels = (np.random.default_rng(0).random((500, 40)) < 0.1).astype(np.uint8)
    labels[:, 0] = np.arange(500) < 3
    folds = make_folds(labels, scheme="multilabel_stratified", count=5, seed=0)
    assert len(set(folds[:3])) == 3


def test_rows_without_a_label_are_spread_over_all_folds():
    folds = make_folds(sparse.csr_array((100, 8), dtype=np.uint8), scheme="multilabel_stratified", count=5, seed=0)
    assert np.bincount(folds).tolist() == [20] * 5


def test_the_labels_of_large_groups_are_shared_evenly_as_well():
    rng = np.random.default_rng(0)
    groups = rng.choice(400, 4000, p=(odds := rng.lognormal(0, 1, 400)) / odds.sum())
    labels = (rng.random((4000, 11)) < rng.beta(0.5, 2, (400, 11))[groups]).astype(np.uint8)
    even, whole = (
        make_folds(labels, scheme=scheme, count=5, seed=0, groups=groups)
        for scheme in ("multilabel_stratified", "group")
    )
    assert largest_gap(even, labels) < largest_gap(whole, labels) / 3


def test_a_zero_that_a_sparse_table_spells_out_is_no_label():
    dense = some_targets("multilabel_stratified", 60, np.random.default_rng(0))
    spelt = sparse.csr_array(np.ones_like(dense))
    spelt.data[:] = dense.ravel()
    folds, same = (make_folds(each, scheme="multilabel_stratified", count=3, seed=0) for each in (dense, spelt))
    assert folds.tolist() == same.tolist()


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=200), count=counts, seed=seeds)
def test_binned_folds_share_each_twentieth_of_the_sorted_values_evenly(values, count, seed):
    folds = make_folds(np.array(values), scheme="binned_stratified", count=count, seed=seed)
    bins = np.arange(len(values)) * min(20, len(values) // count) // len(values)
    assert np.bincount(bins).min() >= count
    assert np.ptp(sizes_by_label(folds[np.argsort(values, kind="stable")], bins, count), axis=1).max() <= 1


def test_values_of_binned_folds_have_nearly_one_mean():
    values = np.random.default_rng(0).exponential(size=5000)
    report = describe_folds(
        make_folds(values, scheme="binned_stratified", count=5, seed=0), targets=values, label_names=()
    )
    assert report.largest_gap < 0.02


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shuffle", [True, False])
def test_the_same_seed_gives_the_same_folds_and_another_one_others(scheme, shuffle):
    targets, groups = some_targets(scheme, 100, np.random.default_rng(0)), np.arange(100) // 2
    first, again, other = (
        make_folds(targets, scheme=scheme, count=5, seed=seed, shuffle=shuffle, groups=groups) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any() == shuffle


def test_unshuffled_plain_folds_are_blocks_of_consecutive_rows():
    folds = make_folds(TARGETS, scheme="plain", count=3, seed=0, shuffle=False)
    assert folds.tolist() == [0] * 20 + [1] * 20 + [2] * 20


@pytest.mark.parametrize("scheme", ["stratified", "stratified_group", "group"])
@given(seed=seeds)
@settings(max_examples=30)
def test_what_the_labels_are_called_changes_no_fold(scheme, seed):
    names = np.array(["007", "7", "", "Übel", "a,b c", "new\nline", "nan", "7.0"], dtype=object)
    numbers = np.random.default_rng(seed).integers(0, len(names), (2, 80))
    folds, same = (
        make_folds(targets, scheme=scheme, count=3, seed=seed, groups=groups if "group" in scheme else None)
        for targets, groups in (numbers, names[numbers])
    )
    assert folds.tolist() == same.tolist()


@given(seed=seeds)
def test_the_order_of_the_rows_changes_no_size_of_a_fold(seed):
    groups = some_groups(100, 5, np.random.default_rng(seed))
    folds, moved = (
        make_folds(each, scheme="group", count=3, seed=seed, groups=each)
        for each in (groups, np.random.default_rng(seed + 1).permutation(groups))
    )
    assert np.bincount(folds).tolist() == np.bincount(moved).tolist()


def test_groups_may_be_any_hashable_things():
    groups = np.empty(6, dtype=object)
    groups[:] = [("p", 1), None, 3, "3", ("p", 1), None]
    folds = make_folds(np.arange(6), scheme="group", count=4, seed=0, groups=groups)
    assert folds[0] == folds[4]
    assert folds[1] == folds[5]
    assert len(set(folds)) == 4


def test_fewer_rows_than_folds_is_an_error():
    with pytest.raises(KitsolveError, match="60 rows cannot make 61 folds"):
        make_folds(TARGETS, scheme="plain", count=61, seed=0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fewer_groups_than_folds_is_an_error(scheme):
    targets = some_targets(scheme, 60, np.random.default_rng(0))
    with pytest.raises(KitsolveError, match="3 groups cannot make 5 folds") as caught:
        make_folds(targets, scheme=scheme, count=5, seed=0, groups=np.arange(60) % 3)
    assert caught.value.hint == "lower folds.count."


def test_a_scheme_of_groups_without_groups_is_our_own_mistake():
    with pytest.raises(AssertionError, match="'group' needs groups"):
        make_folds(TARGETS, scheme="group", count=5, seed=0)


def test_a_report_counts_rows_shares_and_leaks():
    folds, targets = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 1])
    report = describe_folds(folds, targets=targets, label_names=["cat", "dog"], groups=np.array(list("aabbbc")))
    assert report.rows == [4, 2]
    assert report.shares == {"cat": [0.75, 0.0], "dog": [0.25, 1.0]}
    assert report.largest_gap == 0.5
    assert report.leaks == 1


@pytest.mark.parametrize("form", [np.array, sparse.csr_array, sparse.csr_matrix])
def test_a_report_of_label_sets_counts_the_rows_that_have_each_label(form):
    sets = form(np.array([[1, 0, 1], [0, 0, 1], [0, 1, 1]], dtype=np.uint8))
    report = describe_folds(np.array([0, 0, 1]), targets=sets, label_names=["x", "y", "z"])
    assert report.shares == {"z": [1.0, 1.0], "x": [0.5, 0.0], "y": [0.0, 1.0]}
    assert report.largest_gap == pytest.approx(2 / 3)


def test_a_report_shows_the_most_frequent_labels_and_measures_all():
    targets = np.concatenate([np.repeat(np.arange(30), 2), np.repeat(np.arange(30), 30 - np.arange(30)), [29]])
    folds = np.zeros(len(targets), dtype=np.int64)
    folds[targets == 29] = 1
    report = describe_folds(folds, targets=targets, label_names=[f"label {number}" for number in range(30)])
    assert list(report.shares) == [f"label {number}" for number in range(20)]
    assert report.largest_gap == pytest.approx(1 - 4 / len(targets))


def test_a_report_of_values_gives_means_and_their_gap_in_standard_deviations():
    report = describe_folds(np.array([0, 0, 1, 1]), targets=np.array([1.0, 3.0, 3.0, 5.0]), label_names=())
    assert report.shares == {"mean": [2.0, 4.0]}
    assert report.largest_gap == pytest.approx(1 / np.sqrt(2))


def test_a_report_of_one_value_has_no_gap():
    assert describe_folds(np.array([0, 1]), targets=np.array([2.0, 2.0]), label_names=()).largest_gap == 0


def test_classes_that_lie_in_one_fold_are_told():
    report = describe_folds(np.array([0, 0, 1, 1]), targets=np.array([0, 1, 0, 2]), label_names=["a", "b", "c"])
    assert report.notices == [
        "2 of 3 classes have all their rows in one fold, first 'b' (1 row): the model that is validated there never "
        "learns them."
    ]
    assert not describe_folds(np.array([0, 1]), targets=np.array([0, 0]), label_names=["a", "b"]).notices


def test_a_single_class_is_told():
    report = describe_folds(np.array([0, 1]), targets=np.array([0, 0]), label_names=["a"])
    assert report.notices == ["all rows have the label 'a': there is nothing to tell apart."]
