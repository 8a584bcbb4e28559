"""A run folder as the dashboard reads it: once, and whatever is wrong with it becomes a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mer import runs
from mer.errors import MerError
from mer.selection import LAST, select
from mer.statistics import METRICS, grouped_confusions, score_matrices


@dataclass(frozen=True)
class Run:
    """What a run folder holds.

    Attributes:
        folder: the run folder.
        name: its path below the runs folder, ``<experiment>/<variant>/<data>/<protocol>/seed-<s>``.
        plan: None where plan.yaml cannot be read.
        states: of every fold of the plan.
        reasons: fold -> why it failed.
        problem: why there are no scores; empty where there are, or where nothing is finished yet.
        records: run.yaml of every finished fold.
        predictions: of the finished folds at the last epoch; None where there are none.
        by_epoch: index epoch, columns of `METRICS`: pooled over all folds, where every epoch is stored.
        metrics: metrics.csv of the finished folds under each other, with the column fold.
        spotting: frames and expressions of the finished folds (`mer.runs.read_spotting`).
    """

    folder: Path
    name: str
    plan: runs.Plan | None = None
    states: Mapping[str, runs.State] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)
    predictions: pd.DataFrame | None = None
    by_epoch: pd.DataFrame | None = None
    metrics: pd.DataFrame | None = None
    spotting: tuple[pd.DataFrame, pd.DataFrame] | None = None

    @property
    def done(self) -> int:
        """Finished folds."""
        return list(self.states.values()).count("done")

    @property
    def state(self) -> str:
        """``damaged``, ``complete``, ``running``, ``failed``, ``partial`` or ``empty``."""
        there = set(self.states.values())
        if self.problem or self.plan is None:
            return "damaged"
        if there == {"done"}:
            return "complete"
        for state in ("running", "failed"):
            if state in there:
                return state
        return "partial" if "done" in there else "empty"

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on drawn faces."""
        return self.plan is not None and (self.plan.synthetic or self.name.split("/")[2] == "synthetic")

    def said(self, key: str) -> list[str]:
        """What the folds' records say under a key, each once, sorted; empty where none does."""
        return sorted({str(record[key]) for record in self.records if record.get(key) is not None})

    @property
    def versions(self) -> list[str]:
        """Packages and their versions, as the folds' records name them."""
        named = [record.get("versions") for record in self.records]
        pairs = [pair for each in named if isinstance(each, Mapping) for pair in each.items()]
        return list(dict.fromkeys(f"{name} {version}" for name, version in pairs))

    @property
    def seconds(self) -> float | None:
        """Of training, summed over the finished folds; None where a record has none."""
        values = [record.get("seconds") for record in self.records]
        numbers = [float(value) for value in values if isinstance(value, (int, float))]
        return sum(numbers) if numbers and len(numbers) == len(values) else None


def read_all(runs_dir: Path) -> list[Run]:
    """Every run below a folder, sorted by name; a damaged one too."""
    return [read(folder, runs_dir) for folder in runs.find(runs_dir)]


def read(folder: Path, runs_dir: Path) -> Run:
    """One run; never raises for what stands in its files."""
    name = folder.relative_to(runs_dir).as_posix()
    found: dict[str, Any] = {}
    try:
        _fill(folder, found)
    except MerError as error:
        found["problem"] = str(error)
    except Exception as error:  # files that nobody wrote with mer: one run must not hide the others
        found["problem"] = f"{folder}: cannot be shown ({type(error).__name__}: {error})"
    return Run(folder, name, **found)


def _fill(folder: Path, found: dict[str, Any]) -> None:
    """Put what can be read into ``found``, field by field, so that it is kept when the next one fails."""
    plan = runs.read_plan(folder)
    states = {str(fold): runs.state(folder, str(fold)) for fold in plan.folds}
    found |= {"plan": plan, "states": states}
    found["reasons"] = {
        fold: runs.failure(folder, fold) for fold, state in states.items() if state == "failed"
    }
    done = [fold for fold, state in states.items() if state == "done"]
    if not done:
        return
    records = runs.read_records(folder, done)
    found["records"] = list(records.values())
    found["metrics"] = pd.concat(
        [runs.read_metrics(folder, fold, record).assign(fold=fold) for fold, record in records.items()],
        ignore_index=True,
    )
    if plan.clips:
        every_epoch = runs.read_predictions(folder, partial=True, records=records)
        found["predictions"] = select(every_epoch, LAST)
        if every_epoch["epoch"].nunique() > 1:
            epochs, matrices = grouped_confusions(every_epoch, plan.classes, ["epoch"])
            scores = {metric: score_matrices(matrices, metric) for metric in METRICS}
            found["by_epoch"] = pd.DataFrame(scores, index=epochs)
    if plan.videos:
        found["spotting"] = runs.read_spotting(folder, partial=True, records=records)
