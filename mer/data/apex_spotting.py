"""Apex spotting by D&C-RoIs (LAENet 2.2.1, after Liong et al. 2015), for clips whose apex is not labelled.

The codes of local binary patterns are counted in three regions of every frame. How much the counts differ
from the first frame's is a curve over the clip; a peak of it, found by dividing and conquering, is the apex.
A spotted apex lies in ``<cache>/apexes/<key>.json``, a file a clip.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mer.atomic import write_text
from mer.data.face_crop import Face, outline
from mer.data.face_detection import typical_eyes
from mer.data.frames import file_stamp, list_frames, read_clip
from mer.data.progress import progress_bar
from mer.data.roots import cache_dir
from mer.descriptors.lbp import lbp_codes, lbp_histograms
from mer.errors import MerError

FORMAT = 1  # raise it when the same frames give another apex

# The regions in units of the distance between the centres of the eyes: centre right of and below an anchor,
# half the width, half the height. On an average face in the 68-point scheme the brows rise .37 above the
# eyes' centres and reach .43 outwards and .32 inwards, the eyes end .06 below; the mouth is .89 wide and
# lies .97 to 1.31 below the eyes' line. There is a margin of at least .07 around: faces differ and they move.
EYE_AND_BROW = (0.0, -0.15, 0.5, 0.35)  # anchor: the eye's centre
MOUTH = (0.0, 1.15, 0.6, 0.35)  # anchor: half-way between the eyes


def spot_missing(
    clips: pd.DataFrame,
    faces: Sequence[Face] | None = None,
    *,
    threads: int | None = None,
    cache: Path | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """The clip table with every missing apex spotted; rows that have one are left as they are.

    A clip is its frames from onset to offset, or to the end of its folder where one is missing.

    Args:
        clips: a validated clip table with the column ``frames``.
        faces: the face of each clip, which its frames are cropped to. None takes the whole frame for
            a face that is cropped already, with the eyes where they usually are.
        threads: files that are decoded at the same time; one a core by default. Memory holds one clip.
        cache: folder of the cache, ``cache_dir()`` by default.
        progress: show a bar.

    Returns:
        A new table; apex is the number of a frame that is there.

    Raises:
        MerError: a table of encoded images, a face too few or too many, a clip without frames, frames that
            cannot be read, or a cache that cannot be written.
    """
    if "frames" not in clips.columns:
        raise MerError(
            "apexes are spotted in frames, but these clips are published as images that are already encoded"
        )
    if faces is not None and len(faces) != len(clips):
        raise MerError(f"{len(faces)} faces for {len(clips)} clips; give one for each clip")
    folder = (cache or cache_dir()) / "apexes"
    missing = np.flatnonzero(clips["apex"].isna()).tolist()
    apexes = clips["apex"].copy()
    with progress_bar(progress) as bar:
        task = bar.add_task(f"spotting {len(missing)} apexes", total=len(missing))
        for k in missing:
            face = None if faces is None else faces[k]
            apexes.iloc[k] = _spot(clips.iloc[k], face, folder, threads or os.cpu_count() or 1)
            bar.advance(task)
    return clips.assign(apex=apexes)


def spot_apex(frames: Tensor, boxes: Tensor) -> int:
    """Index of the apex in a clip: ``divide_and_conquer`` of its ``change``.

    Args:
        frames: (T, 1, H, W) uint8, from onset to offset.
        boxes: (R, 4) of whole numbers, from ``regions``.
    """
    return divide_and_conquer(change(frames, boxes))


def change(frames: Tensor, boxes: Tensor) -> Tensor:
    """How much each frame of a clip differs from the first: ``difference_curve`` of LBP in the regions.

    Args:
        frames: (T, 1, H, W) uint8.
        boxes: (R, 4) of whole numbers, (x, y, width, height) in pixels.

    Returns:
        (T,) float64.
    """
    return difference_curve(lbp_histograms(lbp_codes(frames), boxes))


def difference_curve(histograms: Tensor) -> Tensor:
    """1 - Pearson's correlation coefficient with the first frame's histogram, averaged over regions.

    Liong et al. (2015) speak of a correlation coefficient; that the means are subtracted, and the regions
    averaged, is ours.

    Args:
        histograms: (T, R, B), from ``lbp_histograms``; T and R at least 1.

    Returns:
        (T,) float64, 0..2: exactly 0 for the first frame, and for every frame whose histograms equal its. A
        histogram with the same count in every bin correlates with no other one.

    Raises:
        MerError: another shape, or no frame or region.
    """
    if histograms.ndim != 3 or 0 in histograms.shape:
        raise MerError(
            f"give histograms (frames, regions, bins), one at least, not {tuple(histograms.shape)}"
        )
    centred = histograms.double()
    centred = centred - centred.mean(2, keepdim=True)
    unit = torch.nn.functional.normalize(centred, dim=2)
    differences = (1 - (unit * unit[:1]).sum(2)).clamp(min=0)
    # A histogram's correlation with itself is 1 up to rounding only.
    differences[(histograms == histograms[:1]).all(2)] = 0
    return differences.mean(1)


def divide_and_conquer(curve: Tensor) -> int:
    """Index of the peak that is left when halves are thrown away (Liong et al. 2015).

    Until one peak is left, the sequence is cut in two halves and the one with the larger sum of peaks is
    kept. An odd number leaves its middle frame to the second half; of equal sums the first half is kept.

    A peak is higher than the frames before and after it. A plateau is one peak, at its middle (of two
    middles the earlier), and so never at either end of the curve. Without any peak the apex is the
    maximum, the first of equal ones: of a curve that rises throughout the last frame, of a constant one 0.

    Args:
        curve: (T,), at least 0; T at least 1.

    Raises:
        MerError: another shape, or a value that is negative or no number.
    """
    heights: NDArray[np.float64] = curve.detach().cpu().double().numpy()
    if heights.ndim != 1 or not heights.size or not (heights >= 0).all():
        raise MerError(
            f"a curve of shape {tuple(curve.shape)} has no apex; give (frames,), with no value below 0"
        )
    peaks = find_peaks(heights)
    if not peaks.size:
        return int(heights.argmax())
    start, stop = 0, heights.size
    while peaks.size > 1:
        middle = (start + stop) // 2
        in_first = peaks < middle
        # A peak is above its neighbours and so above 0: a half without peaks never has the larger sum.
        if heights[peaks[in_first]].sum() >= heights[peaks[~in_first]].sum():
            peaks, stop = peaks[in_first], middle
        else:
            peaks, start = peaks[~in_first], middle
    return int(peaks[0])


def find_peaks(heights: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices of the peaks of a curve (T,), as ``divide_and_conquer`` defines them."""
    # Runs of equal values, so that a plateau is compared with what is beside it.
    starts = np.flatnonzero(np.diff(heights, prepend=np.nan) != 0)
    ends = np.append(starts[1:], heights.size) - 1
    level = heights[starts]
    inner = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])) + 1
    middles: NDArray[np.intp] = (starts[inner] + ends[inner]) // 2
    return middles


