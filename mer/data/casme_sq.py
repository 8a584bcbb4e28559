"""CAS(ME)^2: 300 macro- and 57 micro-expressions of 22 subjects in 87 videos at 30 fps (Qu et al. 2018).

Layout: ``CAS(ME)^2code_final.xlsx``; a folder for each long video,
``rawpic/s15/15_0101disgustingteeth/img001.jpg``, or for each expression,
``selectedpic/s16/disgust1_3/img552.jpg`` and ``cropped/16/disgust1_3/img552.jpg``.
A clip is the part from onset to offset, named ``<video>_<number of the expression>_<onset>``.
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from mer.data.database import DatabaseData
from mer.data.findings import Finding, Outcome, Reading, place_of
from mer.data.frames import list_frames
from mer.data.layout import find_frames, find_sheet, subfolders
from mer.data.settle import settle
from mer.data.sheet import read_cells
from mer.errors import MerError

Kind = Literal["all", "micro", "macro"]
Label = Literal["self_report", "emotion", "video"]

FPS = 30
SHEETS = ("*code_final*.xlsx", "*code_final*.xls", "*code_final*.csv")
SHEET = "CAS"  # CASFEcode_final or CASMEcode_final: both names are in use
# There is no header row: the columns are these, in this order.
COLUMNS = ["number", "video", "onset", "apex", "offset", "units", "emotion", "type", "self_report"]
TYPES = ("micro-expression", "macro-expression")
LAYOUTS = {"cropped": ["cropped"], "original": ["rawpic"], "selected": ["selectedpic"]}
# Number in the sheet -> number in the names of folders, in order: 1 is 15, 22 is 40.
FOLDERS = dict(enumerate([15, 16, *range(19, 28), *range(29, 39), 40], start=1))
VIDEOS = {
    "disgust1": "0101",
    "disgust2": "0102",
    "anger1": "0401",
    "anger2": "0402",
    "happy1": "0502",
    "happy2": "0503",
    "happy3": "0505",
    "happy4": "0507",
    "happy5": "0508",
}
TYPOS = {"happyiness": "happiness"}
# Of label="self_report", as AffectiveNet prints them (345 clips); OrigiNet has 151 for happiness (341).
# The sheet has 357 rows; how either paper chose among them is not printed.
PUBLISHED_COUNTS = {"casme_sq": {"anger": 102, "happiness": 155, "disgust": 88, "subjects": 22}}
# Of kind="micro", label="emotion".
MICRO_COUNTS = {"casme_sq": {"negative": 21, "others": 19, "surprise": 9, "positive": 8}}

Row = dict[str, Any]


def read_clips(
    root: Path,
    *,
    frames: str = "auto",
    sheet: str | None = None,
    kind: Kind = "all",
    label: Label = "self_report",
) -> Reading:
    """The clip table of CAS(ME)^2.

    Where the sheet has the offset 0, the apex is taken as the offset; an apex that is 0 or after the offset
    is missing. A long video without any row is no finding: nothing has to happen in it. With the long videos,
    ``Reading.still`` has those in which no row of this ``kind`` lies: without kind=all they may show
    expressions of the other one. A video whose row cannot be used is not among them.

    Args:
        root: the folder that holds the sheet and the frames, at most two levels deep.
        frames: ``cropped``, ``original`` (long videos), ``selected`` (expressions, not cropped), or
            ``auto``: the first of these that is there.
        sheet: the annotation file below the root, where there are several.
        kind: type of expression, ``all``, ``micro`` or ``macro``.
        label: which word becomes the label: the subject's ``self_report`` (anger, happiness, disgust, ...),
            the annotators' ``emotion`` (negative, positive, surprise, others), or what the ``video`` that
            was watched should evoke (anger, happy, disgust).

    Raises:
        MerError: the sheet or the frames are missing, or the sheet is of an unknown version; an unknown
            ``kind`` or ``label``.
    """
    for name, value, choices in (("kind", kind, get_args(Kind)), ("label", label, get_args(Label))):
        if value not in choices:
            raise MerError(f"data.clips.{name}={value!r}: choose {', '.join(choices)}")
    path = find_sheet(root, SHEETS, given=sheet)
    layout, folder = find_frames(root, LAYOUTS, frames)
    places, strange, findings = _find_folders(folder)
    rows = [_named(row, label) for row in _read_rows(path)]
    for row in rows:
        number, video, name = row["folder"], VIDEOS.get(row["watched"], "?"), row["video"]
        place = places.get((number, name)) or places.get((number, video))
        row["frames"] = str(place or _usual_place(folder, layout, number, video, name))
    named = {row["frames"] for row in rows}
    unnamed = [
        place
        for (_, name), place in places.items()
        if name not in VIDEOS.values() and str(place) not in named
    ]
    others = [other for other in TYPES if kind != "all" and other != f"{kind}-expression"]
    kept = [row for row in rows if row["type"] not in others and _mend(row, path, findings)]
    if not kept:
        first = f"; the first finding: {findings[0]}" if findings else ""
        raise MerError(f"{path}: no row can be used with data.clips.kind={kind}{first}")
    reading = settle(
        pd.DataFrame(kept).assign(cropped=layout == "cropped"),
        source=path,
        database="casme_sq",
        fps=FPS,
        folders=sorted([*strange, *unnamed]),
        findings=findings,
    )
    if layout == "original":
        taken = {row["frames"] for row in rows if row["type"] not in others}
        still = {key: place for key, place in places.items() if str(place) not in taken}
        reading = reading._replace(still=_still(still, reading.findings))
    published = {("all", "self_report"): PUBLISHED_COUNTS, ("micro", "emotion"): MICRO_COUNTS}
    return reading._replace(published=published.get((kind, label), {}))


def _read_rows(path: Path) -> list[Row]:
    """The rows of the sheet, all columns as text or None."""
    rows: list[Row] = []
    for number, cells in enumerate(read_cells(path, sheet=SHEET), start=1):
        texts = [*cells, *[None] * len(COLUMNS)][: len(COLUMNS)]
        if any(texts):
            rows.append(dict(zip(COLUMNS, texts, strict=True)) | {"row": number})
    if not any(row["type"] in TYPES for row in rows):
        place = COLUMNS.index("type") + 1
        raise MerError(
            f"{path}: no row with {' or '.join(TYPES)} in column {place}; "
            "this is another version of the annotation file than those known: use the original"
        )
    return rows


def _named(row: Row, label: Label) -> Row:
    """The row with the names of its subject, clip and video, and its label."""
    video = (row["video"] or "").lower()
    watched = video.partition("_")[0]
    number = FOLDERS.get(_whole(row["number"]) or 0, 0)
    word = re.sub("[0-9]", "", watched) if label == "video" else (row[label] or "").lower()
    return row | {
        "subject": f"s{number}" if number else "",
        "clip": f"{video}_{row['onset'] or ''}",
        "label": word,
        "video": video,
        "watched": watched,
        "folder": number,
    }


def _find_folders(folder: Path) -> tuple[dict[tuple[int, str], Path], list[Path], list[Finding]]:
    """(number of the subject, code of the video or name of the expression) -> its folder.

    Also the folders that stand for neither, and findings about videos under another subject's number.
    """
    places: dict[tuple[int, str], Path] = {}
    strange: list[Path] = []
    findings: list[Finding] = []
    for subject in subfolders(folder):
        number = _whole(subject.name.lower().removeprefix("s"))
        if number is None or number not in FOLDERS.values():
            strange.append(subject)
            continue
        # The subject's own number first: it is to be preferred.
        for place in sorted(subfolders(subject), key=lambda path: not path.name.startswith(f"{number}_")):
            found = re.match(r"(\d+)_(\d{4})", place.name)
            name = found[2] if found else place.name.lower()
            code = name if found else VIDEOS.get(name.partition("_")[0])
            if (number, name) in places or code not in VIDEOS.values():
                strange.append(place)
                continue
            places[number, name] = place
            if found and found[1] != str(number):
                problem = f"the name is of subject {found[1]}, the folder around it of {number}"
                action = f"as subject {number}'s; look whose face it is"
                findings.append(
                    Finding(place=str(place), clip="", problem=problem, outcome="used", action=action)
                )
    return places, strange, findings


def _still(places: dict[tuple[int, str], Path], findings: list[Finding]) -> pd.DataFrame:
    """The long videos among these folders, each named as its folder; an empty one is told."""
    rows = []
    for (number, name), place in places.items():
        if name not in VIDEOS.values():
            continue
        try:
            list_frames(place)
        except MerError as error:
            problem, action = str(error).removeprefix(f"{place}: "), "unpack it again"
            findings.append(
                Finding(place=str(place), clip="", problem=problem, outcome="left out", action=action)
            )
            continue
        rows.append(["casme_sq", f"s{number}", place.name, float(FPS), str(place), False])
    return pd.DataFrame(rows, columns=["database", "subject", "clip", "fps", "frames", "cropped"])


def _usual_place(folder: Path, layout: str, number: int, video: str, name: str) -> Path:
    """Where a folder that is not there should be."""
    if layout == "cropped":
        return folder / str(number) / name
    return folder / f"s{number}" / (f"{number}_{video}" if layout == "original" else name)


def _mend(row: Row, source: Path, findings: list[Finding]) -> bool:
    """Settle what is known to be odd in this release; False where the row cannot be used."""

    def note(problem: str, outcome: Outcome, action: str, *, known: bool = True) -> None:
        clip = f"casme_sq/{row['subject']}/{row['clip']}"
        place = place_of(source, row["row"])
        findings.append(
            Finding(place=place, clip=clip, problem=problem, outcome=outcome, action=action, known=known)
        )

    if not row["subject"]:
        note(f"subject '{row['number']}' is none of 1 to 22", "left out", "correct the row", known=False)
        return False
    if row["type"] not in TYPES:
        problem = f"type '{row['type'] or ''}' is neither {TYPES[0]} nor {TYPES[1]}"
        note(problem, "left out", "correct the row", known=False)
        return False
    if row["label"] in TYPOS:
        note(f"label '{row['label']}'", "corrected", f"taken as {TYPOS[row['label']]}")
        row["label"] = TYPOS[row["label"]]
    if row["apex"] == "0":
        note("apex 0", "corrected", "the apex is missing, it can be spotted")
        row["apex"] = None
    if row["offset"] == "0" and row["apex"]:
        known = row["type"] == "macro-expression"
        note("offset 0", "corrected", "the apex is taken as the offset", known=known)
        row["offset"] = row["apex"]
    onset, apex, offset = (_whole(row[name]) for name in ("onset", "apex", "offset"))
    if onset is None or not offset:
        # Without both, the clip would be the rest of its long video.
        problem = f"onset '{row['onset'] or ''}' and offset '{row['offset'] or ''}' are no part of a video"
        note(problem, "left out", "correct the row", known=False)
        return False
    if apex is not None and apex > offset:
        note(f"apex {apex} after offset {offset}", "corrected", "the apex is missing, it can be spotted")
        row["apex"] = None
    return True


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 16 else None


class CASMESqDataModule(DatabaseData):
    """One fold of CAS(ME)^2; see ``DatabaseData``. ``labels="original"`` needs ``label="emotion"``."""

    database = "casme_sq"
    read_clips = staticmethod(read_clips)
