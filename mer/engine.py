"""Trains the folds of a run on the CPU: each with one thread, side by side in worker processes.

One thread a fold, also for a fold alone: two threads sum in another order and give other bytes. A fold
depends on (recipe, split, encoded set) only, so neither the number of workers nor the order matters.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from mer import runs
from mer.data.encoded import EncodedSet, open_set
from mer.data.module import FoldData
from mer.data.splits import Split, subject_names
from mer.errors import MerError
from mer.estimators import SVM, fit_estimator
from mer.feature_difference import FeatureDifference
from mer.job import Job, Outcome, Trained
from mer.tasks.epoch_log import EpochLog
from mer.tasks.epoch_predictions import EpochPredictions
from mer.trainer import make_trainer, quiet_lightning, train, use_one_thread
from mer.video_engine import fit_videos
from mer.weights import find_weights, load_weights, save_weights


def train_folds(job: Job, splits: Sequence[Split], workers: int) -> Iterator[Outcome]:
    """Train folds and yield each as it ends; a fold that fails does not stop the others.

    Raises:
        MerError: a worker process was killed; what is finished stays.
    """
    if min(workers, len(splits)) <= 1:
        use_one_thread()
        encoded = _open(job)
        yield from (train_fold(job, split, encoded) for split in splits)
        return
    # spawn: a forked child would inherit torch's thread pools and locks in an undefined state.
    pool = ProcessPoolExecutor(
        min(workers, len(splits)), multiprocessing.get_context("spawn"), _start_worker, (job,)
    )
    try:
        for future in as_completed([pool.submit(_train_in_worker, split) for split in splits]):
            yield future.result()
    except BrokenProcessPool as error:
        raise MerError(
            "a worker process was killed, perhaps for want of memory; finished folds are kept: "
            "run the same command again, with workers=1 if it happens again"
        ) from error
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)  # and wait: a worker that is still ending disturbs what comes next


def train_fold(job: Job, split: Split, encoded: EncodedSet) -> Outcome:
    """Train one fold and write its folder. Bad input and bugs alike end in its failed.txt."""
    start = time.perf_counter()
    try:
        with runs.claim(job.run, split.fold) as folder:
            if (folder / "run.yaml").exists():
                return Outcome(split.fold, 0.0)
            try:
                trained = fit(job, split, encoded)
                if trained.network is not None and job.recipe.save_weights:
                    save_weights(
                        folder,
                        trained.network,
                        subject_names(job.clips.loc[[*split.train, *split.validation]]),
                    )
                if trained.spotted is not None:
                    runs.write_spotting(folder, *trained.spotted)
                seconds = time.perf_counter() - start
                record = job.record | {
                    "fold": split.fold,
                    "train_clips": len(split.train),
                    "validation_clips": len(split.validation),
                    "test_clips": len(split.test),
                    "seconds": round(seconds, 3),
                }
                runs.finish(folder, trained.predictions, trained.metrics, record)
            except Exception as error:
                text = str(error) if isinstance(error, MerError) else traceback.format_exc()
                runs.fail(folder, text)
                return Outcome(split.fold, time.perf_counter() - start, text.strip().splitlines()[-1])
    except MerError as error:
        return Outcome(split.fold, 0.0, str(error))
    return Outcome(split.fold, seconds)


def fit(job: Job, split: Split, encoded: EncodedSet) -> Trained:
    """Train and test one fold."""
    if job.labels is not None:
        return fit_videos(job, job.labels, split, encoded)
    recipe = job.recipe
    data = FoldData(
        clips=job.clips,
        classes=job.classes,
        split=split,
        encoded=encoded,
        batch_size=recipe.batch_size,
        order=recipe.order,
        seed=recipe.seed,
        augment=recipe.augment,
    )
    pl.seed_everything(data.seed, verbose=False)
    network = recipe.network(in_channels=data.in_channels, num_classes=data.num_classes)
    weights = data.class_weights() if recipe.class_weights == "balanced" else None
    if isinstance(network, FeatureDifference):
        raise MerError("network: feature differences score the frames of videos; use task=spotting")
    if isinstance(network, SVM):
        probabilities = fit_estimator(network, data.images, data.targets, split, class_weights=weights)
        return Trained(
            _predictions(job, split, list(split.test), probabilities, epoch=1), pd.DataFrame(), None
        )
    if recipe.init is not None:
        path = find_weights(recipe.init, split.fold)
        load_weights(path, network, subject_names(job.clips.loc[list(split.test)]))
    task = recipe.task(network, optimizer=recipe.optimizer, scheduler=recipe.scheduler, class_weights=weights)
    log = EpochLog()
    kept = EpochPredictions(data.test_batches()) if recipe.store == "every_epoch" else None
    with quiet_lightning():
        trainer = make_trainer(recipe.epochs, log, [kept] if kept else [])
        train(trainer, task, data)
        batches = trainer.predict(task, datamodule=data) or []
    rows = torch.cat([batch[0] for batch in batches]).tolist()
    probabilities = torch.cat([batch[1] for batch in batches]).numpy()
    if kept is None:
        predictions = _predictions(job, split, rows, probabilities, epoch=recipe.epochs)
    else:
        each = enumerate(kept.probabilities, start=1)
        parts = [_predictions(job, split, rows, values.numpy(), epoch=epoch) for epoch, values in each]
        predictions = pd.concat(parts, ignore_index=True)
    return Trained(predictions, log.table(), network)


def _predictions(
    job: Job, split: Split, rows: list[int], probabilities: NDArray[np.floating[Any]], *, epoch: int
) -> pd.DataFrame:
    predictions = job.clips.loc[rows, runs.KEY].reset_index(drop=True)
    predictions["fold"] = split.fold
    predictions["seed"] = job.recipe.seed
    predictions["epoch"] = epoch
    predictions["label"] = job.clips.loc[rows, "label"].to_numpy()
    for k, name in enumerate(job.classes):
        predictions[f"p_{name}"] = probabilities[:, k]
    return predictions


_worker: tuple[Job, EncodedSet] | None = None


def _start_worker(job: Job) -> None:
    global _worker
    # Ctrl-C reaches the whole process group; the parent ends its workers and says so once.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_one_thread()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = job, _open(job)


def _train_in_worker(split: Split) -> Outcome:
    assert _worker is not None
    job, encoded = _worker
    return train_fold(job, split, encoded)


def _open(job: Job) -> EncodedSet:
    encoded = open_set(job.encoded, verify=False)
    if encoded is None:
        raise MerError(f"{job.encoded}: the encoded set vanished; run again")
    return encoded


def _end_with_parent() -> None:
    """A parent killed by -9 cannot stop its workers: each watches for it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
