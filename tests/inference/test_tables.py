"""Any table comes back whole, or its line is named; never are cells shifted, joined or lost."""

from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kitsolve.inference.cells import split_cells
from kitsolve.inference.encodings import BLANKS, read_text
from kitsolve.inference.submission import write_submission
from kitsolve.inference.tables import _read_plain, read_table, table_bytes
from kitsolve.workspace import read_csv, write_csv

ODD = [
    "007",
    "1e5",
    "+5",
    "0x10",
    "=1+1",
    "#x",
    "a b",
    " a",
    "a ",
    'x"y',
    '"',
    "a\rb",
    "a\nb",
    "a\r\nb",
    "x,y",
    ";",
    "é",
    "NA",
]
CELLS = st.one_of(
    st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
)
PLAIN = st.text("abcXYZ0189_-.é/", min_size=1, max_size=6)


@st.composite
def tables(draw, cells=CELLS, least=1, most=4):
    """Columns with different names, and at least a row."""
    width = draw(st.integers(least, most))
    names = draw(st.lists(cells.filter(str.strip), min_size=width, max_size=width, unique_by=lambda name: name.strip()))
    rows = draw(st.lists(st.lists(cells, min_size=width, max_size=width), min_size=1, max_size=8))
    return names, rows


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(tables())
@settings(max_examples=150)
def test_what_we_write_comes_back_whole(tmp_path_factory, table):
    names, rows = table
    frame = pd.DataFrame(rows, columns=names, dtype=str)
    path = tmp_path_factory.getbasetemp() / "own.csv"
    write_csv(path, frame)
    assert (list(read_csv(path)), read_csv(path).to_numpy().tolist()) == (names, rows)
    write_submission(frame, path)
    assert (list(read_csv(path)), read_csv(path).to_numpy().tolist()) == (names, rows)
    by_pandas = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False)
    assert by_pandas.to_numpy().tolist() == rows


def as_text(names, rows, separator, end, quoted, *, blank="", trailing=False):
    """The table as CSV; `quoted` tells for each cell whether it stands in quotation marks."""
    lines, turn = [], iter(quoted)
    for row in [names, *rows]:
        cells = [f'"{cell}"' if next(turn) else f"{blank}{cell}{blank}" for cell in row]
        lines.append(separator.join(cells) + (separator if trailing and row is not names else ""))
    return end.join(lines) + end


@given(
    tables(PLAIN, least=2),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", " ", "\xa0"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
    st.booleans(),
    st.data(),
)
@settings(max_examples=150)
def test_separators_encodings_line_ends_marks_and_blanks_change_nothing(
    tmp_path_factory, table, separator, end, blank, encoding, trailing, data
):
    names, rows = table
    quoted = data.draw(
        st.lists(st.booleans(), min_size=len(names) * (len(rows) + 1), max_size=len(names) * (len(rows) + 1))
    )
    text = as_text(names, rows, separator, end, quoted, blank=blank, trailing=trailing)
    path = write(tmp_path_factory.getbasetemp() / "table.csv", text.encode(encoding))
    table = read_table(path, None if encoding != "utf-16-le" else encoding)
    assert (list(table.rows), table.rows.to_numpy().tolist()) == (names, rows)
    assert len(table.notices) == (separator != ",") + trailing + (encoding == "utf-16")


@given(tables(least=1), st.booleans())
@settings(max_examples=150)
def test_pandas_and_the_closer_look_agree_on_every_text(tmp_path_factory, table, spelt):
    names, rows = table
    path = write(tmp_path_factory.getbasetemp() / "table.csv", table_bytes(pd.DataFrame(rows, columns=names)))
    assume(path.read_text().strip(BLANKS + "\r\n"))
    found = replace(read_text(path), separator=",")
    quick = _read_plain(found, spelt=spelt)
    if quick is not None:
        header, cells, trailing = split_cells(found, spelt=spelt)
        assert (quick[0], quick[1].to_numpy().tolist(), quick[2]) == (header, cells.to_numpy().tolist(), trailing)


@given(tables(PLAIN, least=2), st.data())
@settings(max_examples=150)
def test_a_cell_too_many_or_too_few_names_its_line(tmp_path_factory, table, data):
    names, rows = table
    rows = [*rows, ["x"] * len(names), ["y"] * len(names)]
    odd = data.draw(st.integers(0, len(rows) - 1))
    cells = rows[odd]
    changed = data.draw(st.sampled_from([cells[:-1], [*cells, "z"], [cells[0], *cells]]))
    lines = [",".join(row) for row in (names, *rows[:odd], changed, *rows[odd + 1 :])]
    path = write(tmp_path_factory.getbasetemp() / "table.csv", "\n".join(lines))
    with pytest.raises(ValueError, match=rf"table\.csv, line {odd + 2}: .* where the header has {len(names)}"):
        read_table(path)


