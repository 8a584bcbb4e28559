"""A drawn database: frames on disk in the shape of a real one, so that everything runs with no licensed data.

A subject is a drawn face. A clip moves it by a smooth field that is known (``displacement``), under
nuisances that say nothing about the class: blinks, head motion, light, sensor noise.
``drawn_face`` draws the neutral face and ``drawn_clip`` moves it; here the files are written and read.

How hard it is was decided from signal and noise, before any network was trained on it. ``amplitude`` is what
micro-expressions have in a crop this small: no point moves by more than 2 px. Classes overlap through
``stray``: the movements of the other classes happen too, weaker, and each of the class's own may be
weak. A blink is a strong movement at the eyes, and from onset to apex the head moves by about
a quarter of the smallest peak. A linear classifier on TV-L1 images, over three seeds, was all that was looked
at: it made too many mistakes at stray=.5, so stray became .35. On onset frames it stayed at chance.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from mer.data.clips import validate
from mer.data.database import DatabaseData
from mer.data.drawn_clip import LABELS, Clip, draw_clip, render
from mer.data.drawn_face import REFERENCE, Face, draw_face, draw_subject
from mer.data.roots import cache_dir
from mer.errors import MerError
from mer.targets import check_keywords

FPS = 60.0
FORMAT = 1  # raise it when the same parameters give other bytes


def write_synthetic(
    root: Path | None = None,
    *,
    subjects: int = 8,
    clips_per_class: int = 4,
    size: int = REFERENCE,
    seed: int = 0,
    amplitude: tuple[float, float] = (0.7, 2.0),
    stray: float = 0.35,
    jitter: float = 0.04,
    noise: float = 2.0,
    blink: float = 0.3,
    head: float = 0.2,
    light: float = 0.02,
) -> Path:
    """Write the database as ``<root>/<subject>/<clip>/img<frame>.png``, ``clips.csv`` and ``synthetic.json``.

    The same arguments give the same bytes, and a subject does not depend on how many there are. A tree
    that is already there under the same arguments is left alone; an unfinished one, or one of other
    arguments, is replaced.

    Args:
        root: The folder to write; None is one in ``cache_dir()`` that the parameters name.
        subjects: Number of subjects.
        clips_per_class: Clips of each label, of every subject.
        size: Side of the square frames in pixels.
        seed: Of everything random.
        amplitude: Range of the longest displacement at the apex, in pixels at size 112; 2 at most.
        stray: How strong another class's movements get, where the class's own have weight 0.3..1.
        jitter: Standard deviation of the movements' centres, in half crops; their directions turn by
            four times it, in radians.
        noise: Standard deviation of the sensor noise, in greys.
        blink: Probability that a clip holds a blink.
        head: Standard deviation of the size of the head's shift, in pixels at size 112.
        light: Standard deviation of the size of the drift of the light, as a part of it.

    Returns:
        ``root``, absolute.

    Raises:
        MerError: A parameter is out of range, or ``root`` holds something that this function did not write.
    """
    amplitude = (float(amplitude[0]), float(amplitude[1]))  # a config has a list
    parameters = {key: value for key, value in locals().items() if key != "root"}
    if (
        min(subjects, clips_per_class) < 1
        or seed < 0
        or size < 16
        or not 0 < amplitude[0] <= amplitude[1] <= 2
    ):
        raise MerError(
            f"synthetic: bad parameters {parameters}: subjects and clips_per_class start at 1, seed at 0, "
            "size at 16, and amplitude is two rising numbers in (0, 2]"
        )
    motion = {k: parameters[k] for k in ("amplitude", "stray", "jitter", "noise", "blink", "head", "light")}

    def write(folder: Path) -> None:
        rows = [
            row
            for subject in range(subjects)
            for row in _write_subject(folder, subject, clips_per_class, size, seed, motion)
        ]
        pd.DataFrame(rows).to_csv(folder / "clips.csv", index=False)

    return write_once(root, "synthetic", json.dumps({"format": FORMAT, **parameters}, indent=1), write)


def write_once(root: Path | None, name: str, text: str, write: Callable[[Path], None]) -> Path:
    """A drawn database in its folder: left alone where it is finished, else replaced.

    Args:
        root: the folder; None is one in ``cache_dir() / name`` that the text names.
        name: of the kind of database.
        text: of its parameters; with it in ``synthetic.json`` the database is finished.
        write: writes everything else into the empty folder that it gets.

    Returns:
        ``root``, absolute.

    Raises:
        MerError: ``root`` holds something that no database of drawn faces has.
    """
    if root is None:
        root = cache_dir() / name / hashlib.sha256(text.encode()).hexdigest()[:8]
    root = Path(root).expanduser().absolute()
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f".{root.name}.lock")):  # folds in several processes write it once
        mark = root / "synthetic.json"
        if mark.is_file() and mark.read_text() == text:
            return root
        _refuse_foreign(root)
        new = root.with_name(f".{root.name}.writing")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        write(new)
        (new / "synthetic.json").write_text(text)
        shutil.rmtree(root, ignore_errors=True)
        new.rename(root)
    return root


def _refuse_foreign(root: Path) -> None:
    """Raise when replacing ``root`` would delete something that ``write_once`` did not write."""
    if not root.exists():
        return
    if not root.is_dir():
        raise MerError(f"{root} is a file: give the synthetic database another folder")
    for entry in root.iterdir():
        if entry.name in ("clips.csv", "still.csv", "synthetic.json"):
            continue
        if not (entry.is_dir() and entry.name[0] == "s" and entry.name[1:].isdigit()):
            raise MerError(
                f"{root} holds {entry.name}, which is not of the synthetic database: give it another folder"
            )


def write_images(folder: Path, video: NDArray[np.uint8], first: int) -> None:
    """Write frames (T, H, W) into a new folder, as ``img<frame>.png`` counted from ``first``.

    Raises:
        MerError: a file cannot be written.
    """
    folder.mkdir(parents=True)
    for frame, image in enumerate(video, start=first):
        path = folder / f"img{frame}.png"
        if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise MerError(f"{path} could not be written: is the disk full?")


def _write_subject(
    root: Path, subject: int, clips_per_class: int, size: int, seed: int, motion: dict[str, Any]
) -> list[dict[str, object]]:
    """Write the frames of one subject and return its rows of clips.csv."""
    face, clips = draw_clips(subject, clips_per_class=clips_per_class, seed=seed, **motion)
    drawing = draw_face(face, size)
    rows: list[dict[str, object]] = []
    for name, clip in clips.items():
        folder = root / f"s{subject + 1:02d}" / name
        video = render(face, clip, drawing)
        write_images(folder, video, clip.first)
        numbers = {"onset": clip.onset, "apex": clip.apex, "offset": clip.offset, "frames": len(video)}
        rows.append({"subject": folder.parent.name, "clip": name, "label": clip.label, **numbers, "fps": FPS})
    return rows


def draw_clips(
    subject: int, *, clips_per_class: int, seed: int, **motion: Any
) -> tuple[Face, dict[str, Clip]]:
    """The face of the subject with this index, and its clips by name: what is known of the written frames.

    Args:
        subject: 0 is s01.
        clips_per_class, seed, motion: as in ``write_synthetic``, which has the defaults.
    """
    looks, order = (np.random.default_rng((seed, subject, 0, stream)) for stream in (1, 2))
    face = draw_subject(looks)
    # Shuffled, so that the name of a clip does not tell its label.
    labels = order.permutation(np.repeat(LABELS, clips_per_class))
    return face, {
        f"c{number:02d}": draw_clip(face, str(label), (seed, subject, number), **motion)
        for number, label in enumerate(labels, start=1)
    }


def read_clips(root: Path) -> pd.DataFrame:
    """Read the clip table of a database that ``write_synthetic`` wrote.

    Returns:
        A validated clip table: database is "synthetic", frames the absolute path of the clip's folder.

    Raises:
        MerError: ``root`` or its clips.csv is missing or of another version, or a clip has lost frames.
    """
    root = Path(root).expanduser().absolute()
    table = read_table(root, "clips.csv", "write_synthetic")
    return validate(table.assign(database="synthetic"), root / "clips.csv")


def read_table(root: Path, name: str, writer: str) -> pd.DataFrame:
    """A table of a drawn database, ``frames`` the absolute path of each row's folder.

    The file has in ``frames`` the number of images in it. The folder is that of ``video``, or of ``clip``.

    Args:
        root: absolute.
        name: of the file.
        writer: the function that writes it, for the message.

    Raises:
        MerError: the file is missing or of another version, or a folder has lost frames.
    """
    path = root / name
    if not path.is_file():
        raise MerError(f"{path} is missing: write the synthetic database with {writer}({str(root)!r})")
    table = pd.read_csv(path, dtype=dict.fromkeys(("subject", "clip", "video", "label"), "str"))
    if "frames" not in table.columns:
        raise MerError(f"{path} was written by another version: remove {root}, so that it is written anew")
    written = table["frames"].tolist()
    names = table["video" if "video" in table.columns else "clip"]
    table["frames"] = [str(root / s / c) for s, c in zip(table["subject"], names, strict=True)]
    for folder, count in zip(table["frames"], written, strict=True):
        found = sum(1 for _ in Path(folder).glob("img*.png"))
        if found != count:
            raise MerError(
                f"{folder}: {found} of the {count} frames that were written are there: remove {root}, "
                "so that it is written anew"
            )
    return table


def write_and_read(root: Path | None = None, **parameters: Any) -> pd.DataFrame:
    """``write_synthetic`` with its parameters and defaults, then ``read_clips``."""
    check_keywords(write_synthetic, parameters, "data.clips")
    return read_clips(write_synthetic(root, **parameters))


class SyntheticDataModule(DatabaseData):
    """The default synthetic database, written to the cache when it is first asked for.

    Args:
        root: as in ``write_synthetic``; nothing has to be there.
        options: fold, encoding and the rest of ``DatabaseData``'s.
    """

    database = "synthetic"
    read_clips = staticmethod(read_clips)

    def __init__(self, *, root: str | Path | None = None, **options: Any) -> None:
        super().__init__(root=write_synthetic(None if root is None else Path(root)), **options)
