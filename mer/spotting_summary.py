"""What is said of a run that spots: its scores, under the rule that its method's curves want. No torch."""

import pandas as pd

from mer.runs import Plan
from mer.scores import ALL
from mer.spotting_metrics import frame_auc
from mer.spotting_scores import SpotOptions, scores

COUNTS = ["videos", "expressions"]
SCORES = ["auc", "interval_f1", "interval_precision", "interval_recall", "false_alarms"]


def has_scale(plan: Plan) -> bool:
    """Whether a run's scores mean the same in every video; those of a feature difference do not."""
    return not str(plan.config.get("network", {}).get("_target_", "")).endswith("FeatureDifference")


def run_scores(plan: Plan, frames: pd.DataFrame, expressions: pd.DataFrame) -> pd.DataFrame:
    """Scores of the videos of a run: rows ``all`` and, where there are several, each database.

    Args:
        plan: the run's. Without a scale, the height of a peak is relative to its video's own curve.
        frames, expressions: as `mer.runs.read_spotting` gives them.

    Returns:
        Columns `COUNTS` and `SCORES`; auc alone where the fps of a video is not known, which durations need.
        nan where a score is not defined.

    Raises:
        MerError: as `mer.spotting_scores.scores`.
    """
    if frames["fps"].notna().all():
        found = scores(frames, expressions, SpotOptions(relative=not has_scale(plan)))
        return found[[*COUNTS, *SCORES]]
    subsets = {ALL: frames}
    if frames["database"].nunique() > 1:
        subsets |= {str(name): part for name, part in frames.groupby("database")}
    areas = {name: frame_auc(part["inside"], part["score"]) for name, part in subsets.items()}
    return pd.DataFrame({"auc": areas})
