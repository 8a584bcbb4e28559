"""Trains the folds of a run together, in chunks that fit the memory: one Lightning fit a chunk, on a GPU.

An engine changes the speed, not the experiment: each fold has the weights to start with, the batches and the
augmentation that :mod:`mer.engine` gives it, and ends in its own run folder. Folds that cannot be trained
together are left to that engine, which says so once.
"""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import nn

from mer import engine, runs
from mer.data.encoded import EncodedSet
from mer.data.fold_batches import FoldBatches
from mer.data.module import FoldData, mix
from mer.data.splits import Split
from mer.ensemble_checkpoint import (
    Checkpoint,
    find_checkpoints,
    load_checkpoint,
    remove_checkpoints,
)
from mer.ensemble_memory import free_memory, measure, quiet_vmap, unsuited
from mer.errors import MerError
from mer.fold import (
    build_network,
    build_task,
    fail_fold,
    finish_fold,
    fold_data,
    open_encoded,
    predictions_table,
)
from mer.job import Job, Outcome, Trained
from mer.tasks.ensemble_state import restore_state
from mer.tasks.fold_ensemble import FoldEnsemble, Precision
from mer.trainer import make_trainer, quiet_lightning, train

Engine = Literal["auto", "processes", "ensemble"]


@dataclass(frozen=True)
class Options:
    """How folds are trained together.

    Attributes:
        device: ``auto`` is the GPU where there is one.
        checkpoint_every: epochs after which a chunk is saved, so that a kill costs at most those; 0: never.
        memory: bytes that a chunk may take; what is free on the GPU, or 2 GiB on the CPU, where None.
        precision: see :class:`~mer.tasks.fold_ensemble.FoldEnsemble`; other than 32 changes results.
        cuda_graphs: see there.
    """

    device: Literal["auto", "cuda", "cpu"] = "auto"
    checkpoint_every: int = 50
    memory: int | None = None
    precision: Precision = "32"
    cuda_graphs: bool = False


class _Chunk(NamedTuple):
    """Folds that are trained together, and the checkpoint that they go on from, where there is one."""

    splits: list[Split]
    saved: Path | None


class _Member(NamedTuple):
    """A fold that this process holds."""

    split: Split
    folder: Path
    data: FoldData
    task: Any


def is_chosen(choice: Engine) -> bool:
    """Whether ``engine=`` means this one: ``auto`` takes it where there is a GPU.

    Raises:
        MerError: no such engine.
    """
    if choice not in ("auto", "processes", "ensemble"):
        raise MerError(f"engine={choice!r}: choose auto, processes or ensemble")
    return choice == "ensemble" or (choice == "auto" and torch.cuda.is_available())


def train_folds(
    job: Job, splits: Sequence[Split], workers: int, *, options: Options = Options()
) -> Iterator[Outcome]:
    """Train folds and yield each as its chunk ends; a fold that fails does not stop the others.

    Args:
        job: of the run.
        splits: its folds; those that are finished are left alone.
        workers: of :func:`mer.engine.train_folds`, for folds that cannot be trained together.
        options: how.

    Raises:
        MerError: the encoded set vanished.
    """
    if not splits:
        return
    on_gpu = torch.cuda.is_available() if options.device == "auto" else options.device == "cuda"
    device = torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")
    encoded = open_encoded(job)
    # Those with more batches first, as FoldBatches wants them; neighbours have batches of about one size.
    ordered = sorted(splits, key=lambda split: len(split.train), reverse=True)
    why = unsuited(job, encoded)
    if not why:
        try:
            encoded = replace(encoded, images=encoded.images.to(device))
            _set_precision(device, options.precision)
            need = measure(job, ordered, encoded, options.precision)
        except Exception as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
    if why:
        _say(f"the folds are trained side by side in processes, not together: {why}")
        yield from engine.train_folds(job, splits, workers)
        return
    budget = free_memory(device) if options.memory is None else options.memory
    most = need.folds(budget)
    if most < len(ordered):
        _say(
            f"{len(ordered)} folds in chunks of at most {most}: a fold takes {need.fold / 2**20:.0f} MiB "
            f"beside {need.common / 2**20:.0f} MiB that all share, of {budget / 2**20:.0f} MiB"
        )
    waiting = deque(_chunks(job, ordered, most))
    while waiting:
        chunk = waiting.popleft()
        with ExitStack() as claims:
            start = time.perf_counter()
            members, ended = _claim(job, chunk.splits, encoded, claims)
            yield from ended
            if not members:
                continue
            try:
                ensemble = _fit(job, members, chunk.saved, options)
            except torch.OutOfMemoryError:
                halves = _halve(members, chunk.saved)
                if not halves:
                    full = MerError("one fold alone does not fit the device's memory; use engine=processes")
                    yield fail_fold(members[0].split, members[0].folder, full, 0.0)
                else:
                    _say(f"{len(members)} folds do not fit the memory; going on with half as many")
                    waiting.extendleft(reversed(halves))
            except Exception as error:
                for member in members:
                    yield fail_fold(member.split, member.folder, error, time.perf_counter() - start)
            else:
                seconds = (time.perf_counter() - start) / len(members)
                yield from _finish(job, members, ensemble, seconds, options)
                remove_checkpoints(job)
        if on_gpu:
            torch.cuda.empty_cache()
    remove_checkpoints(job)


