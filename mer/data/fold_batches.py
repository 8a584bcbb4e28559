"""The training batches of several folds side by side, each fold's as it trains on them alone."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mer.data.module import Batch, BatchOrder, FoldData


class FoldBatches:
    """One epoch of every fold: batch s holds batch s of each fold that has that many.

    Folds come sorted by their batches an epoch, most first, so that those which train at one time are the
    first ones, and folds with fewer batches wait for the next epoch.

    A batch is a dict of K' <= K folds and B positions: ``row`` (K', B) int64, positions in the clip table.
    Where the folds' batches are unequal, shorter ones are filled up with their first row, and ``size``
    (K',) int64 says how many count, which are the first ones. Where rows are augmented, ``image``
    (K', B, C, H, W) as well.

    Args:
        folds: K folds of one encoded set.
        first_epoch: epochs that were trained before this fit.

    Raises:
        ValueError: folds in another order.
    """

    def __init__(self, folds: Sequence[FoldData], *, first_epoch: int = 0) -> None:
        self.folds = folds
        self.first_epoch = first_epoch
        self.epoch = first_epoch
        self.steps = [steps_an_epoch(fold) for fold in folds]
        if self.steps != sorted(self.steps, reverse=True):
            raise ValueError("folds with more batches an epoch come first")

    @property
    def sampler(self) -> "FoldBatches":
        """Where Lightning looks for ``set_epoch``."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch of this fit."""
        self.epoch = self.first_epoch + epoch

    def __len__(self) -> int:
        return self.steps[0]

    def __iter__(self) -> Iterator[Batch]:
        batches = [self._rows(fold) if fold.augment is None else self._augmented(fold) for fold in self.folds]
        for step in range(len(self)):
            yield stack(
                [next(batch) for batch, steps in zip(batches, self.steps, strict=True) if step < steps]
            )

    def _rows(self, fold: FoldData) -> Iterator[Batch]:
        rows = torch.tensor(fold.split.train)
        order = _order(fold)
        order.set_epoch(self.epoch)
        for index in order:
            yield {"row": rows[index]}

    def _augmented(self, fold: FoldData) -> Iterator[Batch]:
        loader = fold.train_dataloader()
        loader.sampler.set_epoch(self.epoch)  # type: ignore[attr-defined]
        for key in loader.sampler:  # not the loader itself, which would draw a random number
            batch = loader.dataset[key]
            yield {"row": batch["row"], "image": batch["image"]}


def steps_an_epoch(fold: FoldData) -> int:
    """Training batches of a fold's epoch."""
    return len(_order(fold))


def stack(batches: Sequence[Batch]) -> Batch:
    """One batch of several folds' batches, filled up as in :class:`FoldBatches`; none of them is empty."""
    lengths = [len(batch["row"]) for batch in batches]
    if len(set(lengths)) == 1:
        return {name: torch.stack([batch[name] for batch in batches]) for name in batches[0]}
    size = torch.tensor(lengths)
    positions = torch.arange(max(lengths))
    filled = torch.where(positions < size[:, None], positions, 0)
    stacked: Batch = {
        name: torch.stack([batch[name][index] for batch, index in zip(batches, filled, strict=True)])
        for name in batches[0]
    }
    return {**stacked, "size": size}


def _order(fold: FoldData) -> BatchOrder:
    copies = 1 if fold.augment is None else len(fold.augment)
    targets: Tensor = fold.targets[list(fold.split.train)].repeat_interleave(copies)
    return BatchOrder(targets, fold.batch_size, fold.order, fold.seed)
