"""Clips that show the same frame: one recording under two names, or one person as two subjects.

Subjects are kept apart by name, and a name may lie: a clip that was copied into a second database, a
participant who came twice. So one picture of each clip is compared with that of every other: its onset frame,
or the image that was published in its place. What is compared is the source and not its encoding: two runs
that encode differently can still be held against each other.

A picture becomes its luma at 16x16 pixels, less its mean and divided by its standard deviation. The distance
of two is their largest difference in any pixel. Which distance is the same frame was measured, not guessed:

- two subjects: at least 1.36 among the 442 flow images of MEGC 2019 (90,000 pairs), 1.45 among the 100 faces
  of LFW that scikit-image brings, .42 among 200 drawn faces, which are alike by construction;
- copies of the same picture, 95 of 100: JPEG at quality 90, .23 of the flow images and .03 of drawn faces at
  112 pixels; at 75, .51 and .06; at half the size .14, a fifth brighter .20, of drawn faces; the frame after
  the onset .28, and more where an eye shuts in it.

Below `SAME` lie no two subjects of these. What is not seen: a copy that was cropped, mirrored or blurred, one
that begins elsewhere in the recording, a small image saved at a low quality, and pictures without contrast,
such as the flow of a face at rest, which say nothing of whose it is.
"""

import base64
import hashlib
import json
import os
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.atomic import write_atomically
from mer.data.findings import Finding
from mer.data.frames import file_stamp, is_video, list_frames, read_clip, read_frame
from mer.data.roots import cache_dir
from mer.data.splits import Split, subject_names
from mer.errors import MerError
from mer.opencv import import_opencv

SIDE = 16  # pixels
SAME = 0.35  # largest distance of two pictures of the same frame, in standard deviations
CONTRAST = 4.0  # least standard deviation, in greys: below it there is nothing to compare
FORMAT = 1  # raise it when the same picture gives another fingerprint
BLOCK = 1024  # clips that are compared with all others at a time: bounds the memory
CHECKSUM = 32

Prints = NDArray[np.uint8]


def find_duplicates(clips: pd.DataFrame) -> NDArray[np.int64]:
    """The pairs of clips that show the same picture.

    Clips of two subjects where the pictures are the same or nearly (see above). Those of one subject, whose
    face at rest looks the same in every clip, only where the pictures are equal pixel by pixel and
    lie in two places: two expressions of one recording may share a frame.

    Args:
        clips: a validated clip table.

    Returns:
        (P, 2) rows of the table, the lower one first, in order.

    Raises:
        MerError: a picture that is missing or unreadable.
    """
    prints = _prints(clips)
    looks = _looks(prints)
    _, hashed = np.unique(prints[:, SIDE * SIDE :], axis=0, return_inverse=True)
    _, subject = np.unique(subject_names(clips), return_inverse=True)
    _, place = np.unique(clips[_column(clips)].tolist(), return_inverse=True)
    # Equal pixels say something only where there is something to see.
    equal, seen = hashed.reshape(-1), looks.any(axis=1)
    found = [np.empty((0, 2), np.int64)]
    for start in range(0, len(clips), BLOCK):
        rows = slice(start, start + BLOCK)
        others = subject[rows, None] != subject
        twice = ~others & (equal[rows, None] == equal) & (place[rows, None] != place) & seen
        near = _near(looks[rows], looks, others)
        pairs = np.concatenate([near, np.stack(np.nonzero(twice), axis=1)])
        pairs[:, 0] += start
        found.append(pairs[pairs[:, 0] < pairs[:, 1]])
    pairs = np.concatenate(found)
    return pairs[np.lexsort(pairs.T[::-1])]


def check_duplicates(clips: pd.DataFrame, splits: Sequence[Split], pairs: NDArray[np.int64]) -> None:
    """Raise MerError where a fold has the two clips of a pair in two of its parts, naming both.

    Two of one part are no leak. A protocol that shares subjects between training and validation may share
    these too; between training and test it may not, whatever it shares.
    """
    if not len(pairs):
        return
    words = {1: "trained on", 2: "validated on", 3: "tested"}
    for split in splits:
        part = np.zeros(len(clips), np.int8)
        for number, rows in enumerate((split.train, split.validation, split.test), start=1):
            part[list(rows)] = number
        of = part[pairs]
        leaks = (of > 0).all(axis=1) & (of[:, 0] != of[:, 1])
        if ("train", "validation") in split.shared:
            leaks &= (of == 3).any(axis=1)
        if leaks.any():
            first = int(leaks.argmax())
            names = [f"{_name(clips, row)} ({words[int(part[row])]})" for row in pairs[first]]
            raise MerError(
                f"leak in fold {split.fold}: {names[0]} and {names[1]} show the same frame "
                f"({int(leaks.sum())} such pair(s) in this fold); {_WHAT_TO_DO}, or pass duplicates=warn"
            )


def duplicate_findings(clips: pd.DataFrame, pairs: NDArray[np.int64]) -> list[Finding]:
    """The pairs, as an audit lists them."""
    places = clips[_column(clips)].tolist()
    return [
        Finding(
            place=places[other],
            clip=_name(clips, other),
            problem=f"shows the same frame as {_name(clips, one)}",
            outcome="used",
            action=_WHAT_TO_DO,
        )
        for one, other in pairs.tolist()
    ]


def fingerprints(clips: pd.DataFrame, rows: Sequence[int]) -> list[str]:
    """What a checkpoint keeps of the clips that it has seen: a text of 344 characters each, sorted.

    Each is a picture of 16x16 pixels, without a name. The data's licence is that of its pictures: whoever
    hands weights on may leave them out, and the guard by content with them.

    Args:
        clips: a validated clip table.
        rows: positions in it.

    Raises:
        MerError: a picture that is missing or unreadable.
    """
    pictures = _prints(clips)[list(rows), : SIDE * SIDE]
    return sorted({base64.b64encode(picture.tobytes()).decode() for picture in pictures})


