"""A configuration chosen inside each group of test subjects, by folds that none of them is in. No torch.

A candidate is a run under leave-one-subject-out, and one run a group under `mer.data.nested.inner`, whose
folds leave the subjects of that group out altogether. The candidate that does best on the inner folds of a
group is the one that the subjects of the group are tested by.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer import runs
from mer.data.nested import INNER_TAG
from mer.errors import MerError
from mer.runs import KEY, RunKey
from mer.statistics import SUBJECT, grouped_confusions, score_matrices
from mer.table_results import Record, make_record, read_stored, write_stored

GROUP = "group"
TESTED = -1  # in place of a group: predictions under leave-one-subject-out
EVERY_GROUP = "the last epoch, and the inner folds of each group"  # in place of a rule, in the record
_REMEDY = "restore both files, or remove both and have them made again from the runs"


@dataclass(frozen=True)
class Choice:
    """What a candidate is: a variant, whose predictions may be averaged over seeds and over its last epochs.

    Attributes:
        key: of the run under leave-one-subject-out, with the first seed.
        seeds: that are averaged.
        epochs: the last ones that are averaged.
        inner: name of the inner protocol.
        groups: how many it has.
    """

    key: RunKey
    seeds: tuple[int, ...]
    epochs: int
    inner: str
    groups: int

    @property
    def name(self) -> str:
        """As its stored predictions are called."""
        averaged = f".last-{self.epochs}" if self.epochs > 1 else ""
        seeds = "-".join(map(str, self.seeds))
        return f"{self.key.experiment}.{self.key.variant}{averaged}.seed-{seeds}"

    def runs(self) -> dict[int, list[RunKey]]:
        """The runs of each group, a seed each; those under leave-one-subject-out under ``TESTED``."""
        fields = vars(self.key)
        keys = {TESTED: [RunKey(**fields | {"seed": seed}) for seed in self.seeds]}
        for group in range(self.groups):
            change = {"protocol": self.inner, "tag": INNER_TAG.format(group)}
            keys[group] = [RunKey(**vars(key) | change) for key in keys[TESTED]]
        return keys


@dataclass(frozen=True)
class Candidate:
    """The predictions of a candidate.

    Attributes:
        where: they were read from.
        record: what made those of its first seed under leave-one-subject-out.
        predictions: columns group, database, subject, clip, label, p_<class>...; one row a clip and group.
    """

    where: Path
    record: Record
    predictions: pd.DataFrame

    def of(self, group: int) -> pd.DataFrame:
        """The predictions of the inner folds of a group, or under leave-one-subject-out."""
        return self.predictions[self.predictions[GROUP] == group].drop(columns=GROUP)

    def inner_scores(self, metric: str) -> NDArray[np.float64]:
        """(groups,) scores of the pooled inner folds of each group, 0..1."""
        inner = self.predictions[self.predictions[GROUP] != TESTED]
        return score_matrices(grouped_confusions(inner, self.record.classes, [GROUP])[1], metric)


def read_candidate(choice: Choice, runs_dir: Path) -> Candidate | None:
    """The predictions of a candidate's runs; None where one of them is not finished.

    Raises:
        MerError: a damaged run, inner folds that were trained under another config, or epochs that were not
            kept.
    """
    parts, first, last = [], None, 0
    for group, keys in choice.runs().items():
        each = []
        for key in keys:
            folder = key.folder(runs_dir)
            plan = runs.finished_plan(folder)
            if plan is None:
                return None
            first = first or plan
            _check_config(folder, group, choice.groups, plan.config, first.config)
            if plan.content != first.content:
                raise MerError(f"{folder}: other data than that of {choice.key.folder(runs_dir)}")
            predictions = runs.read_predictions(folder)
            last = last or int(predictions["epoch"].max())
            each.append(_last_epochs(predictions, choice.epochs, folder))
        parts.append(_mean(each).assign(**{GROUP: group}))
    folder = choice.key.folder(runs_dir)
    assert first is not None
    records = runs.read_records(folder, first.folds)
    record = make_record(choice.key, folder, first, list(records.values()), epochs=last, select=EVERY_GROUP)
    return Candidate(folder, record, pd.concat(parts, ignore_index=True))


def write_candidate(path: Path, candidate: Candidate) -> None:
    """Store a candidate as Parquet, and its record as YAML beside it."""
    write_stored(path, candidate.predictions, candidate.record)


def read_stored_candidate(path: Path, choice: Choice) -> Candidate | None:
    """A stored candidate; None where there is none.

    Raises:
        MerError: the files are damaged, or are those of another run.
    """
    stored = read_stored(path, choice.key, _REMEDY)
    return stored and Candidate(path, stored[1], stored[0])


def group_subjects(candidates: Sequence[Candidate], groups: int) -> list[set[tuple[str, str]]]:
    """The (database, subject) of each group: those that none of its inner folds holds.

    Raises:
        MerError: candidates on other clips or groups; a subject that is in no group, or in two, whose
            configuration it could then have chosen itself.
    """
    found: list[set[tuple[str, str]]] = []
    for candidate in candidates:
        tested = _subjects(candidate.of(TESTED))
        out = [tested - _subjects(candidate.of(group)) for group in range(groups)]
        if sorted(subject for group in out for subject in group) != sorted(tested):
            raise MerError(f"{candidate.where}: a subject is left out by no group of inner folds, or by two")
        found = found or out
        first = candidates[0]
        same = candidate.of(TESTED)[[*KEY, "label"]].sort_values(KEY).to_numpy().tolist()
        if out != found or same != first.of(TESTED)[[*KEY, "label"]].sort_values(KEY).to_numpy().tolist():
            raise MerError(
                f"{first.where} and {candidate.where} do not fit in one search: other clips, labels or groups"
            )
    return found


def choose(candidates: Sequence[Candidate], metric: str) -> list[int]:
    """Of each group, the position of the candidate that does best on its inner folds; of equals the first."""
    scores = np.stack([candidate.inner_scores(metric) for candidate in candidates])
    best: list[int] = scores.round(12).argmax(axis=0).tolist()
    return best


def nested_predictions(
    candidates: Sequence[Candidate], chosen: Sequence[int], subjects: Sequence[Iterable[tuple[str, str]]]
) -> pd.DataFrame:
    """Each clip as the candidate that was chosen for its subject's group predicts it, one row a clip."""
    parts = []
    for position, group in zip(chosen, subjects, strict=True):
        tested = candidates[position].of(TESTED)
        mine = pd.MultiIndex.from_frame(tested[SUBJECT]).isin(list(group))
        parts.append(tested[mine])
    return pd.concat(parts, ignore_index=True)


