"""Frames on disk: which files a clip's folder holds, or which frames its video, and their pixels."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.data.image_header import image_header
from mer.data.video import count_frames, read_video
from mer.errors import MerError
from mer.opencv import import_opencv

if TYPE_CHECKING:  # it reads frames itself
    from mer.data.faces import Face

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
VIDEO_SUFFIXES = (".avi", ".mp4", ".mov", ".mkv", ".mpg", ".mpeg", ".m4v", ".wmv", ".webm")


def is_video(path: Path) -> bool:
    """Whether a clip's path is a file that is no image; where nothing is there, its name decides."""
    suffix = path.suffix.lower()
    return suffix not in SUFFIXES and (path.is_file() or (suffix in VIDEO_SUFFIXES and not path.is_dir()))


def list_frames(folder: Path) -> dict[int, Path]:
    """The image files of a folder by frame number, in the order of the numbers (img9 before img10).

    The number is the last integer in the name without its suffix: ``reg_img46.jpg`` is 46 and
    ``006_1_05588.jpg`` is 5588. Hidden files, other files and subfolders are passed over. The frames of
    a video file are numbered from 1, and each lies in the file itself; they are counted by decoding.

    Raises:
        MerError: the folder is missing, cannot be listed, or has no image; an image has no number, or one of
            more than 15 digits; two have the same; a video that cannot be opened, or has no frame.
    """
    if is_video(folder):
        return dict.fromkeys(range(1, count_frames(folder) + 1), folder)
    if not folder.is_dir():
        raise MerError(f"{folder}: no such folder of frames; check data.root and the database's layout")
    names = list_names(folder, lambda entry: entry.name.lower().endswith(SUFFIXES) and entry.is_file())
    if not names:
        raise MerError(
            f"{folder}: no frame in this folder; it should hold files that end in {' '.join(SUFFIXES)}"
        )
    frames: dict[int, Path] = {}
    for name in names:
        path = folder / name
        number = frame_number(path)
        if number in frames:
            raise MerError(
                f"{folder}: {frames[number].name} and {name} are both frame {number}; "
                "move one out of the folder"
            )
        frames[number] = path
    return dict(sorted(frames.items()))


def list_names(folder: Path, wanted: Callable[["os.DirEntry[str]"], bool]) -> list[str]:
    """The names in a folder, sorted, but for hidden ones, unwanted ones, and links that lead nowhere.

    Raises:
        MerError: the folder cannot be listed.
    """

    def is_wanted(entry: "os.DirEntry[str]") -> bool:
        try:
            return wanted(entry)
        except OSError:  # a link in a circle
            return False

    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not e.name.startswith(".") and is_wanted(e))
    except OSError as error:
        raise MerError(f"{folder}: cannot be listed ({error.strerror}); check its permissions") from error


def file_stamp(path: Path) -> bytes:
    """Path, size and time of a file, for the keys of caches.

    Raises:
        MerError: it cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise MerError(f"{path}: cannot be read ({error.strerror}); check data.root") from error
    # A name need not be UTF-8.
    return os.fsencode(path.absolute()) + f"\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode()


def frame_number(path: Path) -> int:
    """The last integer in a file's name without its suffix; MerError where there is none, or a huge one."""
    integers = re.findall("[0-9]+", path.stem)
    if not integers:
        raise MerError(f"{path}: no frame number in this name; rename the file or move it out of the folder")
    # The clip table's numbers are exact up to 2^53.
    if len(integers[-1].lstrip("0")) > 15:
        raise MerError(f"{path}: {integers[-1][:20]}... is no frame number; rename the file: img1, img2, ...")
    return int(integers[-1])


