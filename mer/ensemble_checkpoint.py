"""The checkpoint of a chunk of folds: ``chunk-<8 hex digits of its folds' names>.pt`` in the run folder."""

import hashlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from mer import runs
from mer.atomic import write_atomically
from mer.job import Job
from mer.tasks.ensemble_state import read_state
from mer.tasks.fold_ensemble import FoldEnsemble


class Checkpoint(pl.Callback):
    """Saves a chunk every so many epochs.

    Args:
        job: of the run.
        folds: names of the chunk's, in its order.
        every: epochs; 0: never.
    """

    def __init__(self, job: Job, folds: Sequence[str], every: int) -> None:
        name = hashlib.sha256("\n".join(folds).encode()).hexdigest()[:8]
        self.path = job.run / f"chunk-{name}.pt"
        self.folds = list(folds)
        self.made_by = _recipe_key(job)
        self.every = every

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Here the epoch before is whole; at its end, callbacks come before the module."""
        assert isinstance(pl_module, FoldEnsemble)
        if self.every and trainer.current_epoch and pl_module.epochs_done % self.every == 0:
            self.save(pl_module)

    def save(self, ensemble: FoldEnsemble) -> None:
        """Write the state under the run folder, whole or not at all."""
        if self.every:
            state = {"folds": self.folds, "made_by": self.made_by, **read_state(ensemble)}
            write_atomically(self.path, lambda scratch: torch.save(state, scratch))


def load_checkpoint(job: Job, path: Path) -> dict[str, Any] | None:
    """The state in a checkpoint, with the names of its ``folds``.

    None where it is damaged, which is said, or was made by another recipe or from other data: as long as no
    fold is finished, a run folder may change its config.
    """
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged archive raises almost anything
        print(f"{path}: cannot be read ({str(error).splitlines()[0]}); its folds start anew", file=sys.stderr)
        return None
    return state if state.get("made_by") == _recipe_key(job) else None


def find_checkpoints(run: Path) -> list[Path]:
    """Those in a run folder, sorted."""
    return sorted(run.glob("chunk-*.pt"))


def remove_checkpoints(job: Job) -> None:
    """Remove those that are of no use any more, and those whose folds are all finished."""
    for path in find_checkpoints(job.run):
        state = load_checkpoint(job, path)
        if state is None or all(runs.state(job.run, fold) == "done" for fold in state["folds"]):
            path.unlink(missing_ok=True)


def _recipe_key(job: Job) -> str:
    recipe = replace(job.recipe, store="last", save_weights=False)  # they change no weight
    return hashlib.sha256(f"{recipe!r} {job.encoded.name}".encode()).hexdigest()