def _check_config(
    folder: Path, group: int, groups: int, config: Mapping[str, Any], tested: Mapping[str, Any]
) -> None:
    """Raise MerError unless inner folds are of the configuration that is tested, and of this group."""
    if group == TESTED:
        return
    mine, theirs = runs.flat(config), runs.flat(tested)
    other = sorted(
        key
        for key in mine.keys() | theirs.keys()
        if key.split(".")[0] != "protocol" and mine.get(key) != theirs.get(key)
    )
    if other:
        key = other[0]
        raise MerError(
            f"{folder}: trained under {key}={mine.get(key, 'absent')}, and what is tested under "
            f"{theirs.get(key, 'absent')}"
        )
    if (mine.get("protocol.outer"), mine.get("protocol.groups")) != (group, groups):
        raise MerError(f"{folder}: not group {group} of {groups}; pass protocol.outer={group}")


def _last_epochs(predictions: pd.DataFrame, epochs: int, folder: Path) -> pd.DataFrame:
    last = int(predictions["epoch"].max())
    kept = predictions[predictions["epoch"] > last - epochs]
    if kept["epoch"].nunique() != epochs:
        raise MerError(f"{folder}: the last {epochs} epochs were not kept; train with store=every_epoch")
    return kept


def _mean(each: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Mean probabilities of each clip over epochs and seeds, in the order of the first."""
    pooled = pd.concat(each, ignore_index=True)
    names = [name for name in pooled.columns if name.startswith("p_")]
    mean: pd.DataFrame = pooled.groupby([*KEY, "label"], sort=False, as_index=False)[names].mean()
    return mean


def _subjects(predictions: pd.DataFrame) -> set[tuple[str, str]]:
    return set(predictions[SUBJECT].itertuples(index=False, name=None))
