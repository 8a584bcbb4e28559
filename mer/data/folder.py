"""Your own clips: a table, and the folders of frames or the videos that it names.

The table is ``clips.csv`` in the folder that is the root, or another file: ``data.clips.table=study.xlsx``.
It has a row a clip, such as::

    subject,clip,label,onset,apex,offset,path
    s01,smile 1,happiness,46,59,86,frames/s01/smile 1
    s01,"shock, short",surprise,,,,frames/s01/shock
    s02,smile 1,happiness,1,12,30,videos/s02_smile_1.avi

subject, clip, label
    As you call them; a clip's name is unique within its subject, and a subject is one person. Each label
    is a class, unless a label map says otherwise.
path
    A folder of frames or a video file, from the table's own folder, or absolute. The last integer in a
    frame's name is its number; the frames of a video are numbered from 1.
onset, apex, offset
    Frame numbers; the columns may be absent and cells empty. Without onset or offset the clip begins with its
    first or ends with its last frame; a missing apex is spotted, where it is needed.
fps, cropped, landmarks, database
    May be absent or empty. Frames a second; ``yes`` where the frames show the face alone; a file with the 68
    points of the onset frame, found like ``path``; a name, where the table holds clips of several databases.

A .csv file is split by commas, semicolons or tabs. It is UTF-8 or Latin-1, and so are names on the disk.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd

from mer.data.clips import KEY, validate
from mer.data.database import DatabaseData
from mer.data.findings import Finding, Outcome, Reading, place_of
from mer.data.frames import SUFFIXES, VIDEO_SUFFIXES
from mer.data.landmarks import is_file
from mer.data.layout import below
from mer.data.roots import cache_dir
from mer.data.settle import settle
from mer.data.sheet import read_sheet
from mer.errors import MerError

NEEDED = ("subject", "clip", "label", "path")
OPTIONAL = ("onset", "apex", "offset", "fps", "cropped", "landmarks", "database")
COLUMNS = {name: [name] for name in NEEDED} | {f"{name}?": [name] for name in OPTIONAL}
YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}

Row = dict[str, Any]


def read_clips(
    root: Path,
    *,
    table: str = "clips.csv",
    fps: float | None = None,
    database: str = "folder",
    cropped: bool = False,
    anywhere: bool = False,
) -> Reading:
    """The clip table of a folder of your own.

    Args:
        root: the folder of the table.
        table: .csv, .xlsx or .xls, below the root or absolute; the text of this module has its columns.
        fps: frames a second, for rows that do not say; None leaves them unknown.
        database: its name in the clip table, for rows that do not say.
        cropped: whether frames show the face alone, for rows that do not say.
        anywhere: allow paths that lead out of the root: absolute ones, by ``..`` or by a link.

    Raises:
        MerError: the table is missing or lacks a column, or no clip is left.
    """
    source = below(root, table)
    if not is_file(source):
        raise MerError(
            f"{source}: no such table; write one with the columns {', '.join(NEEDED)}, "
            "or name it with data.clips.table="
        )
    cells = read_sheet(source, COLUMNS)
    given: list[Row] = [{str(name): cell for name, cell in row.items()} for row in cells.to_dict("records")]
    checked = _Checked(source, None if anywhere else root.resolve())
    for row in given:
        row["database"] = row["database"] or database
        row["place"] = find_path(source.parent, row["path"] or "")
        row["fps"] = checked.rate(row, fps)
        row["cropped"] = checked.flag(row, cropped)
    rows = checked.without_clashes([row for row in given if checked.is_complete(row)])
    rows = [row for row in rows if checked.locate(row)]
    named = {row["place"].resolve() for row in given if _exists(row["place"])}
    beside = _unnamed({row["place"].parent for row in rows}, named)
    checked.findings += [
        Finding(
            place=_shown(path),
            clip="",
            problem=f"no row of {source.name} names it",
            outcome="left out",
            action="add its row, if it should be used",
        )
        for path in beside
    ]
    return _settle(given, rows, source, checked.findings)


def find_path(folder: Path, cell: str) -> Path:
    """The path that a cell names, from a folder or absolute, however the disk spells its letters.

    A name that is not ASCII may lie on the disk in UTF-8, composed or not, or in Latin-1: archives and
    old disks keep the bytes of the machine that wrote them. ``\\`` parts folders where no name has one.
    """
    tried = [_spelled(folder, text) for text in dict.fromkeys((cell, cell.replace("\\", "/")))]
    return next((path for path in tried if _exists(path)), tried[0])


class FolderDataModule(DatabaseData):
    """One fold of your own clips; see ``DatabaseData``."""

    database = "folder"
    read_clips = staticmethod(read_clips)


class _Checked:
    """The findings about a table's rows, before ``settle`` looks at their frames.

    Args:
        source: the table.
        root: where the paths of its rows must lie; None is anywhere.
    """

    def __init__(self, source: Path, root: Path | None) -> None:
        self.source = source
        self.root = root
        self.findings: list[Finding] = []

    def note(self, row: Row, problem: str, outcome: Outcome, action: str, *, known: bool = False) -> None:
        self.findings.append(
            Finding(
                place=place_of(self.source, row["row"]),
                clip="/".join(str(row[name] or "?") for name in KEY),
                problem=problem,
                outcome=outcome,
                action=action,
                known=known,
            )
        )

    def rate(self, row: Row, default: float | None) -> float | None:
        """Frames a second; unknown where the cell holds something else."""
        if row["fps"] is None:
            return default
        with suppress(ValueError):
            if 0 < (rate := float(row["fps"])) < float("inf"):
                return rate
        self.note(row, f"fps '{row['fps']}' is no number above 0", "used", "as of unknown frame rate")
        return None

    def flag(self, row: Row, default: bool) -> bool:
        """Whether the row's frames are cropped."""
        text = str(row["cropped"] or "").lower()
        if text and text not in YES_NO:
            told = "yes" if default else "no"
            self.note(row, f"cropped '{row['cropped']}' is neither yes nor no", "used", f"as {told}")
        return YES_NO.get(text, default)

    def is_complete(self, row: Row) -> bool:
        """Whether no cell is empty that must not be."""
        if empty := [name for name in NEEDED if not row[name]]:
            self.note(row, f"no {empty[0]}", "left out", "fill it in")
        return not empty

    def without_clashes(self, rows: list[Row]) -> list[Row]:
        """The rows but for those of one clip that differ in what ``settle`` does not compare."""

        def key(row: Row) -> list[str]:
            return [row[name] for name in KEY]

        kept: list[Row] = []
        for _, same in groupby(sorted(rows, key=key), key):
            group = list(same)
            names = ("place", "fps", "cropped", "landmarks")
            if len({tuple(row[name] for name in names) for row in group}) == 1:
                kept += group
                continue
            for row in group:
                self.note(row, f"{len(group)} rows that differ", "left out", "keep the right one")
        return kept

    def locate(self, row: Row) -> bool:
        """Whether the row's frames can be read; sets ``frames``, and ``landmarks`` to its path or None."""
        if problem := self._unfit(row["place"]):
            self.note(row, f"{row['path']}: {problem[0]}", "left out", problem[1])
            return False
        row["frames"] = self._text(row, row["place"])
        if cell := row["landmarks"]:
            path = find_path(self.source.parent, cell)
            problem = self._unfit(path) or (() if path.is_file() else ("no file", "correct the path"))
            if problem:
                action = f"without landmarks: {problem[1]}"
                self.note(row, f"landmarks {cell}: {problem[0]}", "used", action)
            row["landmarks"] = None if problem else self._text(row, path)
        return True

    def _unfit(self, path: Path) -> tuple[str, str] | tuple[()]:
        """What is wrong with a path and what to do; empty for nothing."""
        if not _exists(path):
            return "nothing is there", "correct the path, or remove the row"
        if self.root is not None and not path.resolve().is_relative_to(self.root):
            return f"leads out of {self.root}", "move it there, or allow it: data.clips.anywhere=true"
        if path.suffix.lower() in SUFFIXES and path.is_file():
            return "one image, and no folder of frames", "name the folder that it lies in"
        return ()

    def _text(self, row: Row, path: Path) -> str:
        """A path for the clip table, which holds Unicode: where the name's bytes are none, a link to it."""
        if _shown(path) == str(path):
            return str(path)
        target = path.absolute()
        digest = hashlib.sha256(os.fsencode(target)).hexdigest()[:20]
        suffix = path.suffix if path.suffix.isascii() else ""
        link = cache_dir().absolute() / "names" / f"{digest}{suffix}"
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                link.symlink_to(target)
        except OSError as error:
            raise MerError(
                f"{link}: cannot be written ({error.strerror}); set MER_CACHE to another folder, or rename "
                f"{_shown(path)}: its name is not UTF-8"
            ) from error
        self.note(row, f"{_shown(path)}: this name is not UTF-8", "used", f"read through {link}", known=True)
        return str(link)


