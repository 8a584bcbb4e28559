"""``mer bench table``: a table of scores from finished runs, against reading and scoring as a notebook does.

The reference reads each fold's predictions with pandas and scores each cell with scikit-learn. It checks
nothing; ours also reads each fold's record, compares it with the plan, and writes mean and spread over the
seeds. Both are timed in a process that has imported all it needs.
"""

import contextlib
import io
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from mer import runs, table
from mer.bench import drawn_runs
from mer.bench.turns import in_turn

SIZE = {"rows": drawn_runs.ROWS, "seeds": drawn_runs.SEEDS, "folds": drawn_runs.FOLDS}
REPETITIONS = 5


def measure() -> dict[str, Any]:
    """Seconds of both; ``ratio`` is the reference's to ours: above 1, ours is faster."""
    with tempfile.TemporaryDirectory() as scratch:
        path = drawn_runs.write_runs(Path(scratch), **SIZE)
        runs_dir = Path(scratch) / "runs"
        found = runs.find(runs_dir)
        seconds = in_turn(
            {
                "ours_s": partial(render, path, runs_dir),
                "reference_s": partial(score_all, found),
                # What is left of ours after reading is scoring and layout.
                "reading_s": lambda: [runs.read_predictions(run) for run in found],
            },
            REPETITIONS,
        )
    print(", ".join(f"{name} {value:.3f}" for name, value in seconds.items()))
    return {
        "ratio": round(seconds["reference_s"] / seconds["ours_s"], 2),
        **SIZE,
        **{name: round(value, 3) for name, value in seconds.items()},
    }


def render(path: Path, runs_dir: Path) -> str:
    """What ``mer table --partial`` prints: it reads and scores as ever, and writes nothing."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(io.StringIO()):
        table.main([str(path), f"runs_dir={runs_dir}", "--partial"])
    return shown.getvalue()


def score_all(found: list[Path]) -> dict[str, dict[str, float]]:
    """Run -> the scores of its cells, by pandas and scikit-learn; the reference."""
    return {str(run): _score(run) for run in found}


def _score(run: Path) -> dict[str, float]:
    pooled = pd.concat([pd.read_parquet(path) for path in sorted(run.glob("fold-*/predictions.parquet"))])
    classes = [str(name).removeprefix("p_") for name in pooled.columns if str(name).startswith("p_")]
    guess = np.array(classes)[pooled[[f"p_{name}" for name in classes]].to_numpy().argmax(axis=1)]
    scores: dict[str, float] = {}
    for subset in ["all", *sorted(set(pooled["database"]))]:
        chosen = (pooled["database"] == subset).to_numpy() if subset != "all" else np.ones(len(pooled), bool)
        truth, given = pooled["label"].to_numpy()[chosen], guess[chosen]
        macro: dict[str, Any] = {"labels": classes, "average": "macro", "zero_division": 0}
        precision, recall = precision_score(truth, given, **macro), recall_score(truth, given, **macro)
        scores[f"{subset}_accuracy"] = accuracy_score(truth, given)
        scores[f"{subset}_f1"] = 2 * precision * recall / (precision + recall)
        scores[f"{subset}_uf1"] = f1_score(truth, given, **macro)
        scores[f"{subset}_uar"] = recall
    return scores
