"""Trains the folds of a run, or of several, together: in chunks that fit the memory, one Lightning fit each.

An engine changes the speed, not the experiment: each fold has the weights to start with, the batches and the
augmentation that :mod:`mer.engine` gives it, and ends in its own run folder. Runs whose folds can share a fit
do; folds that cannot be trained together are left to that engine, which is said once. Several GPUs train
chunks of their own.
"""

import multiprocessing
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from multiprocessing.queues import SimpleQueue
from typing import Literal

import torch

from mer import engine
from mer.data.encoded import EncodedSet
from mer.data.splits import Split
from mer.ensemble_checkpoint import find_checkpoints, load_checkpoint, remove_checkpoints
from mer.ensemble_chunk import Chunk, Ended, Options, say, set_precision, train_chunk
from mer.ensemble_memory import free_memory, measure, unsuited
from mer.errors import MerError
from mer.fold import open_encoded
from mer.job import Job, Outcome, RunFold
from mer.joint_fits import group_folds
from mer.worker_pool import run_in_workers

Engine = Literal["auto", "processes", "ensemble"]


def is_chosen(choice: Engine) -> bool:
    """Whether ``engine=`` means this one: ``auto`` takes it where there is a GPU.

    Raises:
        MerError: no such engine.
    """
    if choice not in ("auto", "processes", "ensemble"):
        raise MerError(f"engine={choice!r}: choose auto, processes or ensemble")
    return choice == "ensemble" or (choice == "auto" and torch.cuda.is_available())


def train_folds(
    job: Job, splits: Sequence[Split], workers: int, *, options: Options | None = None
) -> Iterator[Outcome]:
    """The folds of one run: :func:`train_runs` of them."""
    folds = [RunFold(job, split) for split in splits]
    return (outcome for _, outcome in train_runs(folds, workers, options=options))


def train_runs(folds: Sequence[RunFold], workers: int, *, options: Options | None = None) -> Iterator[Ended]:
    """Train folds of one or several runs, and yield each with its run folder as its chunk ends.

    A fold that fails does not stop the others.

    Args:
        folds: no two of them the same fold of one run folder; those that are finished are left alone.
        workers: of :func:`mer.engine.train_folds`, for folds that cannot be trained together.
        options: how.

    Raises:
        MerError: an encoded set vanished; a process of a device was killed.
    """
    options = options or Options()
    devices = options.devices or _visible_devices()
    said = ""
    for group in group_folds(folds):
        jobs = list({id(fold.job): fold.job for fold in group}.values())
        # Those with more batches first, as FoldBatches wants them; neighbours have batches of about one size.
        ordered = sorted(group, key=lambda fold: len(fold.split.train), reverse=True)
        encoded, why, most = _try_out(ordered, torch.device(devices[0]), options)
        if why:
            if why != said:
                say(f"the folds are trained side by side in processes, not together: {why}")
            said = why
            for job in jobs:
                splits = [fold.split for fold in group if fold.job is job]
                yield from ((job.run, outcome) for outcome in engine.train_folds(job, splits, workers))
            continue
        if (number := len({job.run for job in jobs})) > 1:
            say(f"{len(group)} folds of {number} runs are trained together")
        chunks = _chunks(jobs, ordered, most, len(devices))
        trained: Iterable[Iterable[Ended]]
        if min(len(devices), len(chunks)) > 1:
            encoded = None  # this process trains nothing
            trained = _train_on(devices, chunks, options)
        else:
            assert encoded is not None
            trained = (train_chunk(chunk, encoded, options) for chunk in chunks)
        for ended in trained:
            yield from ended
            remove_checkpoints(jobs)
        remove_checkpoints(jobs)


def _visible_devices() -> tuple[str, ...]:
    return tuple(f"cuda:{k}" for k in range(torch.cuda.device_count())) or ("cpu",)


def _try_out(
    ordered: Sequence[RunFold], device: torch.device, options: Options
) -> tuple[EncodedSet | None, str, int]:
    """The encoded set on a device, why its folds cannot be trained together there, and how many at a time."""
    encoded = open_encoded(ordered[0].job)
    if why := unsuited(ordered[0].job, encoded):
        return None, why, 0
    try:
        set_precision(device, options.precision)
        encoded = replace(encoded, images=encoded.images.to(device))
        need = measure(ordered, encoded, options.precision)
    except Exception as error:
        return None, (str(error).splitlines() or [type(error).__name__])[0], 0
    budget = free_memory(device) if options.memory is None else options.memory
    most = need.folds(budget)
    if most < len(ordered):
        say(
            f"{len(ordered)} folds in chunks of at most {most}: a fold takes {need.fold / 2**20:.0f} MiB "
            f"beside {need.common / 2**20:.0f} MiB that all share, of {budget / 2**20:.0f} MiB"
        )
    return encoded, "", most


def _chunks(jobs: Sequence[Job], ordered: Sequence[RunFold], most: int, devices: int) -> list[Chunk]:
    """Folds that a checkpoint holds go on together; the others in chunks of about one size."""
    left = list(ordered)
    chunks = []
    for path in find_checkpoints(jobs):
        saved = load_checkpoint(jobs, path)
        if saved is None or saved.useless:
            path.unlink(missing_ok=True)  # another process may have been here
            continue
        # Kept epochs are missing where only the last one was asked for before.
        if (saved.state["predictions"] is None) == (jobs[0].recipe.store == "every_epoch"):
            continue
        if mine := [fold for fold in left if saved.place(fold) is not None]:
            chunks.append(Chunk(mine, path))
            left = [fold for fold in left if saved.place(fold) is None]
    rounds = -(-len(left) // (most * devices))
    number = min(len(left), rounds * devices)
    bounds = [len(left) * k // number for k in range(number + 1)] if left else [0]
    return chunks + [Chunk(left[a:b], None) for a, b in pairwise(bounds)]


def _train_on(devices: Sequence[str], chunks: Sequence[Chunk], options: Options) -> Iterator[Sequence[Ended]]:
    """Chunks on several devices: each takes the next one when it is done with one."""
    places = multiprocessing.get_context("spawn").SimpleQueue()
    for device in devices:
        places.put(device)
    return run_in_workers(
        _train_in_worker,
        chunks,
        len(devices),
        start=_start_worker,
        arguments=(places, chunks[0].folds[0].job, options),
        advice="finished folds and checkpoints are kept: run the same command again",
    )


_worker: tuple[EncodedSet, Options] | None = None


def _start_worker(places: "SimpleQueue[str]", job: Job, options: Options) -> None:
    global _worker
    device = torch.device(places.get())
    set_precision(device, options.precision)
    encoded = open_encoded(job)
    _worker = replace(encoded, images=encoded.images.to(device)), options


def _train_in_worker(chunk: Chunk) -> list[Ended]:
    assert _worker is not None
    return list(train_chunk(chunk, *_worker))
