"""The checkpoint of a chunk of folds: ``chunk-<8 hex digits of its folds' names>.pt`` in the run folder."""

import hashlib
import sys
import zipfile
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
        """Write the state under the run folder, whole or not at all.

        Where it cannot be written, on a full disk for instance, that is said and the training goes on: the
        checkpoint before it stays.
        """
        if self.every:
            state = {"folds": self.folds, "made_by": self.made_by, **read_state(ensemble)}
            try:
                write_atomically(self.path, lambda scratch: torch.save(state, scratch))
            except (OSError, RuntimeError) as error:  # torch's own of a full disk is a RuntimeError
                print(f"{self.path}: no checkpoint was written ({_first_line(error)})", file=sys.stderr)


def load_checkpoint(job: Job, path: Path, *, verify: bool = True) -> dict[str, Any] | None:
    """The state in a checkpoint, with the names of its ``folds``.

    None where it is damaged, which is said, or was made by another recipe or from other data: as long as no
    fold is finished, a run folder may change its config.

    Args:
        job: of the run.
        path: of the checkpoint.
        verify: compare the bytes with the archive's check sums, which torch writes and does not read.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        if verify:
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise ValueError(f"{damaged} has another check sum")
        made_by = state["made_by"]
    except FileNotFoundError:  # another process has finished its folds
        return None
    except Exception as error:  # a damaged archive raises almost anything
        print(f"{path}: cannot be read ({_first_line(error)}); its folds start anew", file=sys.stderr)
        return None
    return state if made_by == _recipe_key(job) else None


def find_checkpoints(run: Path) -> list[Path]:
    """Those in a run folder, sorted."""
    return sorted(run.glob("chunk-*.pt"))


def remove_checkpoints(job: Job) -> None:
    """Remove those that are of no use any more, and those whose folds are all finished."""
    for path in find_checkpoints(job.run):
        state = load_checkpoint(job, path, verify=False)
        if state is None or all(runs.state(job.run, fold) == "done" for fold in state["folds"]):
            path.unlink(missing_ok=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _recipe_key(job: Job) -> str:
    recipe = replace(job.recipe, store="last", save_checkpoint=False)  # they change no weight
    return hashlib.sha256(f"{recipe!r} {job.encoded.name}".encode()).hexdigest()
