"""Writes scored frames and true expressions for tests, and runs that hold them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer import runs
from tests.run_folder import FOLDS, make_metrics, make_plan, make_predictions, make_record

Pairs = Sequence[tuple[int, int]]
VIDEOS_A_FOLD = 2


def curve(length: int, humps: Pairs, first: int = 1) -> "np.typing.NDArray[np.float32]":
    """A curve of ``length`` frames: 0, and a half sine to .9 over each hump's first to last frame."""
    frames = np.arange(first, first + length)
    score = np.zeros(length)
    for onset, offset in humps:
        phase = (frames - onset + 1) / (offset - onset + 2)
        score += 0.9 * np.where((phase > 0) & (phase < 1), np.sin(np.pi * phase), 0)
    return score.astype(np.float32)


def make_video(
    name: str, true: Pairs, humps: Pairs, *, length: int = 200, fps: float = 100, first: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Frames and expressions of ``<database>/<subject>/<video>``, without fold, seed and epoch."""
    database, subject, video = name.split("/")
    key = {"database": database, "subject": subject, "video": video}
    frame = np.arange(first, first + length)
    inside = np.zeros(length, np.bool_)
    for onset, offset in true:
        inside |= (frame >= onset) & (frame <= offset)
    score = curve(length, humps, first)
    frames = pd.DataFrame(
        {**key, "frame": frame, "fps": fps, "inside": inside, "intensity": np.float32(np.nan), "score": score}
    )
    rows: list[dict[str, Any]] = [
        {**key, "clip": f"{video}-{k}", "label": "positive", "onset": onset, "apex": pd.NA, "offset": offset}
        for k, (onset, offset) in enumerate(true)
    ]
    columns = ["database", "subject", "video", "clip", "label", "onset", "apex", "offset"]
    expressions = pd.DataFrame(rows, columns=columns)
    return frames, expressions.astype(dict.fromkeys(["onset", "apex", "offset"], "Int64"))


def join(*videos: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Several videos as one pair of tables."""
    frames, expressions = zip(*videos, strict=True)
    return pd.concat(frames, ignore_index=True), pd.concat(expressions, ignore_index=True)


def make_spotting_run(runs_dir: Path, key: runs.RunKey, *, shift: int = 0, synthetic: bool = False) -> Path:
    """A finished run: in each fold an expression, spotted ``shift`` frames late, and a still video."""
    plan = make_plan(videos=VIDEOS_A_FOLD * len(FOLDS), synthetic=synthetic)
    run = key.folder(runs_dir)
    runs.start(run, plan)
    record = make_record(plan, seconds=1.5, mer="0.1.0", versions={"torch": "2.9.0"}, date="2026-01-02")
    for fold in FOLDS:
        spotted = make_video(f"{fold}/v1", [(51, 90)], [(51 + shift, 90 + shift)])
        still = make_video(f"{fold}/v2", [], [(21, 60)] if fold == FOLDS[0] else [])
        frames, expressions = join(spotted, still)
        with runs.claim(run, fold) as folder:
            runs.write_spotting(folder, frames.assign(fold=fold, seed=key.seed, epoch=3), expressions)
            predictions = make_predictions(fold).assign(seed=key.seed)
            runs.finish(folder, predictions, make_metrics(fold), record)
    return run
