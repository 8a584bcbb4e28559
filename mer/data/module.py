"""The LightningDataModule of one fold: encoded images on the device, batches by index."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mer.augment import Augmentation
from mer.data import clips as clip_table
from mer.data import splits
from mer.data.encoded import EncodedSet
from mer.errors import MerError

Order = Literal["shuffled", "release", "balanced"]
Batch = dict[str, Tensor]


class FoldData(pl.LightningDataModule):
    """Batches of one fold of an encoded set, which stays in memory as one tensor and is indexed.

    A batch is a dict: ``image`` (B, C, H, W) float32, ``target`` (B,) int64, ``row`` (B,) int64, the
    position in the clip table. In a set of sequences, ``image`` is (B, T, C, H, W), padded with 0 at the
    end to the longest of the batch, and ``length`` (B,) int64 holds the frames of each. What epoch e of a
    fold trains on depends on (seed, fold, e) alone, never on which other folds were trained before or
    beside it.

    Args:
        clips: a validated, mapped clip table.
        classes: class names in the order of their index.
        split: rows of this fold.
        encoded: the encoded set of ``clips``.
        batch_size: clips a training batch; the last batch of an epoch may be smaller, but a single clip joins
            the batch before it: batch norm cannot train on one.
        order: ``shuffled`` each epoch; ``release``: never shuffled, one class after another, as
            STSTNet's code reads its class folders; ``balanced``: drawn with replacement, each class
            equally often.
        seed: with the fold's name, decides the batches and what is drawn for ``augment``.
        augment: of the training batches, never of others. With a pool, an epoch has N rows times P
            variants, and ``order`` and ``batch_size`` are of these; None trains on the rows as they are.
    """

    def __init__(
        self,
        *,
        clips: pd.DataFrame,
        classes: Sequence[str],
        split: splits.Split,
        encoded: EncodedSet,
        batch_size: int = 256,
        order: Order = "shuffled",
        seed: int = 0,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__()
        if order not in ("shuffled", "release", "balanced"):
            raise MerError(f"order={order!r}: choose shuffled, release or balanced")
        if batch_size < 1:
            raise MerError(f"batch_size={batch_size}: at least 1")
        # Where a set has lengths, its images are the frames of all clips, one clip after another.
        self.lengths = encoded.lengths
        found = len(encoded.images) if self.lengths is None else len(self.lengths)
        if found != len(clips):
            raise MerError(
                f"{encoded.folder}: {found} {'images' if self.lengths is None else 'sequences'} for a table "
                f"of {len(clips)} clips; encode the table that is split"
            )
        splits.check(clips, [split])
        self.classes = list(classes)
        self.split = split
        self.batch_size = batch_size
        self.order = order
        self.seed = fold_seed(seed, split.fold)
        self.augment = augment
        self.images = encoded.images
        self.targets = torch.tensor(clip_table.targets(clips, classes))

    @property
    def in_channels(self) -> int:
        """Channels of the encoded images."""
        return self.images.shape[1]

    @property
    def num_classes(self) -> int:
        """Classes of the label map."""
        return len(self.classes)

    def class_weights(self) -> Tensor:
        """(num_classes,) inverse class frequency of the training rows, mean 1 over them; 0 where absent."""
        return inverse_frequencies(self.targets[list(self.split.train)], self.num_classes)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training rows, augmented where that was asked for."""
        rows = torch.tensor(self.split.train)
        copies = 1 if self.augment is None else len(self.augment)
        # A row's variants are neighbours, as files of one clip are in a class folder.
        targets = self.targets[rows].repeat_interleave(copies)
        order = BatchOrder(targets, self.batch_size, self.order, self.seed)
        if self.augment is None:
            return self._loader(self._rows(rows), order)
        return self._loader(_AugmentedRows(self._rows(rows), self.augment), _SeededOrder(order))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Batches of the validation rows; no loader where the protocol keeps none."""
        return self._in_order(self.split.validation) if self.split.validation else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test rows, in the table's order."""
        return self._in_order(self.split.test)

    def test_batches(self) -> list[Batch]:
        """The batches of :meth:`test_dataloader` without a loader, which would draw a random number."""
        data = self._rows(torch.tensor(self.split.test))
        return [data[index] for index in torch.split(torch.arange(len(data)), self.batch_size)]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as :meth:`test_dataloader`."""
        return self._in_order(self.split.test)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The batch as it is where it lies on the device: Lightning would walk through it at each step."""
        if batch["row"].device == device:
            return batch
        moved: Batch = super().transfer_batch_to_device(batch, device, dataloader_idx)
        return moved

    def _in_order(self, rows: Sequence[int]) -> DataLoader[Batch]:
        index = torch.tensor(rows)
        batches = list(torch.split(torch.arange(len(index)), self.batch_size))
        return self._loader(self._rows(index), batches)

    def _rows(self, rows: Tensor) -> "_Rows":
        return _Rows(self.images, self.lengths, self.targets, rows)

    @staticmethod
    def _loader(data: Dataset[Batch], batches: Sampler[Any] | list[Tensor]) -> DataLoader[Batch]:
        # batch_size None: the sampler yields whole index tensors, so a batch is one indexing operation.
        return DataLoader(data, sampler=batches, batch_size=None, num_workers=0)


