"""What is trained: the recipe of a fold, the job that all folds of a run share, and how one fold ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import pytorch_lightning as pl
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mer.augment import Augmentation
from mer.data.module import Order
from mer.data.sequences import VideoLabels
from mer.data.splits import Split
from mer.estimators import SVM
from mer.feature_difference import FeatureDifference

Store = Literal["last", "every_epoch"]


@dataclass(frozen=True)
class Recipe:
    """Everything but the data that decides a fold's weights, and what is kept of them.

    ``store`` is the epochs whose test predictions are kept; ``init`` a run folder or a checkpoint whose
    weights the folds start from; ``save_checkpoint`` leaves one in each fold's folder.
    """

    network: Callable[..., nn.Module | SVM | FeatureDifference]
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
    save_checkpoint: bool = False


@dataclass(frozen=True)
class Job:
    """The folds of one run: where they go, what they read, how they are trained.

    ``clips`` are what is split and encoded; where they are videos, ``labels`` is what is known of
    their frames. ``synthetic`` are drawn faces.
    """

    run: Path
    clips: pd.DataFrame
    classes: list[str]
    encoded: Path
    recipe: Recipe
    record: dict[str, Any]
    labels: VideoLabels | None = None
    synthetic: bool = False


class RunFold(NamedTuple):
    """A fold of a run, where folds of several runs are trained together."""

    job: Job
    split: Split


@dataclass(frozen=True)
class Outcome:
    """How one fold ended; ``error`` is empty where it is done."""

    fold: str
    seconds: float
    error: str = ""


class Trained(NamedTuple):
    """What training a fold gives: predictions of the test clips, metrics an epoch, the network.

    ``spotted`` are the frames and expressions that ``runs.write_spotting`` takes, where videos are scored.
    """

    predictions: pd.DataFrame
    metrics: pd.DataFrame
    network: nn.Module | None
    spotted: tuple[pd.DataFrame, pd.DataFrame] | None = None
