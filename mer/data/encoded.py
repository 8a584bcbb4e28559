"""Encoded sets: every clip of a table as one image or one sequence, computed once and kept on disk.

A set lies in ``<cache>/encoded/<key>/`` as ``images.npy`` (N, H, W, C) float32 and ``about.json``; of
sequences, N are the frames of all clips, one clip after another, and about.json has the clips' lengths. The
key is a hash of the frames' manifest (path, size, mtime), of the faces and of the encoding's parameters, so
a changed file, crop or parameter is another set. It is written under a temporary name and renamed; a lock
a key lets one process encode while the others wait for its result. What a killed process left is removed when
the next set is made. Nothing is synced to the disk: a set that lost bytes in a power cut fails its hash and
is made again.
"""

import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor, nn

from mer.data.encoding_batches import ClipBatch, check_finite, clip_batches, frame_numbers
from mer.data.encoding_key import parameters, set_key
from mer.data.progress import progress_bar
from mer.data.roots import cache_dir
from mer.errors import MerError

if TYPE_CHECKING:
    from mer.data.faces import Face

FORMAT = 2  # raise it when the same parameters give other images
SEQUENCE_TYPES = (np.uint8, np.float16, np.float32)  # whole frames are many: an encoding may keep them small


@dataclass(frozen=True)
class EncodedSet:
    """Images, or the frames of sequences, in the order of the clip table.

    Attributes:
        images: (N, C, H, W) float32, channels_last in memory; 0..255 unless the encoding says otherwise.
            Of sequences, the frames of all clips, one clip after another, and uint8, float16 or float32.
        content: sha256 of the images' bytes, and of the lengths where there are any: two runs with the
            same content saw the same data.
        folder: where the set lies.
        lengths: (clips,) int64, frames of each clip in ``images``; None where a clip is one image.
    """

    images: Tensor
    content: str
    folder: Path
    lengths: Tensor | None = None


def encode(
    clips: pd.DataFrame,
    encoding: nn.Module | None = None,
    *,
    faces: "Sequence[Face] | None" = None,
    device: torch.device | str = "cpu",
    cache: Path | None = None,
    progress: bool = True,
) -> EncodedSet:
    """The encoded set of a clip table: from the cache, or computed in batches on ``device``.

    Args:
        clips: a validated clip table. With the column ``image``, each image is taken as it is.
        encoding: a module of ``mer.encodings``; None for images that are already encoded.
        faces: one a row, cut out of its frames before they are encoded; None takes whole frames.
        cache: folder of the cache, ``cache_dir()`` by default.
        progress: show a bar.

    Raises:
        MerError: an encoding for images that are already encoded, or none for frames; an encoding that
            masks the eyes without faces; a frame or image that is missing, unreadable or of another size;
            a cache that cannot be written.
    """
    folder = set_folder(clips, encoding, faces=faces, cache=cache)
    if (found := open_set(folder)) is not None:
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            # Another process may have encoded it while this one waited.
            found = open_set(folder) or _make(folder, clips, encoding, faces, torch.device(device), progress)
    except OSError as error:
        raise MerError(
            f"{folder}: the encoded set cannot be written ({error.strerror or error}); "
            "make room there, or set MER_CACHE to another folder"
        ) from error
    except RuntimeError as error:
        if not re.search("allocate|out of memory", str(error)):
            raise
        raise MerError(
            f"{clips['database'].iloc[0]}: clips of this size do not fit the memory once they are encoded; "
            "make encoding.size smaller"
        ) from error
    if found is None:
        raise MerError(
            f"{folder}: damaged directly after it was written; check the disk, or set MER_CACHE to another"
        )
    return found


