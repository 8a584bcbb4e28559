"""What the writers of stand-ins share: a drawn clip as files, a sheet, labels spread over subjects."""

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from openpyxl import Workbook, load_workbook

from mer.data.drawn_clip import draw_clip, render
from mer.data.drawn_face import Face, Image, draw_face, draw_subject
from mer.errors import MerError

# Emotions move as one of the three classes that can be drawn; any other as a mixture of all.
MOVEMENTS = {
    "happiness": "positive",
    "happy": "positive",
    "positive": "positive",
    "surprise": "surprise",
    **dict.fromkeys(("disgust", "anger", "fear", "sadness", "contempt", "negative"), "negative"),
}
MOTION = {"stray": 0.35, "jitter": 0.04, "noise": 1.0, "blink": 0.1, "head": 0.2, "light": 0.01}


def draw(
    subject: str, clip: str, label: str, onset: int, apex: int, offset: int, *, size: int
) -> NDArray[np.uint8]:
    """The frames from onset to offset of a drawn clip, (T, size, size); the names decide what is random."""
    face, drawing = _face(subject, size)
    seed = (zlib.crc32(subject.encode()), zlib.crc32(clip.encode()), 0)
    drawn = draw_clip(face, MOVEMENTS.get(label.lower(), "mixed"), seed, amplitude=(1.2, 2.0), **MOTION)
    placed = dataclasses.replace(
        drawn,
        first=onset,
        onset=onset,
        apex=max(apex, onset),
        offset=max(offset, apex),
        last=offset,
        blink=None,
    )
    return render(face, placed, drawing)


def write_frames(folder: Path, pattern: str, frames: NDArray[np.uint8], first: int) -> None:
    """Frames (T, H, W) as ``folder/pattern``, whose ``{}`` or ``{:03d}`` is the frame number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, image in enumerate(frames, first):
        path = folder / pattern.format(number)
        if not cv2.imwrite(str(path), image):
            raise MerError(f"{path}: could not be written; is the disk full?")


def write_sheet(
    path: Path, rows: Sequence[Sequence[object]], *, header: Sequence[str] | None, sheet: str, above: int = 0
) -> None:
    """One sheet of a workbook: ``above`` rows of preamble, the header (None for none), the rows.

    A column whose name is empty is a blank column, as in the releases.
    """
    if path.exists():
        book = load_workbook(path)
        page = book.create_sheet(sheet)
    else:
        book = Workbook()
        page = book.active
        page.title = sheet
    for cells in [*[["(preamble)"]] * above, *([header] if header else []), *rows]:
        page.append([None if cell == "" else cell for cell in cells])
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)


def spread(
    counts: Mapping[str, int], subjects: Sequence[str], only: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(subject, label) of every clip: each label dealt out to the subjects in turn, all subjects used.

    Args:
        counts: clips of each label.
        subjects: all subjects, in the order of dealing.
        only: subject -> the one label that it may have.
    """
    only = only or {}
    dealt: list[tuple[str, str]] = []
    turn = 0
    for label, count in counts.items():
        first = [subject for subject, wanted in only.items() if wanted == label]
        free = [subject for subject in subjects if subject not in only]
        dealt += [(subject, label) for subject in first]
        for _ in range(count - len(first)):
            dealt.append((free[turn % len(free)], label))
            turn += 1
    return sorted(dealt, key=lambda pair: subjects.index(pair[0]))


@lru_cache(maxsize=64)
def _face(subject: str, size: int) -> tuple[Face, Image]:
    face = draw_subject(np.random.default_rng((7, zlib.crc32(subject.encode()))))
    return face, draw_face(face, size)