class _Rows(Dataset[Batch]):
    """Some rows of the encoded set; a batch is gathered by one indexing operation."""

    def __init__(self, images: Tensor, lengths: Tensor | None, targets: Tensor, rows: Tensor) -> None:
        # Indexing a channels_last view would return another memory format; its (N, H, W, C) base keeps it.
        self.pixels = images.permute(0, 2, 3, 1)
        self.lengths = lengths
        self.firsts = None if lengths is None else lengths.cumsum(0) - lengths
        self.targets = targets
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Batch:
        rows = self.rows[index]
        batch = {"target": self.targets[rows], "row": rows}
        if self.lengths is None or self.firsts is None:
            return {"image": self.pixels[rows].permute(0, 3, 1, 2), **batch}
        lengths = self.lengths[rows]
        numbers = torch.arange(int(lengths.max()))
        inside = numbers < lengths[:, None]
        frames = torch.where(inside, self.firsts[rows][:, None] + numbers, 0)
        pixels = self.pixels[frames].float().masked_fill_(~inside[..., None, None, None], 0)
        return {"image": pixels.movedim(-1, -3), "length": lengths, **batch}


class _AugmentedRows(Dataset[Batch]):
    """The variants of training rows: number k is variant k % P of row k // P."""

    def __init__(self, data: _Rows, augment: Augmentation) -> None:
        self.data = data
        self.augment = augment

    def __len__(self) -> int:
        return len(self.data) * len(self.augment)

    def __getitem__(self, key: tuple[Tensor, int]) -> Batch:
        index, seed = key
        batch = self.data[index // len(self.augment)]
        image = self.augment.apply(batch["image"], index % len(self.augment), seed)
        # channels_last, as without augmentation.
        return {**batch, "image": image.movedim(-3, -1).contiguous().movedim(-1, -3)}


class BatchOrder(Sampler[Tensor]):
    """Index tensors of one epoch's batches, a pure function of (seed, epoch).

    Args:
        targets: (N,) class of each training row.
        batch_size: rows a batch.
        order: see :class:`FoldData`.
        seed: of this fold.
    """

    def __init__(self, targets: Tensor, batch_size: int, order: Order, seed: int) -> None:
        self.targets = targets
        self.batch_size = batch_size
        self.order = order
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self._sizes())

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.split(self._permutation(), self._sizes()))

    def _sizes(self) -> list[int]:
        whole, rest = divmod(len(self.targets), self.batch_size)
        sizes = [self.batch_size] * whole + [rest] * (rest > 0)
        if rest == 1 and whole:
            sizes[-2:] = [self.batch_size + 1]
        return sizes

    def _permutation(self) -> Tensor:
        if self.order == "release":
            return torch.argsort(self.targets, stable=True)
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        if self.order == "shuffled":
            return torch.randperm(len(self.targets), generator=generator)
        weights = 1.0 / torch.bincount(self.targets).clamp(min=1)[self.targets]
        return torch.multinomial(weights, len(self.targets), replacement=True, generator=generator)


class _SeededOrder(Sampler[tuple[Tensor, int]]):
    """The batches of an order, each with a seed of its own: a function of (seed, epoch, position)."""

    def __init__(self, order: BatchOrder) -> None:
        self.order = order

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for position, index in enumerate(self.order):
            yield index, mix(self.order.seed, self.order.epoch, position)


def inverse_frequencies(targets: Tensor, num_classes: int) -> Tensor:
    """(num_classes,) inverse frequency of each class of targets (N,), mean 1 over them; 0 where absent."""
    counts = torch.bincount(targets, minlength=num_classes).float()
    present = counts > 0
    return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)


def mix(*parts: object) -> int:
    """A seed of 63 bits from any parts, the same on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def fold_seed(seed: int, fold: str) -> int:
    """The seed of one fold: of its weights, dropout and batches, whichever engine trains it.

    32 bits: Lightning's ``seed_everything`` takes no more.
    """
    return mix(seed, fold) % 2**32
