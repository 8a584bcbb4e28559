"""The face of each clip, and its eyes: found once, on the onset frame, for all frames of the clip."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.atomic import write_text
from mer.data.face_crop import (
    UNTURNED,
    EyesFrom,
    Face,
    Points,
    around,
    check_eyes,
    check_points,
    cut,
    eye_polygons,
    level,
    make_face,
    outline,
    shift,
)
from mer.data.face_detection import Box, find_eyes, find_face, typical_eyes
from mer.data.frames import file_stamp, is_video, list_frames, read_clip
from mer.data.landmarks import SUFFIXES, find_landmarks, read_landmarks
from mer.data.progress import progress_bar
from mer.data.roots import cache_dir
from mer.errors import MerError
from mer.opencv import import_opencv

__all__ = ["Face", "FaceOptions", "cut", "eye_polygons", "locate", "locate_all"]

FORMAT = 1  # raise it when the same frames and options give other faces
Method = Literal["auto", "landmarks", "haar", "none"]


@dataclass(frozen=True, kw_only=True)
class FaceOptions:
    """How faces are found.

    Args:
        method: ``auto``: by landmarks where the clip has a file, else by Haar cascades. ``landmarks``: a
            clip without a file is an error. ``haar``: landmark files are not read; the crop is the
            detector's box. ``none``: the whole frame, with the eyes found as by ``auto``.
        margins: pixels at the top, bottom, left and right, around the bounding box of the landmarks
            (LAENet 2.1.1). They are for landmarks alone: the Haar detector's box is taken as it is.
        align: turn the crop about the point between the eyes, so that their centres are level.
        landmarks: folder with files ``[<database>/]<subject>/<clip>`` that end in .txt, .pts or .csv; they
            go before those that a database ships.
    """

    method: Method = "auto"
    margins: tuple[int, int, int, int] = (25, 0, 5, 5)
    align: bool = False
    landmarks: Path | None = None

    def __post_init__(self) -> None:
        """Raise MerError for values that a config may hold."""
        if self.method not in get_args(Method):
            raise MerError(f"faces.method={self.method!r}: choose {', '.join(get_args(Method))}")
        margins = tuple(self.margins) if isinstance(self.margins, Sequence) else (self.margins,)
        if len(margins) != 4 or not all(isinstance(margin, int) and margin >= 0 for margin in margins):
            raise MerError(
                f"faces.margins={list(margins)}: give whole pixels at the top, bottom, left and right"
            )
        # A config has a list and a text.
        object.__setattr__(self, "margins", margins)
        if self.landmarks is not None:
            object.__setattr__(self, "landmarks", Path(self.landmarks).expanduser())


def locate(image: NDArray[np.uint8], points: Points | None, options: FaceOptions, *, cropped: bool) -> Face:
    """The face in one frame.

    Args:
        image: (C, H, W) uint8; C is 1, or 3 in the order R, G, B.
        points: landmarks (68 or 66, 2) in the frame's pixels, if there are any.
        options: see :class:`FaceOptions`.
        cropped: the frame shows the face alone and is taken as it is; only the eyes are found.

    Raises:
        MerError: ``options.method`` is "landmarks" and there are none; landmarks that are not of this frame.
    """
    height, width = image.shape[1:]
    if options.method == "landmarks" and points is None:
        raise MerError("faces.method=landmarks, but no landmarks are given; give them, or choose auto")
    whole = cropped or options.method == "none"
    if points is not None and options.method != "haar":
        eyes = points[36:48].reshape(2, 6, 2)
        check_eyes(eyes, width, height)
        check_points(points, width, height)
        if whole:
            return make_face("whole frame", UNTURNED, (width, height), eyes, "landmarks")
        turn = level(eyes) if options.align else UNTURNED
        matrix, size = around(points, turn, options.margins)
        return make_face("landmarks", matrix, size, eyes, "landmarks")
    grey = image[0] if len(image) == 1 else _grey(image)
    frame: Box = (0, 0, width, height)
    box = None if cropped else find_face(grey)
    if box is None and not whole:
        eyes = np.stack([outline(*eye) for eye in typical_eyes(frame)])
        return make_face("not found", UNTURNED, (width, height), eyes, "typical")
    found = find_eyes(grey, box or frame)
    eyes = np.stack([outline(*eye) for eye in found or typical_eyes(box or frame)])
    eyes_from: EyesFrom = "haar" if found else "typical"
    if box is None or whole:
        return make_face("whole frame", UNTURNED, (width, height), eyes, eyes_from)
    turn = level(eyes) if options.align else UNTURNED
    return make_face("haar", shift(turn, box[0], box[1]), (box[2], box[3]), eyes, eyes_from)


def locate_all(
    clips: pd.DataFrame,
    options: FaceOptions,
    *,
    threads: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> list[Face]:
    """The face of each clip: one a row, also where none is found; from the cache, or found and kept there.

    The onset frame is searched, or the first one where the onset is missing. If the Haar detector finds
    no face there, the apex, the offset and the middle of the clip are tried.

    Args:
        clips: a clip table with the column ``frames``. Where there is a column ``cropped``, its clips show
            the face alone; without it all do. ``landmarks`` may name a file of the onset frame's points;
            one that does not exist counts as missing.
        options: see :class:`FaceOptions`.
        threads: clips that are searched at the same time, one a core by default; the result is the same.
        cache: folder of the cache, ``cache_dir()`` by default.
        progress: show a bar.

    Raises:
        MerError: a frame or landmark file that is missing or unreadable, landmarks that are not of the
            clip's frames, or a cache that cannot be written.
    """
    rows = [_row(row, options) for row in clips.to_dict("records")]
    path = (cache or cache_dir()) / "faces" / f"{_key(rows, options)}.json"
    if (found := _read(path)) is not None:
        return found
    bar = progress_bar(progress)
    faces: list[Face] = []
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool, bar:
        try:
            waiting = pool.map(lambda row: _search(row, options), rows)
            faces.extend(bar.track(waiting, total=len(rows), description=f"finding {len(rows)} faces"))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    _write(path, faces)
    return faces


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    cv2 = import_opencv()
    grey: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(image.transpose(1, 2, 0)), cv2.COLOR_RGB2GRAY)
    return grey


@dataclass(frozen=True)
class _Row:
    """What is known of a clip before its frames are decoded."""

    name: str
    folder: Path
    numbers: tuple[int | None, int | None, int | None]  # onset, apex, offset
    cropped: bool
    landmarks: Path | None

    def tried(self, numbers: Sequence[int]) -> list[int]:
        """Frame numbers in the order in which a face is looked for in them."""
        onset, apex, offset = self.numbers
        first = numbers[0] if onset is None else onset
        last = numbers[-1] if offset is None else offset
        inside = [number for number in numbers if first <= number <= last] or numbers
        others = (apex, offset, inside[len(inside) // 2])
        return list(dict.fromkeys([first, *(k for k in others if k is not None and k in numbers)]))


def _row(row: dict[Any, Any], options: FaceOptions) -> _Row:
    name = f"{row['database']}/{row['subject']}/{row['clip']}"
    onset, apex, offset = (
        None if pd.isna(row[column]) else int(row[column]) for column in ("onset", "apex", "offset")
    )
    path: Path | None = None
    if options.method != "haar":
        shipped = None if pd.isna(row.get("landmarks")) else Path(row["landmarks"])
        if options.landmarks is not None:
            path = find_landmarks(options.landmarks, row["database"], row["subject"], row["clip"])
        if path is None and shipped is not None and shipped.is_file():
            path = shipped
        if path is None and options.method == "landmarks":
            folder = options.landmarks or Path("<faces.landmarks>")
            missing = shipped or folder / row["subject"] / f"{row['clip']}{SUFFIXES[0]}"
            raise MerError(
                f"{missing}: no landmark file of {name}; add it ({', '.join(SUFFIXES)}, under "
                "faces.landmarks), or use faces.method=auto"
            )
    cropped = bool(row.get("cropped", True))
    return _Row(name, Path(row["frames"]), (onset, apex, offset), cropped, path)


def _search(row: _Row, options: FaceOptions) -> Face:
    numbers = list(list_frames(row.folder))
    tried = row.tried(numbers)
    points = None
    if row.landmarks is not None:
        place = numbers.index(tried[0]) + 1 if tried[0] in numbers else None
        points = read_landmarks(row.landmarks, frame=place)
    faces = []
    for number in tried:
        image = read_clip(row.folder, [number], grey=True, threads=1)[0].numpy()
        try:
            faces.append(locate(image, points, options, cropped=row.cropped))
        except MerError as error:
            raise MerError(f"{row.landmarks or row.folder}: {row.name}: {error}") from error
        if faces[-1].method != "not found":
            return faces[-1]
    return faces[0]


def _key(rows: Sequence[_Row], options: FaceOptions) -> str:
    parameters = asdict(options) | {"landmarks": None}  # the files that were found there count instead
    digest = hashlib.sha256(json.dumps([FORMAT, parameters]).encode())
    for row in rows:
        if is_video(row.folder):
            files = [row.folder]
        else:
            frames = list_frames(row.folder)
            files = [frames[number] for number in row.tried(list(frames)) if number in frames]
        digest.update(f"{row.numbers} {row.cropped} {len(files)} {row.landmarks is not None}\n".encode())
        for path in [*files, *([row.landmarks] if row.landmarks else [])]:
            digest.update(file_stamp(path))
    return digest.hexdigest()[:20]


def _write(path: Path, faces: Sequence[Face]) -> None:
    rows = [[face.method, face.matrix, face.size, face.eyes, face.eyes_from] for face in faces]
    content = {"format": FORMAT, "sha256": _hash(rows), "faces": rows}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps(content))
    except OSError as error:
        raise MerError(
            f"{path}: the faces cannot be written ({error.strerror or error}); "
            "make room there, or set MER_CACHE to another folder"
        ) from error


def _read(path: Path) -> list[Face] | None:
    """The faces of a file that :func:`_write` wrote; None if it is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["faces"]
        if content["format"] != FORMAT or content["sha256"] != _hash(rows):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return [
        Face(method, tuple(matrix), tuple(size), tuple(tuple(map(tuple, eye)) for eye in eyes), eyes_from)
        for method, matrix, size, eyes, eyes_from in rows
    ]


def _hash(rows: object) -> str:
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
