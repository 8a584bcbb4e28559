"""The checkpoint of a chunk of folds: ``chunk-<8 hex digits of its folds>.pt``, in the run of its first fold.

Where a chunk holds folds of several runs, their folders are named from there.
"""

import hashlib
import os
import sys
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from mer import runs
from mer.atomic import write_atomically
from mer.job import Job, RunFold
from mer.tasks.ensemble_state import read_state
from mer.tasks.fold_ensemble import FoldEnsemble


class Checkpoint(pl.Callback):
    """Saves a chunk every so many epochs.

    Args:
        folds: the chunk's, in its order.
        every: epochs; 0: never.
    """

    def __init__(self, folds: Sequence[RunFold], every: int) -> None:
        home = folds[0].job.run
        self.folds = [split.fold for _, split in folds]
        self.runs = [os.path.relpath(job.run, home) for job, _ in folds]
        self.made_by = [_recipe_key(job) for job, _ in folds]
        names = "\n".join(
            fold if run == os.curdir else f"{run} {fold}"
            for run, fold in zip(self.runs, self.folds, strict=True)
        )
        self.path = home / f"chunk-{hashlib.sha256(names.encode()).hexdigest()[:8]}.pt"
        self.every = every

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Here the epoch before is whole; at its end, callbacks come before the module."""
        assert isinstance(pl_module, FoldEnsemble)
        if self.every and trainer.current_epoch and pl_module.epochs_done % self.every == 0:
            self.save(pl_module)

    def save(self, ensemble: FoldEnsemble) -> None:
        """Write the state under the run folder, whole or not at all.

        Where it cannot be written, on a full disk for instance, that is said and the training goes on: the
        checkpoint before it stays.
        """
        if self.every:
            members = {"folds": self.folds, "runs": self.runs, "made_by": self.made_by}
            state = {**members, **read_state(ensemble)}
            try:
                write_atomically(self.path, lambda scratch: torch.save(state, scratch))
            except (OSError, RuntimeError) as error:  # torch's own of a full disk is a RuntimeError
                print(f"{self.path}: no checkpoint was written ({_first_line(error)})", file=sys.stderr)


class Saved(NamedTuple):
    """A checkpoint: the state, and where in it the folds of some runs stand.

    ``useless`` where no fold of it will be gone on from: each is finished, or its run has changed its recipe
    or its data. As long as no fold is finished, a run folder may change its config.
    """

    state: dict[str, Any]
    places: dict[tuple[Path, str], int]
    useless: bool

    def place(self, fold: RunFold) -> int | None:
        """Where a fold stands, or None."""
        return self.places.get((_lexical(fold.job.run), fold.split.fold))


def load_checkpoint(jobs: Iterable[Job], path: Path, *, verify: bool = True) -> Saved | None:
    """A checkpoint as these jobs see it; None where it is gone, or damaged, which is said.

    Args:
        jobs: whose folds are looked for.
        path: of the checkpoint.
        verify: compare the bytes with the archive's check sums, which torch writes and does not read.
    """
    keys = {_lexical(job.run): _recipe_key(job) for job in jobs}
    places: dict[tuple[Path, str], int] = {}
    needed = False
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if verify:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} has another check sum")
        members = zip(state["folds"], state["runs"], state["made_by"], strict=True)
        for k, (fold, run, made_by) in enumerate(members):
            folder = _lexical(path.parent / run)
            if keys.get(folder, made_by) != made_by:
                continue
            if folder in keys:
                places[folder, fold] = k
            needed = needed or runs.state(folder, fold) != "done"
    except FileNotFoundError:  # another process has finished its folds
        return None
    except Exception as error:  # a damaged archive raises almost anything
        print(f"{path}: cannot be read ({_first_line(error)}); its folds start anew", file=sys.stderr)
        return None
    return Saved(state, places, not needed)


def find_checkpoints(jobs: Iterable[Job]) -> list[Path]:
    """Those in the runs' folders and in those of their other seeds, with which they may have shared a fit."""
    own = dict.fromkeys(job.run for job in jobs)
    seeds = dict.fromkeys(job.run.parent for job in jobs)
    found = [path for run in own for path in sorted(run.glob("chunk-*.pt"))]
    return list(
        dict.fromkeys([*found, *(path for run in seeds for path in sorted(run.glob("seed-*/chunk-*.pt")))])
    )


def remove_checkpoints(jobs: Sequence[Job]) -> None:
    """Remove those that are of no use any more."""
    for path in find_checkpoints(jobs):
        saved = load_checkpoint(jobs, path, verify=False)
        if saved is None or saved.useless:
            path.unlink(missing_ok=True)


def _lexical(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _recipe_key(job: Job) -> str:
    recipe = replace(job.recipe, store="last", save_checkpoint=False)  # they change no weight
    return hashlib.sha256(f"{recipe!r} {job.encoded.name}".encode()).hexdigest()
