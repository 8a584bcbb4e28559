"""The clips of a table as padded batches for an encoding, read from disk while memory stays bounded."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer.data.frames import is_video, list_frames, read_clip, read_frame
from mer.data.video import count_frames
from mer.errors import MerError

if TYPE_CHECKING:
    from mer.data.faces import Face

BATCH = 16  # most clips a batch, which is what the encodings were timed at
LONG = 10_000  # frames of a video, from which on it is worth a decoding to know that it has them
BUDGET = 128 << 20  # most bytes of a batch's padded frames; a clip above it is a batch of its own


@dataclass(frozen=True)
class ClipBatch:
    """Neighbours in the table whose frames have one size.

    Attributes:
        names: where each clip lies.
        frames: (B, T, C, H, W) uint8, 0..255, padded with 0 at the end to the longest clip.
        lengths: (B,) int64, frames of each clip.
        eyes: (B, 2, 6, 2) float32, the polygons of the eyes in pixels of the frames, where the encoding
            masks them.
    """

    names: list[str]
    frames: Tensor
    lengths: Tensor
    eyes: Tensor | None = None


def frame_numbers(clips: pd.DataFrame, encoding: nn.Module | None) -> list[Sequence[int]]:
    """The frames that the encoding reads of each clip, as its class attribute ``reads`` says.

    ``onset_apex`` are two. ``clip`` are those of the folder from onset to offset, as far as they are
    there; without onset or offset, from the first or to the last. A video lacks none in between, so there
    they are all numbers from onset to offset. A clip that is an image already has one frame.

    Raises:
        MerError: a clip without the numbers that the encoding needs, or without a frame between them.
    """
    if encoding is None:
        return [[1]] * len(clips)
    return [_numbers_of(row, str(encoding.reads)) for row in clips.itertuples(index=False)]


def _numbers_of(row: Any, reads: str) -> Sequence[int]:
    folder = Path(row.frames)
    name = f"{row.database}/{row.subject}/{row.clip}"
    if reads == "onset_apex":
        if pd.isna(row.onset) or pd.isna(row.apex):
            raise MerError(
                f"{folder}: clip {name} has no onset or apex frame number, which this encoding needs"
            )
        return [int(row.onset), int(row.apex)]
    numbers: Sequence[int]
    if is_video(folder):
        first = 1 if pd.isna(row.onset) else int(row.onset)
        # To count the frames is to decode the whole file.
        last = count_frames(folder) if pd.isna(row.offset) else int(row.offset)
        if last - first > LONG and last > (count := count_frames(folder)):
            raise MerError(f"{folder}: clip {name} has the offset {last}, its video {count} frames")
        numbers = range(first, last + 1)
    else:
        there = list(list_frames(folder))
        first = there[0] if pd.isna(row.onset) else int(row.onset)
        last = there[-1] if pd.isna(row.offset) else int(row.offset)
        numbers = [number for number in there if first <= number <= last]
    if not numbers:
        raise MerError(f"{folder}: clip {name} has no frame between its onset {first} and its offset {last}")
    return numbers


def clip_batches(
    clips: pd.DataFrame,
    encoding: nn.Module | None,
    numbers: Sequence[Sequence[int]],
    faces: "Sequence[Face] | None" = None,
) -> Iterator[ClipBatch]:
    """The clips in the order of the table, read as the encoding wants them: grey where it reads pairs.

    A batch ends after ``BATCH`` clips, where the next one would take it over ``BUDGET``, or where the
    frames' size changes. While one is handed on, nothing of it and no other is held here, but for a clip
    of another size.

    Args:
        clips: a validated clip table.
        encoding: None where the clips are images already; they are read in colour, as clips of one frame.
        numbers: see :func:`frame_numbers`.
        faces: one a row, cut out of its frames.
    """
    paths = [str(path) for path in clips["image" if encoding is None else "frames"]]
    eyes = _eyes(encoding, faces)
    waiting: list[Tensor] = []
    for row, path in enumerate(paths):
        # The length of a clip is known before it is read.
        longest = max(len(numbers[row]), *map(len, waiting), 1)
        over = waiting and (len(waiting) + 1) * longest * waiting[0][0].numel() > BUDGET
        if over or len(waiting) == BATCH:
            yield _take(waiting, paths[:row], eyes)
        clip = _read(Path(path), encoding, numbers[row], None if faces is None else faces[row])
        if waiting and clip.shape[1:] != waiting[0].shape[1:]:
            yield _take(waiting, paths[:row], eyes)
        waiting.append(clip)
        del clip  # or it would live on while its batch is encoded
    if waiting:
        yield _take(waiting, paths, eyes)


def check_finite(block: NDArray[Any], batch: ClipBatch, *, sequences: bool) -> None:
    """Raise MerError where an encoding gives what is no number, naming the clip.

    Args:
        block: (rows, H, W, C), the images of a batch, or the frames of its sequences one after another.
        batch: that was encoded.
        sequences: whether the rows are frames.
    """
    if block.dtype.kind != "f" or np.isfinite(block).all():
        return
    row = int(np.isfinite(block).reshape(len(block), -1).all(axis=1).argmin())
    clip = int(np.searchsorted(batch.lengths.cumsum(0).numpy(), row, side="right")) if sequences else row
    raise MerError(
        f"{batch.names[clip]}: its encoding holds values that are not finite; correct the "
        "encoding, or leave the clip out"
    )


def _read(path: Path, encoding: nn.Module | None, numbers: Sequence[int], face: "Face | None") -> Tensor:
    if encoding is None:
        return torch.from_numpy(read_frame(path, grey=False))[None]
    grey = encoding.reads == "onset_apex"
    return read_clip(path, numbers, grey=grey, threads=os.cpu_count() or 1, face=face)


def _eyes(encoding: nn.Module | None, faces: "Sequence[Face] | None") -> Tensor | None:
    """(N, 2, 6, 2) polygons of the eyes of every row, where the encoding masks them."""
    if faces is None or not getattr(encoding, "masks_eyes", False):
        return None
    from mer.data.faces import eye_polygons

    return eye_polygons(faces)


def _take(waiting: list[Tensor], paths: list[str], eyes: Tensor | None) -> ClipBatch:
    """The waiting clips, the last of ``paths``, as one batch. The list is emptied while they are copied."""
    rows = slice(len(paths) - len(waiting), len(paths))
    lengths = torch.tensor([len(clip) for clip in waiting])
    if len(waiting) == 1:
        frames = waiting.pop()[None]
    else:
        shape = (len(waiting), int(lengths.max()), *waiting[0].shape[1:])
        frames = torch.from_numpy(np.zeros(shape, np.uint8))  # unlike torch's, not in memory until written
        while waiting:
            clip = waiting.pop()
            frames[len(waiting), : len(clip)] = clip
    return ClipBatch(paths[rows], frames, lengths, None if eyes is None else eyes[rows])