def _settle(given: list[Row], rows: list[Row], source: Path, findings: list[Finding]) -> Reading:
    """One database after another; one of which no clip is left is told, unless all are."""
    readings, errors = [], []
    for name in dict.fromkeys(row["database"] for row in rows):
        own = pd.DataFrame([row for row in rows if row["database"] == name])
        try:
            readings.append(settle(own, source=source, database=name, fps=float("nan"), named_folders=False))
        except MerError as error:
            errors.append((name, str(error)))
    if not readings:
        reasons = [finding for finding in findings if finding.clip and finding.outcome == "left out"]
        if errors and not reasons:
            raise MerError(errors[0][1])
        reason = f"the first reason: {reasons[0]}" if reasons else "there is no row below its header"
        raise MerError(f"{source}: none of {len(given)} clips can be used; {reason}")
    findings = findings + [finding for reading in readings for finding in reading.findings]
    for name, reason in errors:
        problem = f"database {name}: {reason.removeprefix(f'{source}: ')}"
        findings.append(
            Finding(
                place=str(source), clip="", problem=problem, outcome="left out", action="correct its rows"
            )
        )
    clips = pd.concat([reading.clips for reading in readings], ignore_index=True)
    rates = {tuple(row[name] for name in KEY): row["fps"] for row in rows}
    clips["fps"] = [rates[key] for key in clips[KEY].itertuples(index=False, name=None)]
    return Reading(validate(clips, source), findings)


def _spelled(folder: Path, text: str) -> Path:
    path = folder
    for part in Path(text).parts:
        spellings = [part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD"))]
        with suppress(UnicodeEncodeError):
            spellings.append(os.fsdecode(spellings[1].encode("latin-1")))
        there = (path / name for name in dict.fromkeys(spellings))
        path = next((spelled for spelled in there if _exists(spelled)), path / part)
    return path


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):  # a cell may hold what no path can: too long, a zero byte
        return False
    return True


def _unnamed(folders: set[Path], named: set[Path]) -> Iterator[Path]:
    """Videos and folders of frames that lie in these folders and that no row names."""
    for folder in sorted(folders):
        with suppress(OSError):
            for path in sorted(folder.iterdir()):
                if not path.name.startswith(".") and _is_clip(path) and path.resolve() not in named:
                    yield path


def _is_clip(path: Path) -> bool:
    if path.is_dir():
        return any(child.suffix.lower() in SUFFIXES for child in path.iterdir())
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def _shown(path: Path) -> str:
    """A path as text; bytes that are not UTF-8 as ``\\xe9``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
