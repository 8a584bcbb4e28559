"""Sheets as released and as people save them again: the header is found by its names."""

from pathlib import Path

import pytest

from mer.data.sheet import read_cells, read_sheet
from mer.data.standins.tree import write_sheet
from mer.errors import MerError

COLUMNS = {
    "subject": ["Subject"],
    "onset": ["OnsetFrame", "OnsetF"],
    "offset": ["OffsetFrame"],
    "units?": ["AU"],
}


def test_header_is_found_below_a_preamble_and_by_any_of_its_names(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    header = ["", "Onset Frame", "subject ", "Notes", "Offset_Frame"]
    rows: list[list[object]] = [[None, 46, "01", "x", 86.0], [None] * 5, [None, "/", 2, None, " 9 "]]
    write_sheet(path, rows, header=header, sheet="MICRO", above=13)
    table = read_sheet(path, COLUMNS)
    assert table.to_dict("records") == [
        {"subject": "01", "onset": "46", "offset": "86", "units": None, "row": 15},
        {"subject": "2", "onset": "/", "offset": "9", "units": None, "row": 17},
    ]


def test_sheets_are_chosen_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    write_sheet(path, [[1]], header=["a"], sheet="naming rule1")
    write_sheet(path, [[2]], header=None, sheet="CASFEcode_final")
    assert read_cells(path) == [["a"], ["1"]]
    assert read_cells(path, sheet="CASFE") == [["2"]]
    with pytest.raises(MerError, match=r"s.xlsx: no sheet HS; there are naming rule1, CASFEcode_final"):
        read_cells(path, sheet="HS")


@pytest.mark.parametrize(
    ("content", "subject"),
    [
        ("Subject,OnsetFrame,OffsetFrame\nsé,1,2\n".encode(), "sé"),
        ("Subject;OnsetFrame;OffsetFrame\nsé;1;2\n".encode("latin-1"), "sé"),
        ('\ufeffSubject\tOnsetFrame\tOffsetFrame\n"a\tb"\t1\t2\n'.encode(), "a\tb"),
    ],
)
def test_csv_in_the_encodings_and_delimiters_of_spreadsheet_programs(
    tmp_path: Path, content: bytes, subject: str
) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    assert read_sheet(path, COLUMNS)["subject"].tolist() == [subject]


def test_another_version_names_the_columns_that_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["01", 2]], header=["Subject", "Start"], sheet="Sheet1")
    with pytest.raises(
        MerError, match=r"s.xlsx: no header row with the column\(s\) OnsetFrame, OffsetFrame; "
    ):
        read_sheet(path, COLUMNS)


def test_what_is_no_spreadsheet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    with pytest.raises(MerError, match=r"s.xlsx: no such annotation file"):
        read_cells(path)
    write_sheet(path, [[1]], header=["a"], sheet="x")
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(MerError, match=r"s.xlsx: not a spreadsheet that can be read .*copy it again"):
        read_cells(path)
