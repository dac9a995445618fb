import unicodedata

import pandas as pd
import pytest

from kitsolve.proposing.layout import Layout
from kitsolve.proposing.templates import Template, fill, find_templates


def make_layout(tmp_path, paths):
    return Layout(tmp_path, dict.fromkeys(paths))


def best(tmp_path, paths, **columns):
    return find_templates(pd.DataFrame(columns), make_layout(tmp_path, paths))[0]


IDS = ["00ab", "17cd", "1e50", "0017", "ffff"]


@pytest.mark.parametrize(
    ("form", "template"),
    [
        ("train/{0}.jpg", "train/{id}.jpg"),
        ("{0}.png", "{id}.png"),
        ("a b/c/{0}_rgb.tif", "a b/c/{id}_rgb.tif"),
        ("train/{0}/{0}.png", "train/{id}/{id}.png"),
        ("train/{0}/image.png", "train/{id}/image.png"),
        ("train/{0[0]}/{0}.npy", "train/{id[0]}/{id}.npy"),
        ("train/{0[0]}/{0[1]}/{0[2]}/{0}.jpg", "train/{id[0]}/{id[1]}/{id[2]}/{id}.jpg"),
        ("train/{0[0]}{0[1]}/{0}.jpg", "train/{id[0]}{id[1]}/{id}.jpg"),
        ("odd{{x}}/{0}.jpg", "odd{{x}}/{id}.jpg"),
    ],
)
def test_a_template_is_read_off_the_paths(form, template, tmp_path):
    found = best(tmp_path, [form.format(one) for one in IDS], id=IDS)
    assert (found.text, found.share) == (template, 1.0)


def test_other_columns_may_name_folders(tmp_path):
    patients = ["p1", "p1", "p2", "p2", "p3"]
    paths = [f"train/{patient}/view_{one}.png" for patient, one in zip(patients, IDS, strict=True)]
    assert best(tmp_path, paths, patient=patients, id=IDS).text == "train/{patient}/view_{id}.png"


def test_a_column_may_hold_a_whole_path(tmp_path):
    paths = [f"data/train/{one}.jpg" for one in IDS]
    assert best(tmp_path, paths, file=[f"train/{one}.jpg" for one in IDS]).text == "data/{file}"


def test_numbers_may_be_padded_in_the_file_name(tmp_path):
    numbers = ["1", "9", "10", "123", "77"]
    found = best(tmp_path, [f"img/x{int(one):05d}.png" for one in numbers], id=numbers)
    assert (found.text, found.share) == ("img/x{id:0>5}.png", 1.0)


def test_the_share_counts_all_rows(tmp_path):
    assert best(tmp_path, [f"{one}.jpg" for one in IDS[:4]], id=IDS).share == pytest.approx(0.8)


def test_a_part_of_a_longer_number_or_word_is_no_match(tmp_path):
    rows = pd.DataFrame({"id": ["12", "34", "56"]})
    assert find_templates(rows, make_layout(tmp_path, ["a/3123.jpg", "a/5342.jpg", "a/7561.jpg"])) == []


def test_two_templates_for_the_same_files_are_one(tmp_path):
    columns = {"id": IDS, "name": [f"{one}.jpg" for one in IDS]}
    assert [one.text for one in find_templates(pd.DataFrame(columns), make_layout(tmp_path, columns["name"]))] == [
        "{id}.jpg"
    ]


def test_columns_that_a_template_cannot_name_are_left_out(tmp_path):
    rows = pd.DataFrame({"img.name": IDS, "0": IDS})
    assert find_templates(rows, make_layout(tmp_path, [f"{one}.jpg" for one in IDS])) == []


def test_copies_in_other_folders_are_all_found(tmp_path):
    paths = [f"{folder}/{one}.jpg" for folder in ("big", "small") for one in IDS]
    found = find_templates(pd.DataFrame({"id": IDS}), make_layout(tmp_path, paths))
    assert {one.text for one in found if one.share == 1} == {"big/{id}.jpg", "small/{id}.jpg"}


def test_a_row_too_short_for_the_template_has_no_path():
    assert fill("{id[2]}/{id}.jpg", [{"id": "abc"}, {"id": "a"}, {"other": "abc"}]) == ["c/abc.jpg", "", ""]


def test_the_fields_of_a_template_are_its_columns():
    assert Template("{{x}}/{id[0]}/{Image Id:0>5}_{id}.png").fields == ["id", "Image Id"]


def test_files_of_several_suffixes_are_all_found_by_one_template(tmp_path):
    suffixes = [".jpg", ".JPG", ".jpeg", ".png"]
    ids = [f"a{number:02d}" for number in range(40)]
    paths = [f"train/{one}{suffixes[number % 4]}" for number, one in enumerate(ids)]
    found = find_templates(pd.DataFrame({"id": ids}), make_layout(tmp_path, paths))
    assert [(one.text, one.share) for one in found] == [("train/{id}.*", 1.0)]


def test_one_suffix_is_named_unless_the_other_split_leaves_it_open(tmp_path):
    rows, layout = pd.DataFrame({"id": IDS}), make_layout(tmp_path, [f"test/{one}.JPG" for one in IDS])
    assert find_templates(rows, layout)[0].text == "test/{id}.JPG"
    assert find_templates(rows, layout, like="train/{id}.*")[0].text == "test/{id}.*"


def test_images_in_two_formats_are_no_reason_to_leave_the_suffix_open(tmp_path):
    paths = [f"train/{one}{suffix}" for one in IDS[:4] for suffix in (".jpg", ".png")]
    found = find_templates(pd.DataFrame({"id": IDS}), make_layout(tmp_path, paths))
    assert {one.text for one in found} == {"train/{id}.jpg", "train/{id}.png"}


def test_names_are_found_in_another_unicode_form(tmp_path):
    names = [f"Grüße {number}" for number in range(5)]
    paths = [unicodedata.normalize("NFD", f"Bäume/{name}.jpg") for name in names]
    found = best(tmp_path, paths, id=names)
    assert (found.text, found.share) == ("Bäume/{id}.jpg", 1.0)
