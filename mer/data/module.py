"""The LightningDataModule of one fold: encoded images on the device, batches by index."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import pandas as pd
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from mer.data import clips as clip_table
from mer.data import splits
from mer.data.encoded import EncodedSet, encode
from mer.data.roots import find_root
from mer.errors import MerError

Order = Literal["shuffled", "release", "balanced"]
Batch = dict[str, Tensor]


class FoldData(pl.LightningDataModule):
    """Batches of one fold of an encoded set, which stays in memory as one tensor and is indexed.

    A batch is a dict: ``image`` (B, C, H, W) float32, ``target`` (B,) int64, ``row`` (B,) int64, the
    position in the clip table. What epoch e of a fold trains on depends on (seed, fold, e) alone, never
    on which other folds were trained before or beside it.

    Args:
        clips: a validated, mapped clip table.
        classes: class names in the order of their index.
        split: rows of this fold.
        encoded: the encoded set of ``clips``.
        batch_size: clips a training batch; the last batch of an epoch may be smaller.
        order: ``shuffled`` each epoch; ``release``: never shuffled, one class after another, as
            STSTNet's code reads its class folders; ``balanced``: drawn with replacement, each class
            equally often.
        seed: with the fold's name, decides the batches.
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
    ) -> None:
        super().__init__()
        if order not in ("shuffled", "release", "balanced"):
            raise MerError(f"order={order!r}: choose shuffled, release or balanced")
        if batch_size < 1:
            raise MerError(f"batch_size={batch_size}: at least 1")
        if len(encoded.images) != len(clips):
            raise MerError(
                f"{encoded.folder}: {len(encoded.images)} images for a table of {len(clips)} clips; "
                "encode the table that is split"
            )
        splits.check(clips, [split])
        self.classes = list(classes)
        self.split = split
        self.batch_size = batch_size
        self.order = order
        self.seed = fold_seed(seed, split.fold)
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
        counts = torch.bincount(self.targets[list(self.split.train)], minlength=self.num_classes).float()
        present = counts > 0
        return torch.where(present, counts.sum() / (present.sum() * counts.clamp(min=1)), 0.0)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of the training rows."""
        rows = torch.tensor(self.split.train)
        return self._loader(rows, BatchOrder(self.targets[rows], self.batch_size, self.order, self.seed))

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Batches of the validation rows; no loader where the protocol keeps none."""
        return self._in_order(self.split.validation) if self.split.validation else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test rows, in the table's order."""
        return self._in_order(self.split.test)

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The same as :meth:`test_dataloader`."""
        return self._in_order(self.split.test)

    def _in_order(self, rows: Sequence[int]) -> DataLoader[Batch]:
        index = torch.tensor(rows)
        return self._loader(index, list(torch.split(torch.arange(len(index)), self.batch_size)))

    def _loader(self, rows: Tensor, batches: Sampler[Tensor] | list[Tensor]) -> DataLoader[Batch]:
        # batch_size None: the sampler yields whole index tensors, so a batch is one indexing operation.
        data = _Rows(self.images, self.targets, rows)
        return DataLoader(data, sampler=batches, batch_size=None, num_workers=0)


class _Rows(Dataset[Batch]):
    """Some rows of the encoded set; a batch is gathered by one indexing operation."""

    def __init__(self, images: Tensor, targets: Tensor, rows: Tensor) -> None:
        # Indexing a channels_last view would return another memory format; its (N, H, W, C) base keeps it.
        self.pixels = images.permute(0, 2, 3, 1)
        self.targets = targets
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Tensor) -> Batch:
        rows = self.rows[index]
        return {"image": self.pixels[rows].permute(0, 3, 1, 2), "target": self.targets[rows], "row": rows}


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
        return -(-len(self.targets) // self.batch_size)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.split(self._permutation(), self.batch_size))

    def _permutation(self) -> Tensor:
        if self.order == "release":
            return torch.argsort(self.targets, stable=True)
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch))
        if self.order == "shuffled":
            return torch.randperm(len(self.targets), generator=generator)
        weights = 1.0 / torch.bincount(self.targets).clamp(min=1)[self.targets]
        return torch.multinomial(weights, len(self.targets), replacement=True, generator=generator)


def mix(*parts: object) -> int:
    """A seed of 63 bits from any parts, the same on every machine."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") >> 1


def fold_seed(seed: int, fold: str) -> int:
    """The seed of one fold: of its weights, dropout and batches, whichever engine trains it.

    32 bits: Lightning's ``seed_everything`` takes no more.
    """
    return mix(seed, fold) % 2**32


class DatabaseData(FoldData):
    """A database's data module for use without Hydra; each database has a thin subclass.

    Args:
        root: the database's folder; None looks at ``MER_ROOT_<DATABASE>`` and conf/roots.yaml.
        fold: ``<database>/<subject>`` or ``#n`` of leave-one-subject-out.
        encoding: a module of ``mer.encodings``, or None where the database holds encoded images.
        batch_size, order, seed: see :class:`FoldData`.
    """

    database: ClassVar[str]
    label_map: ClassVar[Mapping[str, str | None]]
    classes_in_order: ClassVar[Sequence[str]]

    @staticmethod
    def read_clips(root: Path) -> pd.DataFrame:
        """The clip table of the database's folder; a subclass sets it to ``staticmethod(read_clips)``."""
        raise NotImplementedError

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        fold: str = "#0",
        encoding: nn.Module | None = None,
        batch_size: int = 256,
        order: Order = "shuffled",
        seed: int = 0,
    ) -> None:
        if fold == "all":
            raise MerError("fold=all: a data module holds one fold; name it, or give its position as in #0")
        folder = find_root(self.database, root)
        # Of the class, not of self: a plain function in a subclass must not become a method.
        clips = clip_table.map_labels(
            type(self).read_clips(folder), self.label_map, self.classes_in_order, folder
        )
        super().__init__(
            clips=clips,
            classes=self.classes_in_order,
            split=splits.select(splits.loso(clips), fold)[0],
            encoded=encode(clips, encoding),
            batch_size=batch_size,
            order=order,
            seed=seed,
        )
