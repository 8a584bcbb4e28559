"""Trains the folds of a run on the CPU: each with one thread, side by side in worker processes.

One thread a fold, also for a fold alone: two threads sum in another order and give other bytes. A fold
depends on (recipe, split, encoded set) only, so neither the number of workers nor the order matters.
"""

import os
import time
from collections.abc import Iterator, Sequence

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
from mer.worker_pool import run_in_workers


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
    yield from run_in_workers(
        _train_in_worker,
        splits,
        min(workers, len(splits)),
        start=_start_worker,
        arguments=(job,),
        advice="finished folds are kept: run the same command again, with workers=1 if it happens again",
    )


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
    # Adam looks for a GPU at each step, which takes longer than its arithmetic on a small network; a worker
    # needs none.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    use_one_thread()
    _worker = job, open_encoded(job)


def _train_in_worker(split: Split) -> Outcome:
    assert _worker is not None
    job, encoded = _worker
    return train_fold(job, split, encoded)