def _claim(
    job: Job, splits: Sequence[Split], encoded: EncodedSet, claims: ExitStack
) -> tuple[list[_Member], list[Outcome]]:
    """The folds that can be trained, and how the others ended."""
    members, ended = [], []
    for split in splits:
        try:
            folder = claims.enter_context(runs.claim(job.run, split.fold))
        except MerError as error:
            ended.append(Outcome(split.fold, 0.0, str(error)))
            continue
        if (folder / "run.yaml").exists():
            ended.append(Outcome(split.fold, 0.0))
            continue
        try:
            data = fold_data(job, split, encoded)
            network = build_network(job, data)
            assert isinstance(network, nn.Module)
            members.append(_Member(split, folder, data, build_task(job, data, network)))
        except Exception as error:
            ended.append(fail_fold(split, folder, error, 0.0))
    return members, ended


def _fit(job: Job, members: Sequence[_Member], saved: Path | None, options: Options) -> FoldEnsemble:
    """Train a chunk from its checkpoint, or from the start, to the last epoch."""
    recipe = job.recipe
    folds = [member.data for member in members]
    batches = FoldBatches(folds)
    ensemble = FoldEnsemble(
        [member.task for member in members],
        steps=batches.steps,
        images=folds[0].images,
        targets=folds[0].targets,
        batch_size=recipe.batch_size,
        optimizer=recipe.optimizer,
        scheduler=recipe.scheduler,
        validation=[torch.tensor(member.split.validation, dtype=torch.int64) for member in members],
        test=[torch.tensor(member.split.test) for member in members],
        every_epoch=recipe.store == "every_epoch",
        precision=options.precision,
        cuda_graphs=options.cuda_graphs and folds[0].images.is_cuda,
    )
    # Of dropout, for all folds of the chunk: vmap draws for them from one generator.
    pl.seed_everything(mix(*(fold.seed for fold in folds)) % 2**32, verbose=False)
    if saved is not None and (state := load_checkpoint(job, saved)) is not None:
        restore_state(ensemble, state, [state["folds"].index(member.split.fold) for member in members])
    batches.first_epoch = ensemble.epochs_done
    checkpoint = Checkpoint(job, [fold.split.fold for fold in folds], options.checkpoint_every)
    with quiet_lightning(), quiet_vmap():
        if ensemble.epochs_done < recipe.epochs:
            epochs, device = recipe.epochs - ensemble.epochs_done, folds[0].images.device
            train(make_trainer(epochs, None, [checkpoint], device), ensemble, batches)
            checkpoint.save(ensemble)  # so that a kill while folders are written costs nothing
        if not ensemble.predictions:
            ensemble.predict_test()
    return ensemble


def _finish(
    job: Job, members: Sequence[_Member], ensemble: FoldEnsemble, seconds: float, options: Options
) -> Iterator[Outcome]:
    """Write the folder of each fold of a chunk."""
    recipe = job.recipe
    probabilities = [epoch.cpu().numpy() for epoch in ensemble.predictions]
    epochs = range(1, recipe.epochs + 1) if recipe.store == "every_epoch" else [recipe.epochs]
    device = ensemble.pixels.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    for k, (split, folder, _, task) in enumerate(members):
        try:
            tested = torch.tensor([epoch[k, : len(split.test)].tolist() for epoch in probabilities]).numpy()
            ensemble.fill(task.network, k)
            trained = Trained(
                predictions_table(job, split, tested, epochs), ensemble.metrics(k), task.network
            )
            device_line = f"{name}, {len(members)} folds together, precision {options.precision}"
            yield finish_fold(job, split, folder, trained, seconds, device=device_line)
        except Exception as error:
            yield fail_fold(split, folder, error, seconds)


def _chunks(job: Job, ordered: Sequence[Split], most: int) -> list[_Chunk]:
    """Folds that a checkpoint holds go on together; the others in chunks of about one size."""
    left = {split.fold: split for split in ordered}
    chunks = []
    for path in find_checkpoints(job.run):
        state = load_checkpoint(job, path)
        if state is None:
            path.unlink(missing_ok=True)  # another process may have been here
            continue
        # Kept epochs are missing where only the last one was asked for before.
        if (state["predictions"] is None) == (job.recipe.store == "every_epoch"):
            continue
        names = set(state["folds"])
        if mine := [left.pop(split.fold) for split in ordered if split.fold in names and split.fold in left]:
            chunks.append(_Chunk(mine, path))
    rest = list(left.values())
    number = -(-len(rest) // most)
    bounds = [len(rest) * k // number for k in range(number + 1)] if rest else [0]
    return chunks + [_Chunk(rest[a:b], None) for a, b in pairwise(bounds)]


def _halve(members: Sequence[_Member], saved: Path | None) -> list[_Chunk]:
    splits = [member.split for member in members]
    middle = len(splits) // 2
    return [_Chunk(splits[:middle], saved), _Chunk(splits[middle:], saved)] if middle else []


def _set_precision(device: torch.device, precision: Precision) -> None:
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # shapes repeat each epoch
        torch.backends.cudnn.allow_tf32 = precision != "32"
        torch.backends.cuda.matmul.allow_tf32 = precision != "32"


def _say(line: str) -> None:
    print(line, file=sys.stderr)