@given(st.integers(2, 4), st.integers(3, 12), st.data())
@settings(max_examples=150)
def test_stray_quotation_marks_never_swallow_rows(tmp_path_factory, width, count, data):
    rows = [[f"tr{row:03d}", *(data.draw(PLAIN) for _ in range(width - 1))] for row in range(count)]
    first, column = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, width - 1))
    rows[first][column] = '"' + rows[first][column]
    if data.draw(st.booleans()) and first + 1 < count:  # and another one closes it in a later row
        last = data.draw(st.integers(first + 1, count - 1))
        rows[last][data.draw(st.integers(0, width - 1))] += '"'
    names = ["id", *(f"c{number}" for number in range(1, width))]
    path = write(tmp_path_factory.getbasetemp() / "table.csv", "\n".join(map(",".join, [names, *rows])) + "\n")
    with pytest.raises(ValueError, match=r"table\.csv, line \d+: "):
        read_table(path)


@given(tables(PLAIN, least=2), st.data())
@settings(max_examples=150)
def test_a_file_that_is_cut_off_is_refused_or_has_lost_its_end_alone(tmp_path_factory, table, data):
    names, rows = table
    content = "\n".join(map(",".join, [names, *rows])).encode()
    cut = content[: data.draw(st.integers(1, len(content)))]
    path = write(tmp_path_factory.getbasetemp() / "table.csv", cut)
    try:
        read = read_table(path).rows
    except ValueError:
        return
    if list(read) == names and len(read):  # a header that is cut off is another one
        assert read.to_numpy().tolist()[:-1] == rows[: len(read) - 1]
        assert all(cell.startswith(part) for cell, part in zip(rows[len(read) - 1], read.iloc[-1], strict=True))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is empty"),
        ("\r\n \n", "is empty"),
        ("a,b\n1,\0\n", "line 2: there is a NUL byte"),
        ("a,a\n1,2\n", "line 1: the header has the column 'a' twice"),
        ("a, a\n1,2\n", "line 1: the header has the column 'a' twice"),
        ('a,b\n1,2\n3,"4\n5,6\n', "line 3: a quotation mark opens a cell and is never closed"),
        ('a,b\nx1,"u\nx2,v"\nx3,w\n', "line 2: a quotation mark opens that swallows line 3, 'x2,v\"'"),
        ('a,b\n1,"2"3\n', "line 2: a quotation mark stands within a cell"),
        ('a,b\n"x\n\ny",1\n2\n', "line 5: '2' is 1 cell, where the header has 2; perhaps the file is cut off"),
        ("a,b\n1,2,\n3,4\n", "line 2: '1,2,' is 3 cells, where the header has 2"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_by_line(tmp_path, content, problem):
    with pytest.raises(ValueError, match=r"table\.csv") as caught:
        read_table(write(tmp_path / "table.csv", content))
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("\n\na,b\n\n1,2\n   \n3,4\n\n", [["1", "2"], ["3", "4"]]),
        ("a b\n1  2\n3 4\n", [["1", "2"], ["3", "4"]]),
        ("file name\nmy image\n", [["my image"]]),
        ("sep=;\na;b\n1;2,5\n", [["1", "2,5"]]),
        ('id,text\nx1,"A nice, cat\nand a dog, too"\n', [["x1", "A nice, cat\nand a dog, too"]]),
        ('id,size\nx1,5" pipe\n', [["x1", '5" pipe']]),
        ('id,size\n"x""1","5"\n"a\nb","6"\n', [['x"1', "5"], ["a\nb", "6"]]),
        ('a,b\n" x ", "y" \n', [[" x ", "y"]]),
        ("a,b,\n1,2,\n", [["1", "2"]]),
        (",b\n0,1\n", [["0", "1"]]),
        ("a,b\n", []),
    ],
)
def test_a_table_that_people_write_is_read(tmp_path, content, rows):
    assert read_table(write(tmp_path / "table.csv", content)).rows.to_numpy().tolist() == rows


def test_an_index_without_a_name_stays_and_can_be_named_in_a_template(tmp_path):
    path = write(tmp_path / "table.csv", ",b,\n0,1,x\n")
    assert list(read_table(path).rows) == ["unnamed_0", "b", "unnamed_2"]
    assert list(read_table(write(path, ",b\n0,1\n"), spelt=True).rows) == ["", "b"]


def test_an_encoding_that_the_facts_name_is_obeyed_and_a_wrong_one_is_told(tmp_path):
    path = write(tmp_path / "table.csv", "a,b\n1,é\n".encode("latin-1"))
    assert (read_table(path, "latin-1").rows.b[0], read_table(path, "latin-1").notices) == ("é", ())
    assert read_table(path).notices == ("table.csv is not utf-8 and was read as cp1252.",)
    with pytest.raises(ValueError, match=r'table.csv, line 2: this is not utf-8.* encoding = "cp1252"'):
        read_table(path, "utf-8")
    for encoding in ("utf-16", "utf-16-le"):
        with pytest.raises(ValueError, match=f'encoding = "{encoding}"'):
            read_table(write(path, "a,b\n1,2\n".encode(encoding)), "utf-8")
    with pytest.raises(ValueError, match="no encoding 'klingon'"):
        read_table(path, "klingon")