def regions(eyes: ArrayLike, size: tuple[int, int]) -> Tensor:
    """Three regions of a face, by proportions from its eyes: right eye and brow, left eye and brow, mouth.

    Right and left are the subject's: the right eye is on the left of the picture, whichever comes first.
    A tilted head is followed, but the boxes stay upright.

    Args:
        eyes: (2, 6, 2), the polygon of each eye as (x, y) in pixels of the frames (of a crop, if cropped).
        size: (width, height) of those frames.

    Returns:
        (3, 4) int64, (x, y, width, height), clipped to the frame.

    Raises:
        MerError: eyes of another shape, that are not two different points, or so placed that a region
            lies outside the frame.
    """
    polygons = np.asarray(eyes, dtype=np.float64)
    if polygons.shape != (2, 6, 2) or not np.isfinite(polygons).all():
        raise MerError(f"eyes are two polygons of six points (x, y), not an array {polygons.shape}")
    centres = polygons.mean(1)
    right, left = centres[centres[:, 0].argsort(kind="stable")]
    along = left - right
    if not along.any():
        raise MerError(f"both eyes have their centre at {right.round(1).tolist()}; correct the landmarks")
    distance = float(np.hypot(*along))
    down = np.array([-along[1], along[0]])
    boxes = []
    for anchor, (aside, below, half_width, half_height) in (
        (right, EYE_AND_BROW),
        (left, EYE_AND_BROW),
        ((right + left) / 2, MOUTH),
    ):
        centre = anchor + aside * along + below * down
        half = np.array([half_width, half_height]) * distance
        low = np.clip(np.rint(centre - half), 0, size).astype(int)
        high = np.clip(np.rint(centre + half), 0, size).astype(int)
        if (high <= low).any():
            raise MerError(
                f"eyes at {right.round(1).tolist()} and {left.round(1).tolist()} put a region of the face "
                f"outside its {size[0]}x{size[1]} frame; correct the landmarks"
            )
        boxes.append([*low, *(high - low)])
    return torch.tensor(np.array(boxes))


