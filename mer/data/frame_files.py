"""What can be said of a clip's frames without decoding them: which are there, whole, and of one size."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from mer.data.frames import is_cut_short, list_frames
from mer.data.image_header import image_header
from mer.errors import MerError

TAIL = 4096  # bytes at the end of a file in which its end marker must lie


class FrameFiles(NamedTuple):
    """The frames of a clip from onset to offset; ``problem`` is empty where they can be used."""

    numbers: list[int]
    problem: str = ""
    remedy: str = ""


def inspect(folder: Path, onset: int | None, offset: int | None) -> FrameFiles:
    """Look at the frames of one clip, or at its video.

    Args:
        folder: a folder of images, or a video file.
        onset: first frame that is wanted; None is the first that is there.
        offset: last frame that is wanted; None is the last that is there.
    """
    try:
        folder.stat()
    except (OSError, ValueError):  # a name may be too long for the disk, or hold a zero byte
        return FrameFiles([], "no such folder", "restore it, or remove the row")
    try:
        frames = list_frames(folder)
    except MerError as error:
        return FrameFiles([], str(error).removeprefix(f"{folder}: "), "restore the files, or remove the row")
    wanted = {
        number: path
        for number, path in frames.items()
        if (onset is None or number >= onset) and (offset is None or number <= offset)
    }
    if not wanted:
        held = f"{min(frames)} to {max(frames)}"
        return FrameFiles(
            [], f"no frame between onset {onset} and offset {offset}, it has {held}", "correct the row"
        )
    if folder.is_dir():
        problem = _damage(list(wanted.values()))
        if problem:
            return FrameFiles([], problem, "replace the file, or remove the row")
    return FrameFiles(list(wanted))


def _damage(paths: list[Path]) -> str:
    """The first image that is cut short or no image, or differs in size from most; empty for none."""
    sizes: dict[Path, tuple[int, int]] = {}
    for path in paths:
        try:
            with path.open("rb") as file:
                kind, sizes[path] = image_header(file)
                if file.seek(0, 2) <= TAIL:
                    file.seek(0)
                    content = file.read()
                else:
                    head = _START.get(kind, b"")
                    file.seek(-TAIL, 2)
                    content = head + file.read()
        except OSError as error:
            return f"{path.name} cannot be read ({error.strerror})"
        except MerError as error:
            return f"{path.name} is {error}"
        if is_cut_short(content):
            return f"{path.name} is cut short"
    usual = Counter(sizes.values()).most_common(1)[0][0]
    for path, size in sizes.items():
        if size != usual:
            return f"{path.name} is {size[0]}x{size[1]}, the other frames are {usual[0]}x{usual[1]}"
    return ""


_START = {"PNG": b"\x89PNG", "JPEG": b"\xff\xd8"}  # by which is_cut_short tells the format
