"""Folds side by side get the very batches that they get alone."""

from pathlib import Path

import pytest
import torch

from mer.augment import Augmentation, RandomAffine
from mer.data import splits
from mer.data.encoded import EncodedSet, encode
from mer.data.fold_batches import FoldBatches
from mer.data.megc2019_uvos import read_clips
from mer.data.module import FoldData, Order
from tests.trees import write_megc2019_uvos

# Of 24 clips 20, 19, 18 and 15 are trained on: 3, 3, 3 and 2 batches of at most 8.
SUBJECTS = {
    "006": ("0", "0", "1", "2"),
    "007": ("0", "1", "2") * 2,
    "s01": ("0",) * 5,
    "sub01": ("1", "2", "0") * 3,
}
SIZES = [[8, 8, 4], [8, 8, 3], [8, 8, 2], [8, 7]]


def make_folds(folder: Path, order: Order, augment: Augmentation | None = None) -> list[FoldData]:
    clips = read_clips(write_megc2019_uvos(folder / "images", SUBJECTS))
    encoded: EncodedSet = encode(clips, cache=folder / "cache", progress=False)
    folds = [
        FoldData(
            clips=clips,
            classes=["negative", "positive", "surprise"],
            split=split,
            encoded=encoded,
            batch_size=8,
            order=order,
            seed=3,
            augment=augment,
        )
        for split in splits.loso(clips)
    ]
    return sorted(folds, key=lambda fold: len(fold.split.train), reverse=True)


@pytest.mark.parametrize("order", ["shuffled", "balanced", "release"])
def test_each_fold_has_the_batches_that_it_has_alone(tmp_path: Path, order: Order) -> None:
    folds = make_folds(tmp_path, order)
    together = FoldBatches(folds, first_epoch=4)
    together.sampler.set_epoch(1)
    batches = list(together)
    assert [len(batch["row"]) for batch in batches] == [4, 4, 3]
    assert "size" not in batches[0]
    for k, fold in enumerate(folds):
        loader = fold.train_dataloader()
        loader.sampler.set_epoch(5)  # type: ignore[attr-defined]
        alone = list(loader)
        assert [len(batch["row"]) for batch in alone] == SIZES[k]
        for batch, own in zip(batches, alone, strict=False):
            size = int(batch["size"][k]) if "size" in batch else batch["row"].shape[1]
            assert batch["row"][k, :size].equal(own["row"])
            assert (batch["row"][k, size:] == own["row"][0]).all()


def test_rows_are_augmented_as_alone(tmp_path: Path) -> None:
    folds = make_folds(tmp_path, "shuffled", RandomAffine())
    batches = list(FoldBatches(folds))
    for k, fold in enumerate(folds):
        for batch, own in zip(batches, fold.train_dataloader(), strict=False):
            assert batch["image"][k, : len(own["row"])].equal(own["image"])
            assert not own["image"].equal(fold.images[own["row"]])


def test_folds_in_another_order_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more batches an epoch come first"):
        FoldBatches(make_folds(tmp_path, "shuffled")[::-1])


def test_an_epoch_is_not_the_one_before(tmp_path: Path) -> None:
    together = FoldBatches(make_folds(tmp_path, "shuffled"))
    first = next(iter(together))["row"]
    together.set_epoch(1)
    assert not torch.equal(first, next(iter(together))["row"])
