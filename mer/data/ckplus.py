"""CK+: 593 sequences of 123 subjects, from neutral to the peak of a posed emotion (Lucey et al. 2010).

Layout: ``cohn-kanade-images/S005/001/S005_001_00000001.png``; ``Emotion/S005/001/`` with a file for the last
frame, ``S005_001_00000011_emotion.txt``, or none: 327 sequences have a label; and, where it was unpacked,
``Landmarks/S005/001/S005_001_00000001_landmarks.txt`` for each frame. A clip is a labelled sequence: its
first frame is the onset, its last one both apex and offset.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mer.data.database import DatabaseData
from mer.data.findings import Finding, Outcome, Reading
from mer.data.frames import frame_number, list_frames
from mer.data.landmarks import read_landmarks
from mer.data.layout import DEPTH, subfolders
from mer.data.settle import settle
from mer.errors import MerError

FPS = 30
LABELS = {1: "anger", 2: "contempt", 3: "disgust", 4: "fear", 5: "happy", 6: "sadness", 7: "surprise"}
PUBLISHED_COUNTS = {
    "ckplus": {
        "anger": 45,
        "contempt": 18,
        "disgust": 59,
        "fear": 25,
        "happy": 69,
        "sadness": 28,
        "surprise": 83,
        "subjects": 118,
    }
}


def read_clips(root: Path) -> Reading:
    """The clip table of CK+; a clip is named by its subject and sequence, such as ``S005`` and ``001``.

    The column ``landmarks`` has the file of the onset frame, or is missing. Sequences without a label are
    no clips: one finding counts them.

    Args:
        root: the folder that holds ``cohn-kanade-images`` and ``Emotion``, at most two levels deep.

    Raises:
        MerError: one of the two folders is missing, or no clip is left.
    """
    images, emotion = _find(root, "cohn-kanade-images"), _find(root, "Emotion")
    if images is None:
        raise MerError(f"{root}: no folder cohn-kanade-images; unpack extended-cohn-kanade-images.zip there")
    if emotion is None:
        raise MerError(f"{root}: no folder Emotion; unpack Emotion_labels.zip there")
    landmarks = _find(root, "Landmarks")
    findings: list[Finding] = []
    if landmarks is None:
        findings.append(
            Finding(
                place=str(root),
                clip="",
                problem="no folder Landmarks",
                outcome="used",
                action="faces are detected; unpack Landmarks.zip there to have its points",
            )
        )
    rows, labelled = [], set()
    for folder in subfolders(emotion, 2):
        subject, clip = folder.parent.name, folder.name
        files = sorted(path for path in folder.glob("*.txt") if not path.name.startswith("."))
        if not files:
            continue
        labelled.add((subject, clip))
        try:
            label, peak = _read_label(files, f"{subject}_{clip}")
        except MerError as error:
            findings.append(_finding(folder, str(error), "left out", "restore the file from the release"))
            continue
        frames = images / subject / clip
        row = {"subject": subject, "clip": clip, "label": label, "frames": str(frames), "cropped": False}
        numbers = _frames(frames)
        if numbers and max(numbers) != peak:
            problem = f"the label is of frame {peak}, the last frame is {max(numbers)}"
            findings.append(_finding(frames, problem, "used", "the last frame is taken as the apex"))
        row |= {"onset": min(numbers, default=None), "apex": max(numbers, default=None)}
        onset = numbers[min(numbers)] if numbers else None
        rows.append(row | {"offset": row["apex"], "landmarks": _landmarks(landmarks, onset, findings)})
    sequences = [(folder.parent.name, folder.name) for folder in subfolders(images, 2)]
    if unlabelled := [key for key in sequences if key not in labelled]:
        findings.append(
            Finding(
                place=str(images),
                clip="",
                problem=f"{len(unlabelled)} of {len(sequences)} sequences have no label, such as "
                + "/".join(unlabelled[0]),
                outcome="left out",
                action="the release labels 327 of its 593 sequences",
                known=True,
            )
        )
    if not rows:
        first = f"; the first reason: {next(f for f in findings if f.clip)}" if labelled else ""
        raise MerError(f"{emotion}: no label that can be used{first}")
    return settle(pd.DataFrame(rows), source=emotion, database="ckplus", fps=FPS, findings=findings)


def _find(root: Path, name: str) -> Path | None:
    """The folder of this name below the root, or the one of the same name that its zip was unpacked into."""
    for depth in range(1, DEPTH + 1):
        for folder in subfolders(root, depth):
            # An archive made on a Mac has the same tree again, of files that hold no images.
            if folder.name.casefold() == name.casefold() and folder.parent.name != "__MACOSX":
                inner = folder / folder.name
                return inner if inner.is_dir() else folder
    return None


def _read_label(files: Sequence[Path], sequence: str) -> tuple[str, int]:
    """The label of a sequence, and the number of the frame that it is of."""
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise MerError(f"{len(files)} emotion files, {names}")
    path = files[0]
    if not re.fullmatch(rf"{re.escape(sequence)}_\d+_emotion\.txt", path.name, re.IGNORECASE):
        raise MerError(f"{path.name} is not named {sequence}_<frame>_emotion.txt: of another sequence?")
    if not path.is_file():  # to open a pipe would wait for its writer
        raise MerError(f"{path.name} is no file")
    try:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise MerError(f"{path.name} cannot be read ({error.strerror})") from error
    try:
        return LABELS[float(text)], frame_number(path)  # type: ignore[index]  # 3.0 is the key 3
    except (ValueError, KeyError):
        shown = text if len(text) <= 30 else f"{text[:30]}..."
        raise MerError(f"{path.name} holds {shown!r}, no number from 1 to 7") from None


def _frames(folder: Path) -> dict[int, Path]:
    """The frames of a sequence; none where ``settle`` will say what is wrong with them."""
    try:
        return list_frames(folder)
    except MerError:
        return {}


def _landmarks(root: Path | None, onset: Path | None, findings: list[Finding]) -> str | None:
    """The file of the onset frame's landmarks; None where it cannot be used."""
    if root is None or onset is None:
        return None
    folder = root / onset.parent.parent.name / onset.parent.name
    path = folder / f"{onset.stem}_landmarks.txt"
    try:
        read_landmarks(path)
    except MerError as error:
        problem = str(error).removeprefix(f"{path}: ")
        findings.append(_finding(folder, f"{path.name}: {problem}", "used", "without landmarks"))
        return None
    return str(path)


def _finding(folder: Path, problem: str, outcome: Outcome, action: str) -> Finding:
    """A finding about the sequence that a folder is of."""
    clip = f"ckplus/{folder.parent.name}/{folder.name}"
    return Finding(place=str(folder), clip=clip, problem=problem, outcome=outcome, action=action)


class CKPlusDataModule(DatabaseData):
    """One fold of CK+; see ``DatabaseData``."""

    database = "ckplus"
    read_clips = staticmethod(read_clips)
