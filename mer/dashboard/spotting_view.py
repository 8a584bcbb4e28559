"""What the page of a run that spots shows: scores, ROC curves, and each video's curve with its intervals."""

from typing import Any

import numpy as np
import pandas as pd

from mer.dashboard.curves import thin
from mer.errors import MerError
from mer.runs import Plan
from mer.scores import ALL
from mer.spotting_metrics import match, roc_curve
from mer.spotting_scores import VIDEO, SpotOptions, check_frames, spotted
from mer.spotting_summary import has_scale, run_scores

VIDEOS = 120  # whose curves a page holds
ROC_POINTS = 250
CURVE_POINTS = 400


def view(plan: Plan, frames: pd.DataFrame, expressions: pd.DataFrame) -> dict[str, Any]:
    """Scores, ROC and videos of a run.

    Args:
        plan: the run's.
        frames, expressions: as `mer.runs.read_spotting` gives them.

    Returns:
        ``scores`` (a row a subset, with ``name``), ``rule`` (in words; empty where durations are not known),
        ``roc`` (a curve a subset), ``videos`` (at most :data:`VIDEOS`, those with most errors first) and
        ``left_out`` of them.

    Raises:
        MerError: as `mer.spotting_scores.scores`.
    """
    scores = run_scores(plan, frames, expressions)
    options = SpotOptions(relative=not has_scale(plan)) if frames["fps"].notna().all() else None
    subsets = {ALL: frames}
    if len(scores) > 1:
        subsets |= {str(name): part for name, part in frames.groupby("database")}
    videos = _videos(frames, expressions, options)
    return {
        "scores": [{"name": str(name), **row.to_dict()} for name, row in scores.iterrows()],
        "rule": options.words() if options else "",
        "roc": [_roc(name, part) for name, part in subsets.items()],
        "videos": videos[:VIDEOS],
        "left_out": max(0, len(videos) - VIDEOS),
    }


def _roc(name: str, frames: pd.DataFrame) -> dict[str, Any]:
    wrong, right, _ = roc_curve(frames["inside"].to_numpy(dtype=np.bool_), frames["score"].to_numpy())
    if np.isnan(wrong).any() or np.isnan(right).any():
        return {"name": name, "x": [], "y": []}
    return {"name": name, "x": thin(wrong, ROC_POINTS), "y": thin(right, ROC_POINTS)}


def _videos(
    frames: pd.DataFrame, expressions: pd.DataFrame, options: SpotOptions | None
) -> list[dict[str, Any]]:
    """A row a video: its curve, true and found intervals, hits, misses and false alarms."""
    found = _intervals(spotted(frames, options)) if options else {}
    true = _intervals(expressions)
    rows = []
    for key, video in check_frames(frames).groupby(VIDEO, sort=False):
        name = tuple(map(str, key))
        own, spots = true.get(name, []), found.get(name, [])
        hits = 0
        if options and own and spots:
            hits = match(np.asarray(own), np.asarray(spots), options.least_iou)[0]
        rows.append(
            {
                **dict(zip(VIDEO, name, strict=True)),
                "frame": thin(video["frame"].to_numpy(), CURVE_POINTS),
                "score": thin(video["score"].to_numpy(), CURVE_POINTS),
                "true": own,
                "found": spots,
                "hits": hits,
                "misses": len(own) - hits if options else None,
                "alarms": len(spots) - hits if options else None,
            }
        )
    return sorted(rows, key=lambda row: -((row["misses"] or 0) + (row["alarms"] or 0)))


def _intervals(table: pd.DataFrame) -> dict[tuple[str, ...], list[list[int]]]:
    """Video -> [[onset, offset], ...]."""
    if missing := [name for name in ("onset", "offset") if table[name].isna().any()]:
        raise MerError(f"the expressions: one has no {missing[0]}")
    return {
        tuple(map(str, name)): part[["onset", "offset"]].astype(int).to_numpy().tolist()
        for name, part in table.groupby(VIDEO, sort=False)
    }
