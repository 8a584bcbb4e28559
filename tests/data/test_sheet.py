"""Sheets as released and as people save them again: the header is found by its names."""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import xlwt

from mer.data import workbook
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


# Files that would end or fill the process.


def rewrite(path: Path, member: str, change: Callable[[bytes], bytes]) -> None:
    """Change one part of a workbook."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert any(name.endswith(member) for name in parts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name.endswith(member) else content)


def test_a_cell_at_the_far_corner_does_not_end_the_process(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["x", 2]], header=["a", "b"], sheet="S")
    rewrite(path, "sheet1.xml", lambda xml: xml.replace(b'r="B2"', b'r="XFD1048576"'))
    with pytest.raises(MerError, match=r"s\.xlsx: its cells reach over \d+ rows and \d+ columns"):
        read_cells(path)


def test_cells_that_do_not_say_where_they_are_count_too(tmp_path: Path) -> None:
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["x", 2]], header=["a", "b"], sheet="S")
    wide = b'<row r="1000000">' + b"<c><v>1</v></c>" * 100 + b"</row></sheetData>"
    rewrite(path, "sheet1.xml", lambda xml: xml.replace(b"</sheetData>", wide))
    with pytest.raises(MerError, match=r"s\.xlsx: its cells reach over"):
        read_cells(path)


def test_a_workbook_that_unpacks_hugely_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "MOST_BYTES", 1 << 20)
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["x", 2]], header=["a", "b"], sheet="S")
    assert read_cells(path) == [["a", "b"], ["x", "2"]]
    rewrite(path, "sheet1.xml", lambda xml: xml.replace(b"</sheetData>", b" " * (1 << 20) + b"</sheetData>"))
    assert path.stat().st_size < 10_000
    with pytest.raises(MerError, match=r"s\.xlsx: unpacks to more than 1 MB"):
        read_cells(path)


def test_a_damaged_old_workbook_ends_its_own_process_only(tmp_path: Path) -> None:
    path = tmp_path / "s.xls"
    book = xlwt.Workbook()
    page = book.add_sheet("S")
    page.write(0, 0, "corner")
    page.write(1, 1, 1.5)
    book.save(str(path))
    assert read_cells(path) == [["corner", None], [None, "1.5"]]
    # The record of a number: its row and column become 65535.
    found = path.read_bytes().index(b"\x7e\x02\x0a\x00\x01\x00\x01\x00")
    content = path.read_bytes()
    path.write_bytes(content[: found + 4] + b"\xff\xff\xff\xff" + content[found + 8 :])
    with pytest.raises(MerError, match=r"s\.xls: not a spreadsheet that can be read \(its reader crashed\)"):
        read_cells(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b'Subject,OnsetFrame,OffsetFrame\n"s1,1,2\ns2,3,4\n',
            r"row 2 is no row of a CSV .*quote not closed",
        ),
        (b"Subject,OnsetFrame,OffsetFrame\n" + b"x" * 200_000 + b",1,2\n", "row 2 .*field limit"),
        ("Subject,OnsetFrame,OffsetFrame\ns1,1,2\n".encode("utf-16"), "not a text table; save it as CSV"),
        (
            b"s1,1,2\nSubject,OnsetFrame,OffsetFrame\n",
            "row 1 looks like a clip but stands above the header in row 2",
        ),
        (b"Subject,OnsetFrame,OffsetFrame,Subject\ns1,1,2,s9\n", "2 columns are named Subject and differ"),
    ],
)
def test_what_would_lose_rows_unsaid_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_bytes(content)
    with pytest.raises(MerError, match=rf"s\.csv: {message}"):
        read_sheet(path, COLUMNS)


def test_other_kinds_of_files_are_no_sheets(tmp_path: Path) -> None:
    (tmp_path / "s.ods").write_bytes(b"")
    with pytest.raises(MerError, match=r"s\.ods: an annotation file is \.xlsx, \.xls or \.csv"):
        read_cells(tmp_path / "s.ods")


def test_a_text_that_many_cells_repeat_fills_no_memory(tmp_path: Path) -> None:
    """120 cells that name one shared text of 20 MB: an .xlsx of 30 KB that would take 5 GB."""
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["x", 2]], header=["a", "b"], sheet="S")
    rows = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 121))
    rewrite(
        path,
        "sheet1.xml",
        lambda xml: xml[: xml.index(b"<sheetData>") + 11] + rows.encode() + xml[xml.index(b"</sheetData>") :],
    )
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"
    link = f'<Relationship Id="rId99" Type="{kind}" Target="sharedStrings.xml"/></Relationships>'
    rewrite(path, "workbook.xml.rels", lambda xml: xml.replace(b"</Relationships>", link.encode()))
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    for length, read in ((20 << 10, True), (20 << 20, False)):
        shutil.copy(path, tmp_path / "copy.xlsx")
        with zipfile.ZipFile(tmp_path / "copy.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/sharedStrings.xml", f"<sst {space}><si><t>{'A' * length}</t></si></sst>")
        if read:
            assert read_cells(tmp_path / "copy.xlsx") == [["A" * length]] * 120
        else:
            with pytest.raises(MerError, match=r"copy\.xlsx: not a spreadsheet that can be read"):
                read_cells(tmp_path / "copy.xlsx")


def test_what_is_read_by_another_process_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.xlsx"
    write_sheet(path, [["x", 2], [None, "zoë"]], header=["a", "b"], sheet="S")
    here = read_cells(path, sheet="S")
    monkeypatch.setattr(workbook, "MOST_TEXT", 0)
    monkeypatch.setattr(workbook, "_cells", None)  # not in this one
    assert read_cells(path, sheet="S") == here
