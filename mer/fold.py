"""One fold, whichever engine trains it: its data, its network, and the files that it leaves."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import nn

from mer import runs
from mer.data.encoded import EncodedSet, open_set
from mer.data.module import FoldData
from mer.data.splits import Split, subject_names
from mer.errors import MerError
from mer.estimators import SVM
from mer.feature_difference import FeatureDifference
from mer.job import Job, Outcome, Trained
from mer.weights import find_weights, load_weights, save_weights


def open_encoded(job: Job) -> EncodedSet:
    """The encoded set of a job.

    Raises:
        MerError: it was removed meanwhile.
    """
    encoded = open_set(job.encoded, verify=False)
    if encoded is None:
        raise MerError(f"{job.encoded}: the encoded set vanished; run again")
    return encoded


def fold_data(job: Job, split: Split, encoded: EncodedSet) -> FoldData:
    """The batches of a fold."""
    recipe = job.recipe
    return FoldData(
        clips=job.clips,
        classes=job.classes,
        split=split,
        encoded=encoded,
        batch_size=recipe.batch_size,
        order=recipe.order,
        seed=recipe.seed,
        augment=recipe.augment,
    )


def build_network(job: Job, data: FoldData) -> nn.Module | SVM | FeatureDifference:
    """The network of a fold, drawn by the fold's seed, which torch's generator is left at."""
    pl.seed_everything(data.seed, verbose=False)
    return job.recipe.network(in_channels=data.in_channels, num_classes=data.num_classes)


def build_task(job: Job, data: FoldData, network: nn.Module) -> pl.LightningModule:
    """The task of a fold; loads into the network the weights of another run, where it starts from some."""
    recipe = job.recipe
    load_start(job, data.split, network)
    weights = data.class_weights() if recipe.class_weights == "balanced" else None
    return recipe.task(network, optimizer=recipe.optimizer, scheduler=recipe.scheduler, class_weights=weights)


def load_start(job: Job, split: Split, network: nn.Module) -> None:
    """Load the weights of another run into a network, where its fold starts from some."""
    if job.recipe.init is not None:
        path = find_weights(job.recipe.init, split.fold)
        load_weights(path, network, subject_names(job.clips.loc[list(split.test)]))


def predictions_table(
    job: Job, split: Split, probabilities: NDArray[np.floating[Any]], epochs: Sequence[int]
) -> pd.DataFrame:
    """What predictions.parquet holds of a fold.

    Args:
        job: of the run.
        split: of the fold.
        probabilities: (epochs, test clips, num_classes), the clips in the split's order.
        epochs: 1-based number of each.
    """
    rows = list(split.test) * len(epochs)
    predictions = job.clips.loc[rows, runs.KEY].reset_index(drop=True)
    predictions["fold"] = split.fold
    predictions["seed"] = job.recipe.seed
    predictions["epoch"] = np.repeat(np.asarray(epochs, dtype=np.int64), len(split.test))
    predictions["label"] = job.clips.loc[rows, "label"].to_numpy()
    pooled = probabilities.reshape(len(rows), -1)
    for k, name in enumerate(job.classes):
        predictions[f"p_{name}"] = pooled[:, k]
    return predictions


def finish_fold(
    job: Job, split: Split, folder: Path, trained: Trained, seconds: float, **record: Any
) -> Outcome:
    """Write a fold's folder; ``record`` is added to the job's."""
    if trained.network is not None and job.recipe.save_weights:
        save_weights(folder, trained.network, subject_names(job.clips.loc[[*split.train, *split.validation]]))
    if trained.spotted is not None:
        runs.write_spotting(folder, *trained.spotted)
    whole = {
        **job.record,
        **record,
        "fold": split.fold,
        "train_clips": len(split.train),
        "validation_clips": len(split.validation),
        "test_clips": len(split.test),
        "seconds": round(seconds, 3),
    }
    runs.finish(folder, trained.predictions, trained.metrics, whole)
    return Outcome(split.fold, seconds)


def fail_fold(split: Split, folder: Path, error: Exception, seconds: float) -> Outcome:
    """Leave the reason in a fold's folder; of a bug, with its traceback."""
    known = isinstance(error, MerError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    runs.fail(folder, text)
    return Outcome(split.fold, seconds, text.strip().splitlines()[-1])
