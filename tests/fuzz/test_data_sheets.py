"""Annotation sheets, damaged in every way: refused in one line, or each row is a clip or told."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

import pytest
import xlwt
from hypothesis import given, settings
from hypothesis import strategies as st

from mer.data import casme, casme2, casme_sq, ckplus, folder, samm, smic
from mer.data.findings import Reading
from mer.data.sheet import read_cells
from mer.data.standins import write_standin
from mer.errors import MerError
from tests import trust
from tests.fuzz.sheets import CELLS, Grid, damages, read_grid, spoil, write_grid

SHEETS: dict[str, tuple[Callable[[Path], Reading], str]] = {
    "casme": (casme.read_clips, "casme.xlsx"),
    "casme2": (casme2.read_clips, "CASME2-coding-20140508.xlsx"),
    "casme_sq": (casme_sq.read_clips, "CAS(ME)^2code_final.xlsx"),
    "samm": (samm.read_clips, "SAMM_Micro_FACS_Codes_v2.xlsx"),
    "smic": (partial(smic.read_clips, frames="long"), "HS_long/SMIC-HS-E_annotation.xlsx"),
    "folder": (folder.read_clips, "clips.csv"),
}
TRIES = settings().max_examples
FEW = settings(max_examples=TRIES // 2)
FEWER = settings(max_examples=max(6, TRIES // 8))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("standins")
    return {name: write_standin(name, base / name, size=8) for name in (*SHEETS, "ckplus")}


@contextmanager
def kept(path: Path) -> Iterator[None]:
    """The file as it was, whatever happens to it meanwhile."""
    content = path.read_bytes()
    try:
        yield
    finally:
        path.write_bytes(content)


def read(name: str, root: Path) -> Reading | MerError:
    reader = SHEETS[name][0]
    result = trust.attempt("input", f"annotation sheet of {name}", lambda: reader(root))
    if isinstance(result, Reading):
        for finding in result.findings:
            assert "\n" not in str(finding), str(finding)
    return result


@cache
def grid_of(path: Path) -> Grid:
    """The cells of a sheet, every row as long as the longest."""
    return even(read_grid(path))


def even(grid: Grid) -> Grid:
    width = max(map(len, grid), default=0)
    return [[*line, *[None] * (width - len(line))] for line in grid]


@cache
def clips_of(name: str, root: Path) -> set[tuple[str, ...]]:
    """(subject, clip) of the sheet as it is."""
    reading = read(name, root)
    assert isinstance(reading, Reading)
    return names_in(reading)


def names_in(reading: Reading) -> set[tuple[str, ...]]:
    return set(reading.clips[["subject", "clip"]].itertuples(index=False, name=None))


@pytest.mark.parametrize("name", sorted(SHEETS))
@given(data=st.data())
@FEW
def test_a_damaged_sheet_is_read_or_refused(name: str, roots: dict[str, Path], data: st.DataObject) -> None:
    root = roots[name]
    path = root / SHEETS[name][1]
    grid = grid_of(path)
    for _ in range(data.draw(st.integers(1, 3))):
        if grid and grid[0]:
            grid = even(data.draw(damages(len(grid), len(grid[0]))).apply(grid))
    with kept(path):
        if write_grid(path, grid):
            read(name, root)


@pytest.mark.parametrize("name", sorted(SHEETS))
@given(data=st.data())
@FEW
def test_no_clip_is_dropped_unsaid_for_one_cell(
    name: str, roots: dict[str, Path], data: st.DataObject
) -> None:
    root = roots[name]
    path = root / SHEETS[name][1]
    grid, before = grid_of(path), clips_of(name, root)
    header = {"samm": 13, "casme_sq": -1}.get(name, 0)
    rows: Grid = [list(line) for line in grid]
    at = data.draw(st.integers(header + 1, len(grid) - 1)), data.draw(st.integers(0, len(grid[-1]) - 1))
    rows[at[0]][at[1]] = data.draw(CELLS)
    with kept(path):
        if not write_grid(path, rows):
            return
        after = read(name, root)
    if isinstance(after, MerError):
        return
    told = "\n".join(map(str, after.findings))
    for _, clip in before - names_in(after):
        # The clip is told, or its row: the name itself may have been what was changed.
        assert f", row {at[0] + 1}:" in told or f"/{clip}:" in told or len(after.clips) >= len(before), told


@pytest.mark.parametrize("name", sorted(SHEETS))
@given(data=st.data())
@FEWER
def test_bytes_of_a_sheet_are_read_or_refused(name: str, roots: dict[str, Path], data: st.DataObject) -> None:
    path = roots[name] / SHEETS[name][1]
    content = path.read_bytes()
    with kept(path):
        path.write_bytes(spoil(data, content))
        read(name, roots[name])


@given(data=st.data())
def test_parts_of_a_workbook_are_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Bytes of the XML, which the checksums of the archive would otherwise hide."""
    path = tmp_path_factory.getbasetemp() / "parts.xlsx"
    if not path.is_file():
        write_grid(path, [["Subject", 1, 2.5], ["x", None, "y"], [3, 4, 5]])
    with zipfile.ZipFile(path) as archive:
        parts = {member.filename: archive.read(member) for member in archive.infolist()}
    name = data.draw(st.sampled_from(sorted(parts)))
    parts[name] = spoil(data, parts[name])
    spoilt = path.with_name("spoilt.xlsx")
    with zipfile.ZipFile(spoilt, "w") as archive:
        for member, content in parts.items():
            archive.writestr(member, content)
    trust.attempt("input", "parts of a workbook", lambda: read_cells(spoilt))


@given(data=st.data())
@FEWER  # each starts a process
def test_an_old_workbook_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "old.xls"
    book = xlwt.Workbook()
    page = book.add_sheet("S")
    for place in range(30):
        page.write(place // 5, place % 5, ["text", place, 1.5][place % 3])
    book.save(str(path))
    path.write_bytes(spoil(data, path.read_bytes()))
    trust.attempt("input", "old workbook", lambda: read_cells(path))


@given(data=st.data())
def test_labels_and_landmarks_of_ckplus_are_read_or_refused(
    roots: dict[str, Path], data: st.DataObject
) -> None:
    root = roots["ckplus"]
    files = [
        *(root / "Emotion").rglob("*_emotion.txt"),
        *(root / "Landmarks").rglob("*00000001_landmarks.txt"),
    ]
    path = data.draw(st.sampled_from(sorted(files)))
    with kept(path):
        path.write_bytes(spoil(data, path.read_bytes()))
        before = len(list((root / "Emotion").rglob("*_emotion.txt")))
        result = trust.attempt("input", "CK+ labels and landmarks", lambda: ckplus.read_clips(root))
    if isinstance(result, Reading):
        left_out = [f for f in result.findings if f.clip and f.outcome == "left out"]
        assert len(result.clips) + len(left_out) == before
    else:
        raise result
