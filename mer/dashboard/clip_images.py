"""Encoded images of clips as PNG files, from the encoded sets in the cache. No torch."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mer.dashboard.run_data import Run
from mer.runs import KEY

Name = tuple[str, str, str]


@dataclass(frozen=True)
class EncodedImages:
    """The images of an encoded set, and which row is whose.

    Attributes:
        content: the set's hash.
        images: (N, H, W, C), mapped from the disk.
        rows: (database, subject, clip) -> row of ``images``; of a sequence, its middle frame. Empty where
            no run tells the names.
    """

    content: str
    images: NDArray[Any]
    rows: dict[Name, int]


def find_images(found: list[Run], cache: Path) -> tuple[dict[str, EncodedImages], dict[str, str]]:
    """The encoded sets that runs were made from, by content; and why images cannot be shown, by content.

    A set does not hold the clips' names; its rows are in their order. So the names come from any run that
    tests every clip of the set, as leaving one subject out does.

    Args:
        found: runs.
        cache: `mer.data.roots.cache_dir`.
    """
    there: dict[str, EncodedImages] = {}
    lacking: dict[str, str] = {}
    places = _sets(cache)
    for run in sorted(found, key=lambda each: 0 if each.predictions is None else -len(each.predictions)):
        if run.plan is None or run.predictions is None:
            continue
        content = run.plan.content
        if content in there and there[content].rows:
            continue
        opened = _open(places[content]) if content in places else None
        if opened is None:
            lacking[content] = (
                f"the encoded set {content[:8]} is not in the cache ({cache}); "
                "mer encode, or a run on the same data, makes it again"
            )
            continue
        images, starts = opened
        names = run.predictions[KEY].astype(str).sort_values(KEY, kind="stable")
        if len(names) != len(starts):
            there.setdefault(content, EncodedImages(content, images, {}))
            lacking.setdefault(
                content,
                f"the runs test at most {len(names)} of the {len(starts)} clips of the encoded set "
                f"{content[:8]}, which holds no names; a run that tests all of them (protocol=loso) "
                "tells whose they are",
            )
            continue
        rows = {
            (str(database), str(subject), str(clip)): int(start)
            for (database, subject, clip), start in zip(names.to_numpy(), starts, strict=True)
        }
        there[content] = EncodedImages(content, images, rows)
        lacking.pop(content, None)
    return there, lacking


def image_path(encoded: EncodedImages, name: Name) -> str:
    """Where a clip's image lies in the dashboard. No name of the data is in it."""
    return f"clips/{encoded.content[:12]}/{encoded.rows[name]}.png"


def write_image(encoded: EncodedImages, name: Name, out: Path) -> None:
    """Write a clip's image below ``out``, unless another run wrote it already."""
    path = out / image_path(encoded, name)
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(encoded.images[encoded.rows[name]])).save(path)


def picture(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An encoded image (H, W, C) as (H, W) or (H, W, 3) to look at.

    The first three channels are red, green and blue; of two, blue is empty. Values of 0..255 are shown as
    they are, others are stretched from the image's lowest to its highest.
    """
    values = np.asarray(image[..., :3], dtype=np.float64)
    values = np.nan_to_num(values, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 255 or high <= 1:
        values = (values - low) * (255 / (high - low) if high > low else 0)
    if values.shape[-1] == 2:
        values = np.concatenate([values, np.zeros_like(values[..., :1])], axis=-1)
    pixels: NDArray[np.uint8] = values.round().astype(np.uint8)
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _sets(cache: Path) -> dict[str, Path]:
    """Content -> folder, of all sets of a cache."""
    found = {}
    for path in sorted(cache.glob("encoded/[!.]*/about.json")):
        about = _about(path)
        # The content names a folder of the dashboard, too.
        if re.fullmatch(r"[0-9a-f]{64}", str(about.get("sha256"))):
            found[str(about["sha256"])] = path.parent
    return found


def _open(folder: Path) -> tuple[NDArray[Any], NDArray[np.int64]] | None:
    """The images, and each clip's row (of a sequence, its middle frame); None where they are damaged."""
    about = _about(folder / "about.json")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        lengths = about.get("lengths") or [1] * int(about["clips"])
        sizes = np.asarray(lengths, dtype=np.int64)
    except Exception:  # a damaged header makes np.load raise nearly anything
        return None
    if images.ndim != 4 or sizes.ndim != 1 or (sizes < 1).any() or int(sizes.sum()) != len(images):
        return None
    return images, pd.Series(sizes).cumsum().to_numpy() - sizes + sizes // 2


def _about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
