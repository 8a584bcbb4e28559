"""Video files: their frames by number, decoded from the first one on."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mer.data.image_header import MOST_PIXELS
from mer.errors import MerError
from mer.opencv import import_opencv

# How the files of VIDEO_SUFFIXES begin: AVI; Matroska and WebM; Windows Media; MPEG; Flash; Ogg; and, after
# four bytes, MP4 and QuickTime. MPEG's transport stream has a G every 188 bytes.
CONTAINERS = (
    *(b"RIFF", b"RIFX", b"\x1aE\xdf\xa3", b"0&\xb2u", b"\0\0\1\xba", b"\0\0\1\xb3", b"\0\0\1\0"),
    *(b"FLV", b"OggS"),
)
QUICKTIME = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")

if TYPE_CHECKING:  # it reads frames itself
    from mer.data.faces import Face


def read_video(path: Path, numbers: Sequence[int], *, grey: bool, face: "Face | None" = None) -> Tensor:
    """The frames with these numbers, in this order; a number may come twice.

    Every frame up to the last one wanted is decoded: seeking is inexact, and differs between containers.

    Args:
        path: a file that FFmpeg can decode.
        numbers: frames are numbered from 1.
        grey: luma in place of colour.
        face: cut out of each frame.

    Returns:
        (T, C, H, W) uint8, 0..255; C is 1, or 3 in the order R, G, B.

    Raises:
        MerError: the file is missing or no video, or has no frame of a number.
    """
    if not numbers:
        raise MerError(f"{path}: no frame asked for; check the clip's onset, apex and offset")
    if min(numbers) < 1:
        raise MerError(
            f"{path}: no frame {min(numbers)}; the frames of a video are numbered from 1: "
            "check the clip's onset, apex and offset"
        )
    cv2 = import_opencv()
    places: dict[int, list[int]] = {}
    for place, number in enumerate(numbers):
        places.setdefault(number, []).append(place)
    clip = np.empty(0, np.uint8)
    with _opened(path) as video:
        for number in range(1, max(places) + 1):
            if number not in places:
                if not video.grab():
                    raise _ends(path, numbers, number - 1)
                continue
            decoded, pixels = video.read()
            if not decoded:
                raise _ends(path, numbers, number - 1)
            colours = pixels[:, :, ::-1].transpose(2, 0, 1)
            image = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)[None] if grey else colours
            if face is not None:
                from mer.data.faces import cut

                image = cut(image, face)
            if not len(clip):
                clip = np.empty((len(numbers), *image.shape), np.uint8)
            clip[places[number]] = image
    return torch.from_numpy(clip)


def count_frames(path: Path) -> int:
    """Frames that can be decoded: the number that a container states is often wrong.

    Raises:
        MerError: the file is missing, no video, or has no frame.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return _count(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=1024)
def _count(path: Path, _size: int, _mtime: int) -> int:
    """Counted once as long as the file stays the same: a long video holds many clips."""
    count = 0
    with _opened(path) as video:
        while video.grab():
            count += 1
    if count == 0:
        raise _ends(path, [], 0)
    return count


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A ``cv2.VideoCapture`` before its first frame."""
    cv2 = import_opencv()
    _check_container(path)
    with ExitStack() as stack:
        name = str(path.absolute())
        if os.fsencode(name) != name.encode("utf-8", "replace"):
            # OpenCV crashes on a name that is not UTF-8.
            link = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "video"
            link.symlink_to(name)
            name = str(link)
        # One decoder, or the frames would depend on what else OpenCV was built with.
        video = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        stack.callback(video.release)
        if not video.isOpened():
            raise MerError(f"{path}: not a video that OpenCV can open; copy or convert it again")
        size = [int(video.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        if size[0] * size[1] > MOST_PIXELS:
            raise MerError(f"{path}: frames of {size[0]}x{size[1]} pixels, too large; convert it again")
        yield video


def _check_container(path: Path) -> None:
    """Raise MerError unless a file begins as a video: FFmpeg also plays lists that name other files."""
    try:
        if not path.is_file():  # to open a pipe would wait for its writer
            path.stat()
            raise MerError(f"{path}: no file, so not a video; copy it again")
        with path.open("rb") as file:
            head = file.read(189)
    except OSError as error:
        raise _unreadable(path, error) from error
    stream = head[:1] == b"G" and head[188:189] in (b"G", b"")
    if not (head.startswith(CONTAINERS) or head[4:8] in QUICKTIME or stream):
        raise MerError(f"{path}: not a video that OpenCV can open; copy or convert it again")


def _unreadable(path: Path, error: OSError) -> MerError:
    return MerError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions")


def _ends(path: Path, numbers: Sequence[int], count: int) -> MerError:
    """The error of a video that ends before the last frame that is wanted."""
    if count == 0:
        return MerError(f"{path}: no frame in this video; copy or convert it again")
    missing = [number for number in numbers if number > count]
    return MerError(
        f"{path}: no frame {missing[0]} ({len(missing)} of {len(numbers)} missing); the video has "
        f"{count} frames: check the clip's onset, apex and offset"
    )
