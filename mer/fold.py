"""One fold, whichever engine trains it: its data, its network, and the files that it leaves."""

import hashlib
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from numpy.typing import NDArray
from torch import nn

from mer import runs
from mer.checkpoint import About, check_subjects, find_start, read_about, start_from, write
from mer.data.duplicates import check_apart, fingerprints
from mer.data.encoded import EncodedSet, open_set
from mer.data.module import FoldData
from mer.data.splits import Split, subject_names
from mer.encodings.apex_flow import backend_in_effect
from mer.errors import MerError
from mer.estimators import SVM
from mer.feature_difference import FeatureDifference
from mer.job import Job, Outcome, Trained


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
        path = find_start(job.recipe.init, split.fold)
        about = start_from(path, network, subject_names(job.clips.loc[list(split.test)]))
        check_apart(about.fingerprints, job.clips, split.test, source=path)


def check_start(job: Job, split: Split) -> None:
    """Raise MerError, before anything is trained, where a fold tests what its start has seen, or has none."""
    if job.recipe.init is not None:
        path = find_start(job.recipe.init, split.fold)
        about = read_about(path)
        check_subjects(about, path, subject_names(job.clips.loc[list(split.test)]))
        check_apart(about.fingerprints, job.clips, split.test, source=path)


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
    if trained.network is not None and job.recipe.save_checkpoint:
        write(folder, trained.network, describe(job, split))
    if trained.spotted is not None:
        runs.write_spotting(folder, *trained.spotted)
    whole = {
        **job.record,
        **record,
        **_start(job, split),
        "fold": split.fold,
        "train_clips": len(split.train),
        "validation_clips": len(split.validation),
        "test_clips": len(split.test),
        "seconds": round(seconds, 3),
    }
    runs.finish(folder, trained.predictions, trained.metrics, whole)
    return Outcome(split.fold, seconds)


def describe(job: Job, split: Split) -> About:
    """What the checkpoint of a fold says of its weights, at the last epoch.

    What they have seen is also what the weights have seen that they started from, and those before them.
    """
    before = None if job.recipe.init is None else read_about(find_start(job.recipe.init, split.fold))
    images = open_encoded(job).images
    config = job.record.get("config", {})
    seen = job.clips.loc[[*split.train, *split.validation]]
    prints = fingerprints(job.clips, [*split.train, *split.validation])
    run = {name: job.record.get(name) for name in ("experiment", "variant", "tag", "data", "protocol")}
    return About(
        network=_plain(job.recipe.network),
        in_channels=images.shape[1],
        classes=job.classes,
        label_map=config.get("data", {}).get("label_map"),
        task="classification" if job.labels is None else "spotting",
        window=config.get("task", {}).get("window", 64),
        encoding=_in_effect(config.get("encoding")),
        shape=list(images.shape[1:]),
        # The folder is one of this machine; the points of another clip lie elsewhere.
        faces={name: value for name, value in config.get("faces", {}).items() if name != "landmarks"},
        cropped=bool(seen["cropped"].all()) if "cropped" in seen.columns else True,
        apex=config.get("apex", "spot_missing"),
        fps=sorted({float(rate) for rate in seen["fps"].dropna()}),
        databases=sorted({*seen["database"], *(before.databases if before else ())}),
        trained_on=sorted({*subject_names(seen), *(before.trained_on if before else ())}),
        fingerprints=list(dict.fromkeys([*prints, *(before.fingerprints if before else ())])),
        run={**run, "seed": job.recipe.seed, "fold": split.fold, "epoch": job.recipe.epochs},
        synthetic=job.synthetic or bool(before and before.synthetic),
        mer=version("mer-lab"),
        commit=job.record.get("commit", "unknown"),
    )


def _plain(made: Callable[..., Any]) -> dict[str, Any]:
    """``_target_`` and the keywords of what a recipe calls."""
    called, keywords = (made.func, made.keywords) if isinstance(made, partial) else (made, {})
    return {"_target_": f"{called.__module__}.{called.__qualname__}", **keywords}


def _in_effect(encoding: dict[str, Any] | None) -> dict[str, Any] | None:
    """An encoding with the program that solved the flow here: ``auto`` is another one elsewhere."""
    if encoding is None or encoding.get("backend") != "auto":
        return encoding
    return {**encoding, "backend": backend_in_effect("auto")}


def _start(job: Job, split: Split) -> dict[str, str]:
    """The sha256 of the weights that a fold started from, for the record: their path may be reused."""
    if job.recipe.init is None:
        return {}
    with find_start(job.recipe.init, split.fold).open("rb") as file:
        return {"init_sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def fail_fold(split: Split, folder: Path, error: Exception, seconds: float) -> Outcome:
    """Leave the reason in a fold's folder; of a bug, with its traceback."""
    known = isinstance(error, MerError)
    text = str(error) if known else "".join(traceback.format_exception(error))
    runs.fail(folder, text)
    return Outcome(split.fold, seconds, text.strip().splitlines()[-1])