def check_apart(trained: Collection[str], clips: pd.DataFrame, rows: Sequence[int], *, source: Path) -> None:
    """Raise MerError where a clip that is tested was seen by the weights that a fold starts from.

    Args:
        trained: `fingerprints` of what was trained and validated on.
        clips: the clip table of the run that tests.
        rows: positions in it, of the clips that are tested.
        source: the weights, for the message.

    Raises:
        MerError: naming the clip; or fingerprints that `fingerprints` did not write.
    """
    if not trained or not len(rows):
        return
    try:
        seen = [base64.b64decode(text, validate=True) for text in trained]
        pictures = np.stack([np.frombuffer(each, np.uint8, SIDE * SIDE) for each in seen])
    except (TypeError, ValueError) as error:
        raise MerError(f"{source}: its fingerprints of clips are damaged; train it again") from error
    tested = _prints(clips)[list(rows)]
    if len(known := np.unique(_near(_looks(tested), _looks(pictures))[:, 0])):
        raise MerError(
            f"leak: {source} was trained on the same frame as {_name(clips, rows[int(known[0])])}, which is "
            f"tested ({len(known)} such); start from weights that have not seen it"
        )


_WHAT_TO_DO = (
    "if it is one recording, leave one of them out; if it is one person, give both one database and subject"
)


def _looks(prints: Prints) -> NDArray[np.float32]:
    """(N, 256) pictures of mean 0 and standard deviation 1; 0 where there is too little contrast."""
    grey = prints[:, : SIDE * SIDE].astype(np.float32)
    deviation = grey.std(axis=1, keepdims=True)
    centred = grey - grey.mean(axis=1, keepdims=True)
    return np.where(deviation < CONTRAST, 0, centred / np.maximum(deviation, 1))


def _near(
    some: NDArray[np.float32], others: NDArray[np.float32], wanted: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """(P, 2) rows of ``some`` and of ``others`` that show the same frame, of the wanted pairs."""
    # The root mean square is never above the largest difference, and it is one product of matrices.
    likely = some @ others.T / SIDE**2 > 1 - SAME**2 / 2 - 1e-4
    pairs = np.stack(np.nonzero(likely if wanted is None else likely & wanted), axis=1)
    apart = [
        np.abs(some[part[:, 0]] - others[part[:, 1]]).max(axis=1)
        for part in np.array_split(pairs, len(pairs) // BLOCK + 1)
    ]
    return pairs[np.concatenate(apart) <= SAME]


def _prints(clips: pd.DataFrame) -> Prints:
    """(N, 256 + 32): the picture of each clip at 16x16, and the sha256 of its pixels. Kept in the cache."""
    places = [Path(path) for path in clips[_column(clips)]]
    frames: list[tuple[Path, int]] = [(path, 0) for path in places]
    if "frames" in clips.columns:
        onsets, offsets = ([None if pd.isna(n) else int(n) for n in clips[c]] for c in ("onset", "offset"))
        frames = [_first(*clip) for clip in zip(places, onsets, offsets, strict=True)]
    digest = hashlib.sha256(json.dumps([FORMAT, SIDE]).encode())
    for path, number in frames:
        digest.update(file_stamp(path) + str(number).encode())
    kept = cache_dir() / "fingerprints" / digest.hexdigest()[:20]
    found = _open(kept, len(frames))
    if found is not None:
        return found
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        prints = np.stack(list(pool.map(lambda frame: _print(*frame), frames)))
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        content = prints.tobytes()
        checked = hashlib.sha256(content).digest() + content
        write_atomically(kept, lambda scratch: scratch.write_bytes(checked))
    except OSError as error:
        raise MerError(
            f"{kept}: cannot be written ({error.strerror or error}); make room there, "
            "or set MER_CACHE to another folder"
        ) from error
    return prints


def _open(kept: Path, clips: int) -> Prints | None:
    """The prints in a file of the cache; None where it is missing or damaged."""
    try:
        content = kept.read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content[CHECKSUM:]).digest() != content[:CHECKSUM]:
        return None
    prints = np.frombuffer(content, np.uint8, offset=CHECKSUM)
    return prints.reshape(clips, -1) if prints.size == clips * (SIDE * SIDE + CHECKSUM) else None


def _first(place: Path, onset: int | None, offset: int | None) -> tuple[Path, int]:
    """The file of a clip's first frame; of a video, with the frame's number, from 1."""
    if is_video(place):
        return place, onset or 1
    there = list_frames(place)
    inside = (n for n in there if n >= (onset or 0) and (offset is None or n <= offset))
    # A clip without a frame of its own is an error of the encoding, which says more.
    return there[next(inside, next(iter(there)))], 0


def _print(path: Path, number: int) -> Prints:
    pixels = read_clip(path, [number], grey=True)[0].numpy() if number else read_frame(path, grey=True)
    small = import_opencv().resize(pixels[0], (SIDE, SIDE), interpolation=import_opencv().INTER_AREA)
    hashed = hashlib.sha256(np.array(pixels.shape).tobytes() + pixels.tobytes()).digest()
    return np.concatenate([small.reshape(-1), np.frombuffer(hashed, np.uint8)])


def _column(clips: pd.DataFrame) -> str:
    return "image" if "image" in clips.columns else "frames"


def _name(clips: pd.DataFrame, row: int) -> str:
    clip = clips.iloc[row]
    return f"{clip['database']}/{clip['subject']}/{clip['clip']}"
