"""Trains the folds of a run on the CPU: each with one thread, side by side in worker processes.

One thread a fold, also for a fold alone: two threads sum in another order and give other bytes. A fold
depends on (recipe, split, encoded set) only, so neither the number of workers nor the order matters.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

import pandas as pd
import torch

from mer import runs
from mer.data.encoded import EncodedSet
from mer.data.splits import Split
from mer.errors import MerError
from mer.estimators import SVM, fit_estimator
from mer.feature_difference import FeatureDifference
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
from mer.tasks.epoch_log import EpochLog
from mer.tasks.epoch_predictions import EpochPredictions
from mer.trainer import make_trainer, predict, quiet_lightning, train, use_one_thread
from mer.video_engine import fit_videos


def train_folds(job: Job, splits: Sequence[Split], workers: int) -> Iterator[Outcome]:
    """Train folds and yield each as it ends; a fold that fails does not stop the others.

    Raises:
        MerError: a worker process was killed; what is finished stays.
    """
    if min(workers, len(splits)) <= 1:
        use_one_thread()
        encoded = open_encoded(job)
        yield from (train_fold(job, split, encoded) for split in splits)
        return
    # spawn: a forked child would inherit torch's thread pools and locks in an undefined state.
    pool = ProcessPoolExecutor(
        min(workers, len(splits)), multiprocessing.get_context("spawn"), _start_worker, (job,)
    )
    try:
        for future in as_completed(_submit(pool, splits)):
            yield future.result()
    except BrokenProcessPool as error:
        raise MerError(
            "a worker process was killed, perhaps for want of memory; finished folds are kept: "
            "run the same command again, with workers=1 if it happens again"
        ) from error
    except BaseException:
        # Not terminate(): a signal's handler waits for the end of a long convolution. A kill costs no file.
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # and wait: a worker that is still ending disturbs what comes next


def _submit(pool: ProcessPoolExecutor, splits: Sequence[Split]) -> "list[Future[Outcome]]":
    """Start the workers, which hear no Ctrl-C: it reaches the whole process group, also while they import.

    They inherit what is blocked here. The parent ends its workers and says so once, when all of them have
    been told what to do: a thread of its own may take the signal meanwhile.
    """
    heard: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number)) if main else None
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        futures = [pool.submit(_train_in_worker, split) for split in splits]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        if main:
            signal.signal(signal.SIGINT, before)
    if heard:
        raise KeyboardInterrupt
    return futures


def train_fold(job: Job, split: Split, encoded: EncodedSet) -> Outcome:
    """Train one fold and write its folder. Bad input and bugs alike end in its failed.txt."""
    start = time.perf_counter()
    try:
        with runs.claim(job.run, split.fold) as folder:
            if (folder / "run.yaml").exists():
                return Outcome(split.fold, 0.0)
            try:
                trained = fit(job, split, encoded)
                return finish_fold(job, split, folder, trained, time.perf_counter() - start)
            except Exception as error:
                return fail_fold(split, folder, error, time.perf_counter() - start)
    except MerError as error:
        return Outcome(split.fold, 0.0, str(error))


def fit(job: Job, split: Split, encoded: EncodedSet) -> Trained:
    """Train and test one fold."""
    if job.labels is not None:
        return fit_videos(job, job.labels, split, encoded)
    recipe = job.recipe
    data = fold_data(job, split, encoded)
    network = build_network(job, data)
    if isinstance(network, FeatureDifference):
        raise MerError("network: feature differences score the frames of videos; use task=spotting")
    if isinstance(network, SVM):
        weights = data.class_weights() if recipe.class_weights == "balanced" else None
        probabilities = fit_estimator(network, data.images, data.targets, split, class_weights=weights)
        return Trained(predictions_table(job, split, probabilities[None], [1]), pd.DataFrame(), None)
    task = build_task(job, data, network)
    log = EpochLog()
    kept = EpochPredictions(data.test_batches()) if recipe.store == "every_epoch" else None
    with quiet_lightning():
        trainer = make_trainer(recipe.epochs, log, [kept] if kept else [])
        train(trainer, task, data)
        batches = predict(trainer, task, data)
    each = [torch.cat([batch[1] for batch in batches])] if kept is None else kept.probabilities
    epochs = range(recipe.epochs - len(each) + 1, recipe.epochs + 1)
    return Trained(predictions_table(job, split, torch.stack(each).numpy(), epochs), log.table(), network)


_worker: tuple[Job, EncodedSet] | None = None


def _start_worker(job: Job) -> None:
    global _worker
    # Lightning would make an exception of SIGTERM, which the parent would take for its own end.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    use_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = job, open_encoded(job)


def _train_in_worker(split: Split) -> Outcome:
    assert _worker is not None
    job, encoded = _worker
    return train_fold(job, split, encoded)


def _end_with_parent() -> None:
    """A parent killed by -9 cannot stop its workers: each watches for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
