"""Trains one chunk of folds in one Lightning fit, and writes the folder of each.

A chunk that does not fit the memory after all is halved; a fold that fails does not stop the others.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from mer import runs
from mer.data.encoded import EncodedSet
from mer.data.fold_batches import FoldBatches
from mer.data.module import FoldData, mix
from mer.ensemble_checkpoint import Checkpoint, load_checkpoint
from mer.ensemble_memory import quiet_vmap
from mer.errors import MerError
from mer.fold import build_network, build_task, fail_fold, finish_fold, fold_data, predictions_table
from mer.job import Outcome, RunFold, Trained
from mer.tasks.ensemble_state import restore_state
from mer.tasks.fold_ensemble import FoldEnsemble, Precision
from mer.trainer import make_trainer, quiet_lightning, train

Ended = tuple[Path, Outcome]  # the run folder, and how a fold of it ended


@dataclass(frozen=True)
class Options:
    """How folds are trained together.

    Attributes:
        devices: ``cpu``, ``cuda:0`` and so on; where there are several, each trains chunks of its own in a
            process of its own. Every visible GPU, or the CPU where there is none, where None.
        checkpoint_every: epochs after which a chunk is saved, so that a kill costs at most those; 0: never.
        memory: bytes that a chunk may take; what is free on the GPU, or 2 GiB on the CPU, where None.
        precision: see :class:`~mer.tasks.fold_ensemble.FoldEnsemble`; other than 32 changes results.
        cuda_graphs: see there.
    """

    devices: tuple[str, ...] | None = None
    checkpoint_every: int = 50
    memory: int | None = None
    precision: Precision = "32"
    cuda_graphs: bool = False


class Chunk(NamedTuple):
    """Folds that are trained together, most clips first, and the checkpoint that they go on from, if any."""

    folds: list[RunFold]
    saved: Path | None


class _Member(NamedTuple):
    """A fold that this process holds."""

    fold: RunFold
    folder: Path
    data: FoldData
    task: Any


def train_chunk(chunk: Chunk, encoded: EncodedSet, options: Options) -> Iterator[Ended]:
    """Train the folds of a chunk and yield how each ended.

    Args:
        chunk: folds that may share a fit (:mod:`mer.joint_fits`).
        encoded: their encoded set, on the device to train on.
        options: how.
    """
    waiting = deque([chunk])
    while waiting:
        folds, saved = waiting.popleft()
        with ExitStack() as claims:
            start = time.perf_counter()
            members, ended = _claim(folds, encoded, claims)
            yield from ended
            if not members:
                continue
            try:
                ensemble = _fit(members, saved, options)
            except torch.OutOfMemoryError:
                halves = _halve(members, saved)
                if not halves:
                    full = MerError("one fold alone does not fit the device's memory; use engine=processes")
                    yield _fail(members[0], full, 0.0)
                else:
                    say(f"{len(members)} folds do not fit the memory; going on with half as many")
                    waiting.extendleft(reversed(halves))
            except Exception as error:
                for member in members:
                    yield _fail(member, error, time.perf_counter() - start)
            else:
                seconds = (time.perf_counter() - start) / len(members)
                yield from _finish(members, ensemble, seconds, options)
        if encoded.images.is_cuda:
            torch.cuda.empty_cache()


def set_precision(device: torch.device, precision: Precision) -> None:
    """Set this process up to train on a device."""
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True  # shapes repeat each epoch
        torch.backends.cudnn.allow_tf32 = precision != "32"
        torch.backends.cuda.matmul.allow_tf32 = precision != "32"


def say(line: str) -> None:
    """Tell the user on stderr."""
    print(line, file=sys.stderr)


def _claim(
    folds: Sequence[RunFold], encoded: EncodedSet, claims: ExitStack
) -> tuple[list[_Member], list[Ended]]:
    """The folds that can be trained, and how the others ended."""
    members: list[_Member] = []
    ended: list[Ended] = []
    for fold in folds:
        job, split = fold
        try:
            folder = claims.enter_context(runs.claim(job.run, split.fold))
        except MerError as error:
            ended.append((job.run, Outcome(split.fold, 0.0, str(error))))
            continue
        if (folder / "run.yaml").exists():
            ended.append((job.run, Outcome(split.fold, 0.0)))
            continue
        try:
            data = fold_data(job, split, encoded)
            network = build_network(job, data)
            assert isinstance(network, nn.Module)
            members.append(_Member(fold, folder, data, build_task(job, data, network)))
        except Exception as error:
            ended.append((job.run, fail_fold(split, folder, error, 0.0)))
    return members, ended


def _fit(members: Sequence[_Member], saved: Path | None, options: Options) -> FoldEnsemble:
    """Train a chunk from its checkpoint, or from the start, to the last epoch."""
    members_folds = [member.fold for member in members]
    folds = [member.data for member in members]
    recipe = members_folds[0].job.recipe  # what a fit needs of it is the same in all
    batches = FoldBatches(folds)
    ensemble = FoldEnsemble(
        [member.task for member in members],
        steps=batches.steps,
        images=folds[0].images,
        targets=torch.stack([fold.targets for fold in folds]),
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        scheduler=recipe.scheduler,
        validation=[torch.tensor(fold.split.validation, dtype=torch.int64) for fold in folds],
        test=[torch.tensor(fold.split.test) for fold in folds],
        every_epoch=recipe.store == "every_epoch",
        precision=options.precision,
        cuda_graphs=options.cuda_graphs and folds[0].images.is_cuda,
    )
    # Of dropout, for all folds of the chunk: vmap draws for them from one generator.
    pl.seed_everything(mix(*(fold.seed for fold in folds)) % 2**32, verbose=False)
    if saved is not None and (found := load_checkpoint([fold.job for fold in members_folds], saved)):
        places = [found.place(fold) for fold in members_folds]
        if None not in places:
            restore_state(ensemble, found.state, [place for place in places if place is not None])
    batches.first_epoch = ensemble.epochs_done
    checkpoint = Checkpoint(members_folds, options.checkpoint_every)
    with quiet_lightning(), quiet_vmap():
        if ensemble.epochs_done < recipe.epochs:
            epochs, device = recipe.epochs - ensemble.epochs_done, folds[0].images.device
            train(make_trainer(epochs, None, [checkpoint], device), ensemble, batches)
            checkpoint.save(ensemble)  # so that a kill while folders are written costs nothing
        if not ensemble.predictions:
            ensemble.predict_test()
    return ensemble


def _finish(
    members: Sequence[_Member], ensemble: FoldEnsemble, seconds: float, options: Options
) -> Iterator[Ended]:
    """Write the folder of each fold of a chunk."""
    probabilities = [epoch.cpu().numpy() for epoch in ensemble.predictions]
    device = ensemble.pixels.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    of_runs = len({member.fold.job.run for member in members})
    together = f"{len(members)} folds {f'of {of_runs} runs ' if of_runs > 1 else ''}together"
    for k, member in enumerate(members):
        job, split = member.fold
        epochs = job.recipe.epochs
        kept = range(1, epochs + 1) if job.recipe.store == "every_epoch" else [epochs]
        try:
            tested = torch.tensor([epoch[k, : len(split.test)].tolist() for epoch in probabilities]).numpy()
            ensemble.fill(member.task.network, k)
            predictions = predictions_table(job, split, tested, kept)
            trained = Trained(predictions, ensemble.metrics(k), member.task.network)
            device_line = f"{name}, {together}, precision {options.precision}"
            outcome = finish_fold(job, split, member.folder, trained, seconds, device=device_line)
            yield job.run, outcome
        except Exception as error:
            yield _fail(member, error, seconds)


def _fail(member: _Member, error: Exception, seconds: float) -> Ended:
    return member.fold.job.run, fail_fold(member.fold.split, member.folder, error, seconds)


def _halve(members: Sequence[_Member], saved: Path | None) -> list[Chunk]:
    folds = [member.fold for member in members]
    middle = len(folds) // 2
    return [Chunk(folds[:middle], saved), Chunk(folds[middle:], saved)] if middle else []
