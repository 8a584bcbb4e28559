"""CASME: 189 micro-expressions of 19 subjects at 60 fps (Yan et al. 2013; the paper counts 195).

Layout: ``casme.xlsx`` under a varying name, or one sheet a section;
``Cropped/sub01/EP01_5/reg_EP01_5-113.jpg``, or ``Section A/sub01/EP01_5/EP01_5-113.jpg`` and ``Section B``.
"""

from pathlib import Path

import pandas as pd

from mer.data.casme2 import subject_name
from mer.data.clips import validate
from mer.data.database import DatabaseData
from mer.data.findings import Finding, Reading, place_of
from mer.data.layout import DEPTH, find_frames, find_sheet, subfolders
from mer.data.settle import settle
from mer.data.sheet import read_sheet
from mer.errors import MerError

FPS = 60
SHEETS = ("CASME*.xlsx", "CASME*.xls", "CASME*.csv", "Section*.xls*")
SECTION_SHEETS = ("*Section*A[._ ]*", "*Section*B[._ ]*")
# ApexF2 is a second apex that few clips have; the first one counts.
COLUMNS = {
    "subject": ["Subject"],
    "clip": ["Filename"],
    "onset": ["OnsetF", "OnsetFrame"],
    "apex": ["ApexF1", "ApexF", "ApexFrame"],
    "offset": ["OffsetF", "OffsetFrame"],
    "label": ["Emotion", "Estimated Emotion"],
}
LAYOUTS = {"cropped": ["Cropped"], "original": ["Section A", "Section B"]}
NO_OFFSET = "\\"  # the release's mark of an expression that has no offset
PUBLISHED_COUNTS = {
    "casme": {
        "tense": 67,
        "disgust": 43,
        "repression": 38,
        "surprise": 21,
        "happiness": 12,
        "sadness": 5,
        "fear": 2,
        "contempt": 1,
        "subjects": 19,
    }
}


def read_clips(root: Path, *, frames: str = "auto", sheet: str | None = None) -> Reading:
    """The clip table of CASME.

    A clip whose offset is marked as missing lasts up to its last frame.

    Args:
        root: the folder that holds the sheet and the frames, at most two levels deep.
        frames: ``cropped``, ``original`` (both sections), or ``auto``: cropped where it is there.
        sheet: the annotation file below the root, where there are several; two that are named after the
            sections are read as one.

    Raises:
        MerError: the sheet or the frames are missing, or the sheet is of an unknown version.
    """
    sheets = _find_sheets(root, sheet)
    layout, sections = _find_sections(root, frames)
    folders = [folder for section in sections for folder in subfolders(section, 2)]
    # Where a clip lies in both sections, the first counts; the other is then one that no row names.
    places = {(subject_name(folder.parent.name), folder.name): folder for folder in reversed(folders)}
    tables = [read_sheet(path, COLUMNS) for path in sheets]
    for rows in tables:
        rows["subject"] = [subject_name(subject) for subject in rows["subject"]]
        rows["label"] = rows["label"].str.lower()
        keys = list(zip(rows["subject"], rows["clip"], strict=True))
        rows["frames"] = [str(places.get(key, f"{sections[0]}/{key[0]}/{key[1]}")) for key in keys]
        rows["cropped"] = layout == "cropped"
    named = {name for rows in tables for name in rows["frames"]}
    unnamed = [folder for folder in folders if str(folder) not in named]
    readings = [
        settle(
            rows,
            source=path,
            database="casme",
            fps=FPS,
            folders=unnamed if path == sheets[-1] else (),
            findings=_open_ends(rows, path),
        )
        for path, rows in zip(sheets, tables, strict=True)
    ]
    return Reading(
        validate(pd.concat([reading.clips for reading in readings]), root),
        [finding for reading in readings for finding in reading.findings],
    )


def _find_sheets(root: Path, given: str | None) -> list[Path]:
    """The one annotation file, or one a section."""
    try:
        return [find_sheet(root, SHEETS, given=given)]
    except MerError as error:
        try:
            return [find_sheet(root, (pattern,)) for pattern in SECTION_SHEETS]
        except MerError:
            raise error from None


def _find_sections(root: Path, frames: str) -> tuple[str, list[Path]]:
    """The layout, and the folders that hold subjects: two sections where the frames are the original ones."""
    layout, first = find_frames(root, LAYOUTS, frames)
    names = [name.casefold() for name in LAYOUTS[layout]]
    below = [folder for level in range(1, DEPTH + 1) for folder in subfolders(root, level)]
    others = [folder for folder in below if folder.name.casefold() in names[1:] and folder != first]
    return layout, [first, *others]


def _open_ends(rows: pd.DataFrame, source: Path) -> list[Finding]:
    """Take the offsets that the release marks as missing out of the rows, and tell it."""
    marked = rows["offset"] == NO_OFFSET
    rows.loc[marked, "offset"] = None
    return [
        Finding(
            place=place_of(source, row["row"]),
            clip=f"casme/{row['subject']}/{row['clip']}",
            problem=f"offset '{NO_OFFSET}': the release marks none",
            outcome="used",
            action="up to the last frame",
            known=True,
        )
        for row in rows[marked].to_dict("records")
    ]


class CASMEDataModule(DatabaseData):
    """One fold of CASME; see ``DatabaseData``."""

    database = "casme"
    read_clips = staticmethod(read_clips)
