"""Files of facial landmarks: the 68 points of the iBUG scheme, or DRMF's 66.

In both, points 37-42 (counted from 1) go round the right eye, which is on the left of the picture, and
43-48 round the left one.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.errors import MerError

COUNTS = (68, 66)
SUFFIXES = (".txt", ".pts", ".csv")


def find_landmarks(folder: Path, database: str, subject: str, clip: str) -> Path | None:
    """The landmark file of a clip: ``<folder>/<database>/<subject>/<clip>``, or without the database.

    The name ends in .txt, .pts or .csv; the one under the database's name goes first.

    Raises:
        MerError: the folder is missing, one clip has two files, or its name leads out of the folder.
    """
    if not folder.is_dir():
        raise MerError(f"{folder}: no such folder of landmark files; check faces.landmarks")
    names = (database, subject, clip)
    if ".." in (part for name in names for part in Path(name).parts) or any(map(os.path.isabs, names)):
        raise MerError(f"{folder}: the clip {'/'.join(names)} leads out of it; rename the clip")
    for place in (folder / database / subject, folder / subject):
        found = [path for suffix in SUFFIXES if is_file(path := place / f"{clip}{suffix}")]
        if len(found) > 1:
            raise MerError(
                f"{found[0]} and {found[1].name} are both landmarks of {database}/{subject}/{clip}; "
                "move one away"
            )
        if found:
            return found[0]
    return None


def is_file(path: Path) -> bool:
    """Whether a file is there; no, where a disk has no such names."""
    try:
        return path.is_file()
    except OSError:  # too long
        return False


def read_landmarks(path: Path, *, frame: int | None = None) -> NDArray[np.float64]:
    """The landmarks of one frame, from one of three formats, told apart by the content.

    - Plain text: a line ``x y`` a point, split by blanks or a comma, as in CK+.
    - iBUG's .pts: ``version: 1``, ``n_points: 68``, and the lines between ``{`` and ``}``.
    - OpenFace's .csv: columns ``x_0``..``x_67`` and ``y_0``..``y_67``, a row a frame.

    Coordinates are taken as they stand, 0 being the centre of the first pixel. Where the tool counts
    from 1, as the files that iBUG published do, they are 1 px off.

    Args:
        path: the file.
        frame: in a .csv of several rows, the one whose ``frame`` is this number; OpenFace counts the
            images that it was given from 1. None, or no such column, is the first row.

    Returns:
        (68, 2) or (66, 2): x and y in pixels.

    Raises:
        MerError: the file is missing or no text, holds something else than so many points of finite
            numbers, or has no such frame, or OpenFace found no face in it.
    """
    try:
        if not path.is_file():  # to open a pipe would wait for its writer
            path.stat()
            raise MerError(f"{path}: no file of landmarks; check the path")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MerError(f"{path}: landmarks cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise MerError(f"{path}: not a text file of landmarks; write one line 'x y' a point") from error
    lines = text.splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if numbered and "x_0" in _cells(numbered[0][1]):
        points = _from_openface(path, lines[numbered[0][0] - 1 :], frame)
    else:
        points = _from_lines(path, _inside_braces(path, numbered) if "{" in text else numbered)
    if len(points) not in COUNTS:
        raise MerError(
            f"{path}: {len(points)} landmarks; the scheme has 68 points, or 66 from DRMF: export them again"
        )
    if not np.isfinite(points).all():
        number = int(np.flatnonzero(~np.isfinite(points).all(1))[0]) + 1
        raise MerError(f"{path}: point {number} is not finite; mark the face again, or remove the file")
    return points


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _inside_braces(path: Path, lines: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    texts = [line for _, line in lines]
    if "{" not in texts or "}" not in texts:
        raise MerError(f"{path}: this .pts file is cut short or has no lines '{{' and '}}'; export it again")
    return list(lines[texts.index("{") + 1 : texts.index("}")])


def _from_lines(path: Path, lines: Sequence[tuple[int, str]]) -> NDArray[np.float64]:
    points = []
    for number, line in lines:
        try:
            x, y = (float(value) for value in line.replace(",", " ").split())
        except ValueError:
            shown = line if len(line) <= 30 else f"{line[:30]}..."
            raise MerError(
                f"{path}: line {number} is {shown!r} and not the x y of a landmark; "
                "give lines 'x y', a .pts file, or OpenFace's .csv with its columns x_0.. and y_0.. (-2Dfp)"
            ) from None
        points.append((x, y))
    return np.array(points, np.float64).reshape(-1, 2)


def _from_openface(path: Path, lines: Sequence[str], frame: int | None) -> NDArray[np.float64]:
    try:
        rows = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(lines)]
    except csv.Error as error:
        raise MerError(f"{path}: not a table of landmarks ({error}); run OpenFace again") from error
    if not rows:
        raise MerError(f"{path}: no row below the header; run OpenFace again")
    row = rows[0]
    if frame is not None and len(rows) > 1 and "frame" in row:
        wanted = [row for row in rows if _number(path, row, "frame") == frame]
        if not wanted:
            raise MerError(
                f"{path}: no row for frame {frame} of the {len(rows)}; "
                "run OpenFace on the clip's whole folder, or keep the row of the onset alone"
            )
        row = wanted[0]
    if "success" in row and _number(path, row, "success") == 0:
        raise MerError(
            f"{path}: OpenFace found no face in the row wanted (success 0); remove the file, or mark the face"
        )
    count = sum(key.startswith("x_") for key in row)
    return np.array(
        [[_number(path, row, f"{axis}_{k}") for axis in "xy"] for k in range(count)], np.float64
    ).reshape(-1, 2)


def _number(path: Path, row: dict[str, str], column: str) -> float:
    value = row.get(column)
    try:
        return float(value or "")
    except ValueError:
        raise MerError(f"{path}: column {column} holds {value!r}, not a number; run OpenFace again") from None
