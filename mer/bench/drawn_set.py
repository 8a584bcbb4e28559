"""Random images in the layout of the published ones: speed does not depend on what they show."""

import os
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from mer import config
from mer.data.encoded import EncodedSet, encode
from mer.data.megc2019_uvos import read_clips
from mer.data.splits import Split
from mer.job import Job
from mer.prepare import prepare
from mer.train import make_recipe

# The composite of MEGC 2019: a LOSO as it is in this field.
CLIPS, SUBJECTS, SIZE = 442, 68, 28
CLASSES = ["negative", "positive", "surprise"]


def write_images(root: Path, *, clips: int = CLIPS, subjects: int = SUBJECTS, size: int = SIZE) -> Path:
    """Write ``clips`` images of ``size`` pixels a side, dealt to the subjects in turn; returns ``root``."""
    rng = np.random.default_rng(0)
    digits = max(2, len(str(subjects)))
    for clip in range(clips):
        subject = f"sub{clip % subjects + 1:0{digits}d}"
        folder = root / subject / "u_test" / str(rng.integers(len(CLASSES)))
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(
            str(folder / f"{subject}_clip{clip} .png"), rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        )
    return root


def draw_set(
    folder: Path, *, clips: int = CLIPS, subjects: int = SUBJECTS, size: int = SIZE
) -> tuple[pd.DataFrame, EncodedSet]:
    """Clip table and encoded set of such images; all of it lies in ``folder``."""
    table = read_clips(write_images(folder / "images", clips=clips, subjects=subjects, size=size))
    return table, encode(table, cache=folder / "cache", progress=False)


def overrides(folder: Path, *more: str) -> list[str]:
    """What ``mer train`` is given to train on the images in ``folder``."""
    return ["data=megc2019_uvos", f"data.root={folder / 'images'}", *more]


def loso_job(folder: Path, run: Path, *more: str) -> tuple[Job, list[Split]]:
    """The job of ``mer train`` on the images in ``folder`` under more overrides, and all its folds."""
    os.environ["MER_CACHE"] = str(folder / "cache")  # of this process, which a benchmark owns
    cfg = config.compose(overrides(folder, *more))
    with redirect_stderr(StringIO()):  # that these are not the published counts
        found = prepare(cfg)
    job = Job(run, found.clips, found.classes, found.encoded.folder, make_recipe(cfg), {})
    return job, found.splits
