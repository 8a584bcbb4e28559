"""Encoded sets: every clip of a table as one image, computed once and kept on disk.

A set lies in ``<cache>/encoded/<key>/`` as ``images.npy`` (N, H, W, C) float32 and ``about.json``. The
key is a hash of the frames' manifest (path, size, mtime) and of the encoding's parameters, so a changed
file or parameter is another set. It is written under a temporary name and renamed; a lock a key lets one
process encode while the others wait for its result.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from rich.console import Console
from rich.progress import Progress
from torch import Tensor, nn

from mer.data.frames import list_frames, read_clip, read_frame
from mer.data.roots import cache_dir
from mer.errors import MerError

FORMAT = 1  # raise it when the same parameters give other images
BATCH = 16  # clips a batch: bounds the memory, and is what the encodings were timed at


@dataclass(frozen=True)
class EncodedSet:
    """Images in the order of the clip table.

    Attributes:
        images: (N, C, H, W) float32, channels_last in memory; 0..255 unless the encoding says otherwise.
        content: sha256 of the images' bytes: two runs with the same content saw the same data.
        folder: where the set lies.
    """

    images: Tensor
    content: str
    folder: Path


def encode(
    clips: pd.DataFrame,
    encoding: nn.Module | None = None,
    *,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    progress: bool = True,
) -> EncodedSet:
    """The encoded set of a clip table: from the cache, or computed in batches on ``device``.

    Args:
        clips: a validated clip table. With the column ``image``, each image is taken as it is.
        encoding: a module of ``mer.encodings``; None for images that are already encoded.
        cache: folder of the cache, ``cache_dir()`` by default.
        progress: show a bar.

    Raises:
        MerError: an encoding for images that are already encoded, or none for frames; a frame or
            image that is missing, unreadable or of another size; a cache that cannot be written.
    """
    if "image" in clips.columns and encoding is not None:
        raise MerError(
            f"encoding={type(encoding).__name__}: these clips are published as images that are already "
            "encoded; use encoding=none"
        )
    if "frames" in clips.columns and encoding is None:
        raise MerError(
            "encoding=none: these clips are folders of frames; choose an encoding, such as apex_flow"
        )
    key = _key(clips, encoding)
    folder = (cache or cache_dir()) / "encoded" / key
    if (found := open_set(folder)) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{key}.lock")):
            # Another process may have encoded it while this one waited.
            found = open_set(folder) or _make(folder, clips, encoding, torch.device(device), progress)
    except OSError as error:
        raise MerError(
            f"{folder}: the encoded set cannot be written ({error.strerror or error}); "
            "make room there, or set MER_CACHE to another folder"
        ) from error
    if found is None:
        raise MerError(
            f"{folder}: damaged directly after it was written; check the disk, or set MER_CACHE to another"
        )
    return found


def open_set(folder: Path, *, verify: bool = True) -> EncodedSet | None:
    """The set in a folder, memory-mapped and shared between processes; None if it is missing or damaged.

    Args:
        folder: a folder that :func:`encode` made.
        verify: compare the images with their hash; only a process that has just seen it verified may skip it.
    """
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        # Copy-on-write: the pages are shared, and torch gets an array that it may call writable.
        images = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
    except Exception:  # a damaged header makes np.load raise nearly anything
        return None
    if (
        not isinstance(about, dict)
        or about.get("format") != FORMAT
        or not isinstance(about.get("sha256"), str)
    ):
        return None
    # The hash covers the pixels, not the header that says what they are.
    if images.dtype != np.float32 or images.ndim != 4 or not images.flags.c_contiguous:
        return None
    if about.get("clips") != len(images):
        return None
    if verify and hashlib.sha256(images.data).hexdigest() != about["sha256"]:
        return None
    return EncodedSet(torch.from_numpy(images).permute(0, 3, 1, 2), about["sha256"], folder)


def _make(
    folder: Path, clips: pd.DataFrame, encoding: nn.Module | None, device: torch.device, progress: bool
) -> EncodedSet | None:
    """Encode under a temporary name and rename; the caller holds the lock."""
    scratch = folder.with_name(f".{folder.name}")
    for leftover in (scratch, folder):  # of a process that was killed; of a set that is damaged
        if leftover.exists():
            shutil.rmtree(leftover)
    scratch.mkdir()
    try:
        content = _write(scratch / "images.npy", clips, encoding, device, progress)
        about = {"format": FORMAT, "clips": len(clips), "encoding": _parameters(encoding), "sha256": content}
        (scratch / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_set(folder)


def _write(
    path: Path, clips: pd.DataFrame, encoding: nn.Module | None, device: torch.device, progress: bool
) -> str:
    """Stream the images into a file; returns their sha256. Memory holds one batch, whatever the size."""
    digest = hashlib.sha256()
    shape: tuple[int, ...] | None = None
    what = "reading images" if encoding is None else f"encoding {len(clips)} clips"
    console = Console(stderr=True)
    bar = Progress(console=console, transient=True, disable=not (progress and console.is_terminal))
    task = bar.add_task(what, total=len(clips))
    # Not a memory map: writing one to a full disk ends the process with a bus error.
    with path.open("wb") as file, torch.inference_mode(), bar:
        for names, frames, lengths in _batches(clips, encoding):
            images = frames[:, 0].float()
            if encoding is not None:
                images = encoding.to(device)(frames.to(device), lengths.to(device)).cpu()
            block = images.permute(0, 2, 3, 1).contiguous().numpy().astype(np.float32, copy=False)
            if shape is None:
                shape = block.shape[1:]
                np.lib.format.write_array_header_1_0(
                    file, {"descr": block.dtype.str, "fortran_order": False, "shape": (len(clips), *shape)}
                )
            if block.shape[1:] != shape:
                (height, width, _), (first_height, first_width, _) = block.shape[1:], shape
                raise MerError(
                    f"{names[0]}: the image is {width}x{height} but the first was "
                    f"{first_width}x{first_height}; "
                    + ("give images of one size" if encoding is None else "set encoding.size")
                )
            file.write(block.data)
            bar.advance(task, len(names))
            digest.update(block.data)
    return digest.hexdigest()


def _batches(clips: pd.DataFrame, encoding: nn.Module | None) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    """(names, frames (B, T, C, H, W) padded at the end, lengths (B,)); frames of one size share a batch."""
    names: list[str] = []
    waiting: list[Tensor] = []
    for row in clips.itertuples(index=False):
        frames = _read(row, encoding)
        if waiting and (len(waiting) == BATCH or frames.shape[1:] != waiting[0].shape[1:]):
            yield names, *_pad(waiting)
            names, waiting = [], []
        names.append(str(row.image if encoding is None else row.frames))
        waiting.append(frames)
    if waiting:
        yield names, *_pad(waiting)


def _read(row: object, encoding: nn.Module | None) -> Tensor:
    if encoding is None:
        return torch.from_numpy(read_frame(Path(row.image), grey=False))[None]  # type: ignore[attr-defined]
    folder = Path(row.frames)  # type: ignore[attr-defined]
    name = f"{row.database}/{row.subject}/{row.clip}"  # type: ignore[attr-defined]
    onset, apex, offset = row.onset, row.apex, row.offset  # type: ignore[attr-defined]
    if encoding.reads == "onset_apex":
        if pd.isna(onset) or pd.isna(apex):
            raise MerError(
                f"{folder}: clip {name} has no onset or apex frame number, which this encoding needs"
            )
        numbers = [int(onset), int(apex)]
    else:
        numbers = list(list_frames(folder))
        first = int(onset) if not pd.isna(onset) else numbers[0]
        last = int(offset) if not pd.isna(offset) else numbers[-1]
        numbers = [number for number in numbers if first <= number <= last]
        if not numbers:
            raise MerError(
                f"{folder}: clip {name} has no frame between its onset {first} and its offset {last}"
            )
    return read_clip(folder, numbers, grey=encoding.reads == "onset_apex", threads=os.cpu_count() or 1)


def _pad(clips: list[Tensor]) -> tuple[Tensor, Tensor]:
    return (
        nn.utils.rnn.pad_sequence(clips, batch_first=True),
        torch.tensor([len(clip) for clip in clips], dtype=torch.int64),
    )


def _parameters(encoding: nn.Module | None) -> dict[str, object]:
    if encoding is None:
        return {"name": "none"}
    public = {
        key: repr(value)
        for key, value in vars(encoding).items()
        if not key.startswith("_") and key != "training"
    }
    return {"name": type(encoding).__name__, **public}


def _key(clips: pd.DataFrame, encoding: nn.Module | None) -> str:
    digest = hashlib.sha256(json.dumps([FORMAT, _parameters(encoding)]).encode())
    for row in clips.itertuples(index=False):
        if encoding is None:
            files = [Path(str(row.image))]
        else:
            files = list(list_frames(Path(str(row.frames))).values())
            digest.update(f"{row.onset} {row.apex} {row.offset}".encode())
        for path in files:
            try:
                stat = path.stat()
            except OSError as error:
                raise MerError(f"{path}: cannot be read ({error.strerror}); check data.root") from error
            digest.update(f"{path.absolute()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:20]