def read_clip(
    folder: Path, numbers: Sequence[int], *, grey: bool, threads: int = 1, face: "Face | None" = None
) -> Tensor:
    """The frames with these numbers, in this order; a number may come twice.

    Args:
        folder: see ``list_frames``; or a video file.
        numbers: frame numbers as in the clip table.
        grey: one channel in place of three.
        threads: files that are decoded at the same time. The result does not depend on it. A video is
            decoded by as many threads as FFmpeg takes.
        face: cut out of each frame directly after it is decoded; None keeps whole frames.

    Returns:
        (T, C, H, W) uint8, 0..255; C is 1, or 3 in the order R, G, B.

    Raises:
        MerError: a number has no frame, a file cannot be read, or two frames differ in size.
    """
    if is_video(folder):
        return read_video(folder, numbers, grey=grey, face=face)
    frames = list_frames(folder)
    if not numbers:
        raise MerError(f"{folder}: no frame asked for; check the clip's onset, apex and offset")
    missing = [number for number in numbers if number not in frames]
    if missing:
        raise MerError(
            f"{folder}: no frame {missing[0]} ({len(missing)} of {len(numbers)} missing); the folder has "
            f"{len(frames)} frames, {min(frames)} to {max(frames)}: check the clip's onset, apex and offset"
        )
    paths = [frames[number] for number in numbers]
    clip = np.empty(0, np.uint8)
    allocating = Lock()

    def decode(place: int) -> str:
        """Decode one frame into its place, so that the clip is in memory once; gives the frame's size."""
        nonlocal clip
        frame = read_frame(paths[place], grey=grey)
        image = frame if face is None else _cut(frame, face)
        with allocating:
            if clip.ndim == 1:
                clip = np.empty((len(paths), *image.shape), np.uint8)
        if image.shape == clip.shape[1:]:
            clip[place] = image
        return size_of(frame)

    with ThreadPoolExecutor(threads) as pool:
        sizes = list(pool.map(decode, range(len(paths))))
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise MerError(
                f"{folder}: frames differ in size: {paths[0].name} is {sizes[0]} and {path.name} is {size}; "
                "replace the file that is wrong"
            )
    return torch.from_numpy(clip)


def _cut(frame: NDArray[np.uint8], face: "Face") -> NDArray[np.uint8]:
    from mer.data.faces import cut

    return cut(frame, face)


def read_frame(path: Path, *, grey: bool) -> NDArray[np.uint8]:
    """Pixels of one image file.

    Args:
        path: a JPEG, PNG or BMP file, told by its content; 16 bits a channel are scaled to 8.
        grey: luma in place of colour.

    Returns:
        (1, H, W) grey, or (3, H, W) in the order R, G, B; uint8, 0..255.

    Raises:
        MerError: the file is missing, is no image of these formats, is cut short, or claims more pixels
            than a frame has.
    """
    cv2 = import_opencv()
    try:
        # Read here, not by OpenCV, which cannot open every name that is not ASCII.
        content = path.read_bytes()
    except OSError as error:
        raise MerError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    # Some versions of OpenCV decode the half of a cut file and leave the rest grey.
    if is_cut_short(content):
        raise MerError(f"{path}: this image is cut short ({len(content)} bytes); copy or extract it again")
    try:
        image_header(content)
    except MerError as error:
        raise MerError(f"{path}: {error}; give JPEG, PNG or BMP files, or copy it again") from error
    flags = (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) | cv2.IMREAD_ANYDEPTH
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise MerError(f"{path}: not an image that OpenCV can read; copy or extract it again")
    image = pixels[None] if grey else pixels[:, :, ::-1].transpose(2, 0, 1)
    return np.ascontiguousarray(to_8_bit(image))


def is_cut_short(content: bytes) -> bool:
    """Whether a PNG lacks its last chunk or a JPEG its end marker. Bytes after the end are allowed."""
    if content.startswith(b"\x89PNG"):
        return b"IEND\xaeB`\x82" not in content
    if content.startswith(b"\xff\xd8"):
        # The marker counts only after the last start of a scan: an embedded thumbnail ends earlier.
        return content.rfind(b"\xff\xd9") <= content.rfind(b"\xff\xda")
    return False


def to_8_bit(image: NDArray[np.uint8] | NDArray[np.uint16]) -> NDArray[np.uint8]:
    """16-bit values divided by 257 (65535 becomes 255) and rounded; 8-bit ones as they are."""
    if image.dtype == np.uint16:
        return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return image.astype(np.uint8, copy=False)


def size_of(image: NDArray[np.uint8]) -> str:
    """Width x height of an image (C, H, W), as image viewers show it."""
    return f"{image.shape[2]}x{image.shape[1]}"
