"""The root may be the release's own folder, or one around it."""

import os
from pathlib import Path

import pytest

from mer.data.layout import find_frames, find_sheet, subfolders
from mer.errors import MerError

LAYOUTS = {"cropped": ["Cropped"], "original": ["RAW_selected", "RAW"]}


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix else path.mkdir(parents=True, exist_ok=True)


def test_sheet_is_found_at_the_root_or_two_levels_below(tmp_path: Path) -> None:
    make(tmp_path, "a/release/Coding-2014.XLSX", "a/release/~$Coding-2014.xlsx", "a/release/frames/sub01")
    found = tmp_path / "a/release/Coding-2014.XLSX"
    assert find_sheet(tmp_path, ["coding*.xlsx"]) == found
    assert find_sheet(found.parent, ["coding*.xlsx"]) == found


def test_no_sheet_and_two_sheets_are_errors_and_one_can_be_named(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"no annotation file \(coding\*.xlsx\); .*data.clips.sheet="):
        find_sheet(tmp_path, ["coding*.xlsx"])
    make(tmp_path, "coding-1.xlsx", "x/coding-2.xlsx")
    with pytest.raises(MerError, match=r"2 annotation files \(coding-1.xlsx, x/coding-2.xlsx\)"):
        find_sheet(tmp_path, ["coding*.xlsx"])
    assert find_sheet(tmp_path, ["coding*.xlsx"], given="x/coding-2.xlsx") == tmp_path / "x/coding-2.xlsx"


def test_frames_are_cropped_where_they_can_be_and_as_asked(tmp_path: Path) -> None:
    make(tmp_path, "release/raw/sub01", "release/cropped/sub01")
    assert find_frames(tmp_path, LAYOUTS) == ("cropped", tmp_path / "release/cropped")
    assert find_frames(tmp_path, LAYOUTS, "original") == ("original", tmp_path / "release/raw")
    assert find_frames(tmp_path / "release/raw", LAYOUTS) == ("original", tmp_path / "release/raw")
    with pytest.raises(MerError, match=r"data.clips.frames='big': choose auto, cropped, original"):
        find_frames(tmp_path, LAYOUTS, "big")


def test_missing_frames_name_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"no folder of frames; looked for Cropped, RAW_selected, RAW"):
        find_frames(tmp_path, LAYOUTS)


def test_subfolders_pass_over_files_and_hidden_ones(tmp_path: Path) -> None:
    make(tmp_path, "b/y", "a/x", "a/.x", ".c/z", "a/readme.txt")
    assert [path.relative_to(tmp_path).as_posix() for path in subfolders(tmp_path, 2)] == ["a/x", "b/y"]


def test_a_folder_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"s\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    with pytest.raises(MerError, match=r"s\\xe9: this name is not UTF-8; rename it"):
        subfolders(tmp_path)


def test_a_link_to_itself_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    make(tmp_path, "a/x")
    assert subfolders(tmp_path) == [tmp_path / "a"]
