"""Lightning and torch, set up for many small fits: one thread, and no output of their own."""

import ctypes
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch

from mer.tasks.epoch_log import EpochLog


def make_trainer(
    epochs: int,
    log: EpochLog | None,
    callbacks: Sequence[pl.Callback] = (),
    device: torch.device | None = None,
) -> pl.Trainer:
    """The trainer of a fold, or of many together; on the CPU where no device is given."""
    index = device.index if device is not None and device.type == "cuda" else None
    return pl.Trainer(
        accelerator="cpu" if index is None else "gpu",
        devices=1 if index is None else [index],
        max_epochs=epochs,
        logger=log or False,
        log_every_n_steps=1,
        callbacks=list(callbacks),
        # Each of these doubles the time of runs this small.
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def train(trainer: pl.Trainer, task: pl.LightningModule, data: Any) -> None:
    """Fit to a data module or to training batches; Ctrl-C ends it as it ends any other program."""
    with _ctrl_c_is_itself():
        trainer.fit(task, data)


def predict(trainer: pl.Trainer, task: pl.LightningModule, data: pl.LightningDataModule) -> list[Any]:
    """What the task gives for each batch of a data module; Ctrl-C ends it too."""
    with _ctrl_c_is_itself():
        return trainer.predict(task, datamodule=data) or []


@contextmanager
def _ctrl_c_is_itself() -> Iterator[None]:
    try:
        yield
    except SystemExit as error:  # what Lightning makes of Ctrl-C
        raise KeyboardInterrupt from error


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