def set_folder(
    clips: pd.DataFrame,
    encoding: nn.Module | None = None,
    *,
    faces: "Sequence[Face] | None" = None,
    cache: Path | None = None,
) -> Path:
    """The folder in which :func:`encode` keeps the set of these arguments, whether it is there or not.

    Raises:
        MerError: the arguments do not fit one another, or a frame or image is missing.
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
    if faces is not None and encoding is None:
        raise MerError("faces: these clips are published as images that are already encoded; give no faces")
    if faces is None and getattr(encoding, "masks_eyes", False):
        raise MerError(
            f"encoding={type(encoding).__name__}: it masks the eyes, which are found with the face; "
            "give the clips' faces (faces.method=auto)"
        )
    if faces is not None and len(faces) != len(clips):
        raise MerError(
            f"faces: {len(faces)} for a table of {len(clips)} clips; "
            "find the faces of the table that is encoded"
        )
    return (cache or cache_dir()) / "encoded" / set_key(clips, encoding, faces, version=FORMAT)


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
    # The hash covers the pixels, not the header that says what they are. Older sets do not name their shape.
    if not isinstance(images, np.ndarray) or images.ndim != 4 or not images.flags.c_contiguous:
        return None
    if about.get("shape", list(images.shape)) != list(images.shape):
        return None
    lengths = about.get("lengths")
    if lengths is None:
        fits = images.dtype == np.float32 and about.get("clips") == len(images)
    else:
        fits = images.dtype in SEQUENCE_TYPES and _fits(lengths, about.get("clips"), len(images))
    if not fits:
        return None
    if verify:
        digest = hashlib.sha256(images.data)
        if lengths is not None:
            _add_lengths(digest, lengths)
        if digest.hexdigest() != about["sha256"]:
            return None
    return EncodedSet(
        torch.from_numpy(images).permute(0, 3, 1, 2),
        about["sha256"],
        folder,
        None if lengths is None else torch.tensor(lengths),
    )


def _fits(lengths: object, clips: object, frames: int) -> bool:
    """Whether these are the lengths of so many clips with so many frames in all."""
    return (
        isinstance(lengths, list)
        and all(type(length) is int and length > 0 for length in lengths)
        and (len(lengths), sum(lengths)) == (clips, frames)
    )


def _make(
    folder: Path,
    clips: pd.DataFrame,
    encoding: nn.Module | None,
    faces: "Sequence[Face] | None",
    device: torch.device,
    progress: bool,
) -> EncodedSet | None:
    """Encode under a temporary name and rename; the caller holds the lock."""
    scratch = folder.with_name(f".{folder.name}")
    for leftover in (scratch, folder):  # of a process that was killed; of a set that is damaged
        if leftover.exists():
            shutil.rmtree(leftover)
    _remove_unfinished(folder.parent)
    scratch.mkdir()
    try:
        written = _write(scratch / "images.npy", clips, encoding, faces, device, progress)
        about = {"format": FORMAT, "clips": len(clips), "encoding": parameters(encoding), **written}
        (scratch / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return open_set(folder)


def _remove_unfinished(folder: Path) -> None:
    """Remove the other sets that killed processes left half: gigabytes that nobody may ask for again."""
    for scratch in folder.glob(".*"):
        if scratch.suffix == ".lock" or not scratch.is_dir():
            continue
        # Whoever holds the lock is alive.
        with suppress(Timeout, OSError), FileLock(folder / f"{scratch.name}.lock", timeout=0):
            shutil.rmtree(scratch)


def _write(
    path: Path,
    clips: pd.DataFrame,
    encoding: nn.Module | None,
    faces: "Sequence[Face] | None",
    device: torch.device,
    progress: bool,
) -> dict[str, object]:
    """Stream the images into a file. Memory holds one batch, whatever the size.

    Returns:
        What about.json says of them: the sha256, and the lengths of sequences.
    """
    numbers = frame_numbers(clips, encoding)
    lengths = list(map(len, numbers)) if _gives_sequences(encoding) else None
    rows = len(clips) if lengths is None else sum(lengths)
    digest = hashlib.sha256()
    shape: tuple[int, ...] | None = None
    what = "reading images" if encoding is None else f"encoding {len(clips)} clips"
    bar = progress_bar(progress)
    task = bar.add_task(what, total=len(clips))
    # Not a memory map: writing one to a full disk ends the process with a bus error.
    with path.open("wb") as file, torch.inference_mode(), bar:
        batches = clip_batches(clips, encoding, numbers, faces)
        for names, block in _encode_batches(batches, encoding, device):
            if shape is None:
                shape = block.shape[1:]
                np.lib.format.write_array_header_1_0(
                    file, {"descr": block.dtype.str, "fortran_order": False, "shape": (rows, *shape)}
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
            del block  # before the next one is made
    whole = [rows, *(shape or ())]
    if lengths is None:
        return {"sha256": digest.hexdigest(), "shape": whole}
    _add_lengths(digest, lengths)
    return {"sha256": digest.hexdigest(), "shape": whole, "lengths": lengths}


def _encode_batches(
    batches: Iterable[ClipBatch], encoding: nn.Module | None, device: torch.device
) -> Iterator[tuple[list[str], NDArray[Any]]]:
    """Names and images of each batch, in order.

    Pairs of frames are small, and crops of many sizes make batches of one pair, which cannot fill the cores:
    so many at a time. Whole clips come one batch at a time, for the memory's sake.
    """
    pairs = encoding is not None and encoding.reads == "onset_apex" and device.type == "cpu"
    workers = (os.cpu_count() or 1) if pairs else 1
    if workers == 1:
        for batch in batches:
            names, block = batch.names, _encode_batch(batch, encoding, device)
            del batch  # before the next one is read
            yield names, block
            del block
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[tuple[list[str], Future[NDArray[Any]]]] = deque()
        for batch in batches:
            waiting.append((batch.names, pool.submit(_encode_batch, batch, encoding, device)))
            if len(waiting) > workers:
                names, future = waiting.popleft()
                yield names, future.result()
        for names, future in waiting:
            yield names, future.result()


@torch.inference_mode()  # which a thread does not inherit
def _encode_batch(batch: ClipBatch, encoding: nn.Module | None, device: torch.device) -> NDArray[Any]:
    """The images of a batch, or the frames of its sequences, (rows, H, W, C); float32 where it is images."""
    if encoding is None:
        images = batch.frames[:, 0].float()
    else:
        inputs = [batch.frames, batch.lengths, *([] if batch.eyes is None else [batch.eyes])]
        images = encoding.to(device)(*(tensor.to(device) for tensor in inputs)).cpu()
    sequences = _gives_sequences(encoding)
    if sequences:
        images = images[torch.arange(batch.frames.shape[1]) < batch.lengths[:, None]]
    block: NDArray[Any] = images.permute(0, 2, 3, 1).contiguous().numpy()
    check_finite(block, batch, sequences=sequences)
    return block if sequences and block.dtype in SEQUENCE_TYPES else block.astype(np.float32, copy=False)


def _gives_sequences(encoding: nn.Module | None) -> bool:
    return getattr(encoding, "gives", "image") == "sequence"


def _add_lengths(digest: "hashlib._Hash", lengths: Sequence[int]) -> None:
    """Hash the lengths of sequences after their frames: the same frames may be cut into other clips."""
    digest.update(json.dumps(list(lengths)).encode())
