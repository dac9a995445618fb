import numpy as np
import pytest
from conftest import write_shades

from kitsolve.data.duplicates import hash_image
from kitsolve.data.fetch import fetch
from kitsolve.reporting.duplicates import count_bits, find_duplicates, find_pairs, read_hashes, show_duplicates
from kitsolve.reporting.thumbnails import draw_files
from kitsolve.workspace import Workspace


@pytest.fixture
def twins(tmp_path):
    """Shades where test t001 is train 0004, and train 0000 (bright) is train 0001 (dark)."""
    raw = write_shades(tmp_path)
    (raw / "test" / "t001.png").write_bytes((raw / "train" / "0004.png").read_bytes())
    (raw / "train" / "0001.png").write_bytes((raw / "train" / "0000.png").read_bytes())
    workspace = Workspace(tmp_path)
    fetch(workspace, "shades", source=raw)
    return workspace


def ids(found, pairs):
    return [(found.images.ids[one], found.images.ids[other], bits) for one, other, bits in pairs.tolist()]


def test_twins_across_train_and_test_and_under_two_labels_are_found(twins):
    found = find_duplicates(twins, "shades")
    assert ids(found, found.leaks) == [("0004", "t001", 0)]
    assert ids(found, found.conflicts) == [("0000", "0001", 0)]
    assert found.pairs == 2


def test_pairs_are_shown_as_pictures_with_their_labels(twins):
    body = show_duplicates(twins, find_duplicates(twins, "shades")).body
    assert "In train and in test: 1 pair<" in body
    assert "In train, with different labels: 1 pair<" in body
    assert body.count('<img src="data:image/jpeg;base64,') == 4
    for text in ("train 0004, test t001, 0 bits", "<b>dark</b>", "<td>bright</td>", "<td>dark</td>"):
        assert text in body


def test_twins_in_two_folds_are_said_to_flatter_the_score(twins):
    (twins.tables("shades") / "folds.csv").write_text(
        "image_id,fold\n" + "".join(f"{row:04d},{row % 2}\n" for row in range(36))
    )
    found = find_duplicates(twins, "shades")
    assert found.split == 1
    assert "1 pairs within train lie in different folds" in show_duplicates(twins, found).body


def test_hashes_are_computed_once_for_all_reports(twins, monkeypatch):
    first = find_duplicates(twins, "shades")
    monkeypatch.setattr("kitsolve.reporting.duplicates.check_images", None)
    monkeypatch.setattr("kitsolve.reporting.duplicates.MOST_IMAGES", 10)
    assert find_duplicates(twins, "shades").hashes.tolist() == first.hashes.tolist()


def test_an_image_that_was_replaced_is_hashed_anew(twins):
    images = find_duplicates(twins, "shades").images
    (twins.raw("shades") / "train" / "0002.png").write_bytes((twins.raw("shades") / "test" / "t000.png").read_bytes())
    hashes = read_hashes(twins, images)
    assert hashes[images.ids.index("0002")] == hashes[images.ids.index("t000")]


def test_too_many_images_are_left_out_with_a_word(twins, monkeypatch):
    monkeypatch.setattr("kitsolve.reporting.duplicates.MOST_IMAGES", 42)
    found = find_duplicates(twins, "shades")
    assert (found.hashes, len(found.leaks)) == (None, 0)
    assert "Left out: 43 images are more than 42." in show_duplicates(twins, found).body


def test_every_near_pair_is_found_and_no_other_one():
    rng = np.random.default_rng(0)
    base = rng.integers(1, 2**63, size=40, dtype=np.uint64)
    flips = np.uint64(1) << rng.integers(0, 64, size=(40, 3)).astype(np.uint64)
    hashes = np.concatenate([base, base ^ flips[:, 0] ^ flips[:, 1], base ^ np.bitwise_xor.reduce(flips, axis=1)])
    expected = {
        (one, other, bits)
        for one in range(120)
        for other in range(one + 1, 120)
        if (bits := int(hashes[one] ^ hashes[other]).bit_count()) <= 3
    }
    pairs = find_pairs(hashes)
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    assert (np.diff(pairs[:, 2]) >= 0).all()


def test_bits_are_counted():
    assert count_bits(np.array([0, 1, 2**64 - 1, 2**63 + 8], dtype=np.uint64)).tolist() == [0, 1, 64, 2]


def test_plain_images_are_no_pairs():
    plain = np.full((2,), hash_image(np.full((9, 9, 3), 77, dtype=np.uint8)))
    assert not len(find_pairs(plain))


def test_the_search_ends_somewhere(monkeypatch):
    monkeypatch.setattr("kitsolve.reporting.duplicates.MOST_PAIRS", 100)
    assert len(find_pairs(np.full(500, 3, dtype=np.uint64))) == 100


def test_thumbnails_are_as_small_as_said(twins):
    found = find_duplicates(twins, "shades")
    (picture,) = draw_files([twins.raw("shades") / "train" / "0000.png"], found.images.train, side=48)
    assert 'width="48" height="40"' in picture