def typical_regions(size: tuple[int, int]) -> Tensor:
    """``regions`` of a frame (width, height) that shows a face alone, its eyes where they usually are."""
    return regions(np.stack([outline(*eye) for eye in typical_eyes((0, 0, *size))]), size)


def _spot(clip: pd.Series, face: Face | None, folder: Path, threads: int) -> int:
    """Frame number of one clip's apex, from the cache or from its frames."""
    source = Path(str(clip["frames"]))
    frames = list_frames(source)
    onset, offset = clip["onset"], clip["offset"]
    numbers = [
        number
        for number in frames
        if (pd.isna(onset) or number >= onset) and (pd.isna(offset) or number <= offset)
    ]
    if not numbers:
        raise MerError(
            f"{source}: clip {clip['database']}/{clip['subject']}/{clip['clip']} has no frame between its "
            f"onset {onset} and its offset {offset}"
        )
    path = folder / f"{_key([frames[number] for number in numbers], numbers, face)}.json"
    if (known := _read(path, numbers)) is not None:
        return known
    if face is None:
        pixels = read_clip(source, numbers, grey=True, threads=threads)
        boxes = typical_regions((pixels.shape[3], pixels.shape[2]))
    else:
        pixels = read_clip(source, numbers, grey=True, threads=threads, face=face)
        boxes = regions(face.eyes, face.size)
    apex = numbers[spot_apex(pixels, boxes)]
    _write(path, apex)
    return apex


def _key(paths: Sequence[Path], numbers: Sequence[int], face: Face | None) -> str:
    # Of a face, what decides the pixels: not how it was found.
    crop = face and [np.asarray(part).tolist() for part in (face.matrix, face.size, face.eyes)]
    digest = hashlib.sha256(json.dumps([FORMAT, numbers, crop]).encode())
    for path in dict.fromkeys(paths):
        digest.update(file_stamp(path))
    return digest.hexdigest()[:20]


def _read(path: Path, numbers: Sequence[int]) -> int | None:
    """The apex in a file; None if the file is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        apex, seal = found["apex"], found["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return apex if type(apex) is int and apex in numbers and seal == _seal(apex) else None


def _seal(apex: int) -> str:
    """Without it a flipped digit would be another apex."""
    return hashlib.sha256(str(apex).encode()).hexdigest()


def _write(path: Path, apex: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, json.dumps({"apex": apex, "sha256": _seal(apex)}))
    except OSError as error:
        raise MerError(
            f"{path}: the spotted apex cannot be written ({error.strerror or error}); "
            "make room there, or set MER_CACHE to another folder"
        ) from error
