"""Runs that are ready to be trained, and their training: each on its own, or several in common fits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer import engine, report, runs
from mer.data.encoded import EncodedSet
from mer.data.splits import Split
from mer.ensemble_chunk import Ended, Options
from mer.ensemble_engine import train_runs
from mer.errors import MerError
from mer.fold import check_start
from mer.job import Job, RunFold


@dataclass(frozen=True)
class ReadyRun:
    """A run before its folder is touched.

    Attributes:
        job: what its folds share.
        plan: of its folder.
        chosen: the folds that are asked for, finished ones among them.
        encoded: the images, to be shown when the run is complete.
        together: whether folds are trained in one fit, also with those of other runs.
        checkpoint_every: of :class:`mer.ensemble_chunk.Options`.
        workers: of :func:`mer.engine.train_folds`.
        logger: config of the logger, or None.
    """

    job: Job
    plan: runs.Plan
    chosen: Sequence[Split]
    encoded: EncodedSet
    together: bool
    checkpoint_every: int
    workers: int
    logger: Any

    def can_wait_with(self, other: "ReadyRun") -> bool:
        """Whether both may be trained at one time: in folders of their own, or other folds of one run."""
        if self.job.run != other.job.run:
            return True
        return self.plan == other.plan and not {split.fold for split in self.chosen} & {
            split.fold for split in other.chosen
        }


def train_ready(ready: Sequence[ReadyRun]) -> dict[int, MerError]:
    """Train the folds that are not finished, and conclude each run that is then complete.

    Args:
        ready: runs that can wait with each other.

    Returns:
        What ended a run, by its position: its folder was made under another config, or folds failed. The
        others are trained all the same.
    """
    errors: dict[int, MerError] = {}
    pending: dict[int, list[Split]] = {}
    for k, run in enumerate(ready):
        try:
            pending[k] = _start(run)
        except MerError as error:
            errors[k] = error
    asked: dict[Path, tuple[int, int]] = {}
    for k, splits in pending.items():
        chosen, left = asked.get(ready[k].job.run, (0, 0))
        asked[ready[k].job.run] = chosen + len(ready[k].chosen), left + len(splits)
    if not asked:
        return errors
    ended = report.show_progress(_train([(ready[k], splits) for k, splits in pending.items()]), asked)
    concluded: set[Path] = set()
    for k, splits in pending.items():
        run, folds = ready[k], {split.fold for split in ready[k].chosen}
        mine = [outcome for folder, outcome in ended if folder == run.job.run and outcome.fold in folds]
        try:
            if failed := [outcome for outcome in mine if outcome.error]:
                lines = "; ".join(f"{outcome.fold}: {outcome.error}" for outcome in failed[:5])
                raise MerError(
                    f"{len(failed)} of {len(run.chosen)} folds failed, "
                    f"the reasons are in their failed.txt: {lines}"
                )
            # A sweep over the folds of a finished run has nothing new to show sixty-eight times.
            new = splits or len(run.chosen) == len(run.plan.folds)
            complete = all(runs.state(run.job.run, fold) == "done" for fold in run.plan.folds)
            if new and complete and run.job.run not in concluded:
                concluded.add(run.job.run)
                report.conclude(run.job.run, run.job.clips, run.encoded, run.logger)
        except MerError as error:
            errors[k] = error
    return errors


def _start(run: ReadyRun) -> list[Split]:
    """Write the plan; gives the folds that are to be trained."""
    pending = [split for split in run.chosen if runs.state(run.job.run, split.fold) != "done"]
    for split in pending:
        check_start(run.job, split)
    runs.start(run.job.run, run.plan)
    return pending


def _train(parts: Sequence[tuple[ReadyRun, Sequence[Split]]]) -> Iterator[Ended]:
    """Folds of runs that are trained together, by what else decides how; then each of the other runs."""
    together: dict[tuple[int, int], list[RunFold]] = {}
    for run, splits in parts:
        if run.together:
            folds = together.setdefault((run.checkpoint_every, run.workers), [])
            folds.extend(RunFold(run.job, split) for split in splits)
    for (checkpoint_every, workers), folds in together.items():
        yield from train_runs(folds, workers, options=Options(checkpoint_every=checkpoint_every))
    for run, splits in parts:
        if not run.together:
            yield from (
                (run.job.run, outcome) for outcome in engine.train_folds(run.job, splits, run.workers)
            )
