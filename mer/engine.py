"""Trains the folds of a run on the CPU: each with one thread, side by side in worker processes.

One thread a fold, also for a fold alone: two threads sum in another order and give other bytes. A fold
depends on (recipe, split, encoded set) only, so neither the number of workers nor the order matters.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer import runs
from mer.augment import Augmentation
from mer.data.encoded import EncodedSet, open_set
from mer.data.module import FoldData, Order
from mer.data.splits import Split, subject_names
from mer.errors import MerError
from mer.estimators import SVM, fit_estimator
from mer.tasks.epoch_log import EpochLog
from mer.tasks.epoch_predictions import EpochPredictions
from mer.weights import find_weights, load_weights, save_weights

Store = Literal["last", "every_epoch"]


@dataclass(frozen=True)
class Recipe:
    """Everything but the data that decides a fold's weights, and what is kept of them.

    ``store`` is the epochs whose test predictions are kept; ``init`` a run folder whose weights the folds
    start from; ``save_weights`` leaves the weights in each fold's folder.
    """

    network: Callable[..., nn.Module | SVM]
    task: Callable[..., pl.LightningModule]
    optimizer: Callable[..., Optimizer]
    scheduler: Callable[..., LRScheduler] | None
    epochs: int
    batch_size: int
    order: Order
    class_weights: Literal["none", "balanced"]
    seed: int
    augment: Augmentation | None = None
    store: Store = "last"
    init: Path | None = None
    save_weights: bool = False


@dataclass(frozen=True)
class Job:
    """The folds of one run: where they go, what they read, how they are trained."""

    run: Path
    clips: pd.DataFrame
    classes: list[str]
    encoded: Path
    recipe: Recipe
    record: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """How one fold ended; ``error`` is empty where it is done."""

    fold: str
    seconds: float
    error: str = ""


class Trained(NamedTuple):
    """What training a fold gives: predictions of the test clips, metrics an epoch, the network."""

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    network: nn.Module | None


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
        trainer = pl.Trainer(
            accelerator="cpu",
            devices=1,
            max_epochs=recipe.epochs,
            logger=log,
            log_every_n_steps=1,
            callbacks=[kept] if kept else None,
            # Each of these doubles the time of runs this small.
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
        )
        try:
            trainer.fit(task, datamodule=data)
        except SystemExit as error:  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from error
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


def use_one_thread() -> None:
    """Let torch compute with one thread and keep the memory that it frees.

    glibc hands every buffer over 32 MiB, and the top of its heap, back to the kernel, and each training
    step then faults the same pages in again: half of the time of a small network's step.
    """
    torch.set_num_threads(1)
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return  # not glibc
    trim_threshold, mmap_threshold = -1, -3  # malloc.h
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence what Lightning says of every tiny fit; each filter carries its reason."""
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # Lightning 2.6.6 uses torch's LeafSpec, which torch 2.14 deprecates.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*", category=FutureWarning)
        # A protocol without validation rows gives Lightning an empty list of loaders.
        warnings.filterwarnings("ignore", message=r"Total length of `list` across ranks is zero.*")
        # The images are in memory: loader workers would only copy them.
        warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
        yield


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
