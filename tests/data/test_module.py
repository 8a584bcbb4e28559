import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from mer.augment import Augmentation, FixedPool, RandomAffine, RandomPool
from mer.data.clips import validate
from mer.data.encoded import EncodedSet
from mer.data.module import Batch, BatchOrder, FoldData, Order, fold_seed, mix
from mer.data.splits import Split, loso
from mer.errors import MerError
from mer.trainer import quiet_lightning

CLASSES = ["a", "b", "c"]
# 4 subjects with 5 clips each; the classes are uneven: 8 a, 8 b, 4 c.
LABELS = "abcab"


@pytest.fixture
def clips() -> pd.DataFrame:
    return validate(
        pd.DataFrame(
            [
                {"database": "d", "subject": f"s{s}", "clip": f"c{k}", "label": label, "image": "/i.png"}
                for s in range(4)
                for k, label in enumerate(LABELS)
            ]
        ).assign(onset=None, apex=None, offset=None, fps=None),
        "t",
    )


def fake_images(clips: int) -> EncodedSet:
    """Each image holds its own row number, as (N, H, W, C) seen as (N, C, H, W)."""
    rows = torch.arange(clips, dtype=torch.float32)[:, None, None, None]
    return EncodedSet(rows.expand(clips, 4, 5, 2).contiguous().permute(0, 3, 1, 2), "content", Path("/set"))


def fold(clips: pd.DataFrame, split: Split | int = 0, **changed: Any) -> FoldData:
    split = split if isinstance(split, Split) else loso(clips, validation=0.3)[split]
    options: dict[str, Any] = {"batch_size": 4, "encoded": fake_images(len(clips))} | changed
    return FoldData(clips=clips, classes=CLASSES, split=split, **options)


def epoch(data: FoldData, number: int = 0) -> list[Batch]:
    loader = data.train_dataloader()
    cast(BatchOrder, loader.sampler).set_epoch(number)
    return list(loader)


def rows(batches: Any) -> list[list[int]]:
    return [batch["row"].tolist() for batch in batches]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def test_a_batch_holds_images_targets_and_rows_that_belong_together(clips: pd.DataFrame) -> None:
    data = fold(clips)
    assert (data.in_channels, data.num_classes) == (2, 3)
    for batch in epoch(data):
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["image"].dtype == torch.float32
        assert batch["image"][:, 0, 0, 0].tolist() == batch["row"].tolist()
        assert batch["target"].dtype == torch.int64
        expected = [CLASSES.index(label) for label in clips.loc[batch["row"].tolist(), "label"]]
        assert batch["target"].tolist() == expected


def test_shuffled_covers_each_training_row_once(clips: pd.DataFrame) -> None:
    data = fold(clips)
    batches = rows(epoch(data))
    assert [len(batch) for batch in batches] == [4, 4, 2]
    assert len(data.train_dataloader()) == 3
    assert sorted(flat(batches)) == list(data.split.train)


def test_batches_are_a_function_of_seed_fold_and_epoch(clips: pd.DataFrame) -> None:
    first = rows(epoch(fold(clips), 3))
    assert rows(epoch(fold(clips), 3)) == first
    assert rows(epoch(fold(clips), 4)) != first
    assert rows(epoch(fold(clips, seed=1), 3)) != first
    torch.manual_seed(123)  # neither the global generator nor earlier epochs have a say
    data = fold(clips)
    epoch(data, 0)
    assert rows(epoch(data, 3)) == first
    renamed = replace(data.split, fold="d/other")
    assert rows(epoch(fold(clips, renamed), 3)) != first


def test_seeds_are_frozen() -> None:
    # As for the order of batches below: what was trained can be trained again.
    assert mix(0, "d/s1") == 2626635326796278345
    assert fold_seed(0, "casme2/sub01") == 1257331364
    assert fold_seed(1, "casme2/sub01") != fold_seed(0, "casme2/sub01") != fold_seed(0, "casme2/sub02")
    assert mix("a", "b") != mix("ab")
    assert all(0 <= fold_seed(seed, "f") < 2**32 for seed in range(200)), "what seed_everything takes"


def test_the_shuffled_order_is_frozen() -> None:
    # Another order trains another network: stored results could no longer be made again.
    order = BatchOrder(torch.zeros(8, dtype=torch.int64), 8, "shuffled", seed=5)
    order.set_epoch(2)
    assert next(iter(order)).tolist() == [6, 5, 3, 1, 4, 0, 7, 2]


def test_release_order_is_one_class_after_another(clips: pd.DataFrame) -> None:
    data = fold(clips, order="release", batch_size=100)
    (batch,) = epoch(data)
    by_class = sorted(data.split.train, key=lambda row: (clips["label"][row], row))
    assert batch["row"].tolist() == by_class
    assert rows(epoch(data, 1)) == [by_class]


def test_balanced_draws_the_classes_equally_often() -> None:
    targets = torch.tensor([0] * 70 + [1] * 25 + [2] * 5)
    order = BatchOrder(targets, 32, "balanced", seed=0)
    drawn = []
    for number in range(60):
        order.set_epoch(number)
        drawn.append(torch.cat(list(order)))
        assert len(drawn[-1]) == len(order.targets)
    share = torch.bincount(targets[torch.cat(drawn)]) / 6000
    # Standard deviation of a share over 6000 draws: .006.
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), rtol=0, atol=0.02)
    rare = torch.bincount(torch.cat(drawn), minlength=100)[95:]
    assert (rare > 0).all(), "each clip of a class is drawn, not one of them"


def test_balanced_where_a_class_is_absent() -> None:
    order = BatchOrder(torch.tensor([0, 0, 0, 2]), 4, "balanced", seed=0)
    assert len(next(iter(order))) == 4


def test_class_weights_are_inverse_frequencies_with_mean_1_over_clips(clips: pd.DataFrame) -> None:
    data = fold(clips)
    targets = data.targets[list(data.split.train)]
    counts = [int((targets == k).sum()) for k in range(3)]
    weights = data.class_weights()
    assert counts == [4, 4, 2]
    torch.testing.assert_close(weights, torch.tensor([10 / (3 * 4), 10 / (3 * 4), 10 / (3 * 2)]))
    torch.testing.assert_close(weights[targets].mean(), torch.tensor(1.0))


def test_class_weights_of_an_absent_class(clips: pd.DataFrame) -> None:
    data = fold(clips.assign(label=clips["label"].replace("c", "a")))
    torch.testing.assert_close(data.class_weights(), torch.tensor([10 / (2 * 6), 10 / (2 * 4), 0.0]))


def test_class_weights_come_from_training_rows_only(clips: pd.DataFrame) -> None:
    data = fold(clips)
    held = [*data.split.test, *data.split.validation]
    other = clips.copy()
    other.loc[held, "label"] = "c"
    torch.testing.assert_close(fold(other).class_weights(), data.class_weights(), rtol=0, atol=0)
    other.loc[list(data.split.train), "label"] = "c"
    assert not torch.equal(fold(other).class_weights(), data.class_weights())


@pytest.mark.parametrize("order", ["shuffled", "release", "balanced"])
def test_no_loader_trains_on_another_part_s_rows(clips: pd.DataFrame, order: Order) -> None:
    for split in loso(clips, validation=0.3):
        data = fold(clips, split, order=order)
        trained = {row for number in range(3) for row in flat(rows(epoch(data, number)))}
        assert trained <= set(split.train)
        assert flat(rows(data.val_dataloader())) == list(split.validation)
        assert flat(rows(data.test_dataloader())) == list(split.test)
        assert flat(rows(data.predict_dataloader())) == list(split.test)


def test_without_validation_there_is_no_loader(clips: pd.DataFrame) -> None:
    assert fold(clips, loso(clips)[0]).val_dataloader() == []


def test_a_leak_is_refused(clips: pd.DataFrame) -> None:
    split = loso(clips)[0]
    with pytest.raises(MerError, match="leak in fold d/s0: subject d/s0 is in train and in test"):
        fold(clips, replace(split, train=(*split.train, split.test[0])))


def test_images_of_another_table_are_refused(clips: pd.DataFrame) -> None:
    with pytest.raises(
        MerError, match="/set: 19 images for a table of 20 clips; encode the table that is spl"
    ):
        fold(clips, encoded=fake_images(19))


def test_bad_options_are_named(clips: pd.DataFrame) -> None:
    with pytest.raises(MerError, match="order='sorted': choose shuffled, release or balanced"):
        fold(clips, order="sorted")
    with pytest.raises(MerError, match="batch_size=0: at least 1"):
        fold(clips, batch_size=0)


class Recorder(pl.LightningModule):
    """Remembers the rows and the images that the Trainer hands it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.seen: dict[int, list[list[int]]] = {}
        self.images: dict[int, list[Tensor]] = {}

    def training_step(self, batch: Batch, _: int) -> Tensor:
        self.seen.setdefault(self.current_epoch, []).append(batch["row"].tolist())
        self.images.setdefault(self.current_epoch, []).append(batch["image"])
        loss: Tensor = self.layer(batch["image"][:, :1, 0, 0]).sum()
        return loss

    def validation_step(self, batch: Batch, _: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("augment", [None, RandomPool(equalize="none")], ids=repr)
def test_lightning_s_trainer_gives_each_epoch_its_own_batches(
    clips: pd.DataFrame, augment: Augmentation | None
) -> None:
    data, task = fold(clips, loso(clips)[1], augment=augment), Recorder()
    with quiet_lightning():
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=3,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
        )
        trainer.fit(task, datamodule=data)
    assert task.seen == {number: rows(epoch(data, number)) for number in range(3)}
    assert task.seen[0] != task.seen[1]
    for number in range(3):
        assert torch.equal(torch.cat(task.images[number]), images(epoch(data, number)))


@dataclass(frozen=True)
class Marks:
    """An augmentation of three variants that writes into the images which one, and the batch's seed."""

    def __len__(self) -> int:
        return 3

    def apply(self, images: Tensor, variants: Tensor, seed: int, /) -> Tensor:
        marked = images.clone()
        marked[:, 1, 0, 0] = variants.float()
        marked[:, 1, 0, 1] = seed % 2**20
        return marked


def pairs(batches: list[Batch]) -> list[tuple[int, int]]:
    """(row, variant) of what ``Marks`` gave."""
    return [
        (int(row), int(image[1, 0, 0]))
        for batch in batches
        for row, image in zip(batch["row"], batch["image"], strict=True)
    ]


def images(batches: Any) -> Tensor:
    return torch.cat([batch["image"] for batch in batches])


@pytest.mark.parametrize("order", ["shuffled", "release"])
def test_an_epoch_sees_every_row_and_variant_once(clips: pd.DataFrame, order: Order) -> None:
    data = fold(clips, augment=Marks(), order=order)
    batches = epoch(data)
    assert sorted(pairs(batches)) == [(row, variant) for row in data.split.train for variant in range(3)]
    # 10 training rows, 3 variants, batches of 4.
    assert [len(batch["row"]) for batch in batches] == [4] * 7 + [2]
    assert len(data.train_dataloader()) == 8
    for batch in batches:
        assert batch["image"][:, 0, 0, 0].tolist() == batch["row"].tolist()
        assert torch.equal(batch["target"], data.targets[batch["row"]])
    if order == "shuffled":
        assert pairs(epoch(data, 1)) != pairs(batches)


def test_release_order_keeps_the_variants_of_a_row_together(clips: pd.DataFrame) -> None:
    data = fold(clips, augment=Marks(), order="release")
    by_class = sorted(data.split.train, key=lambda row: (clips["label"][row], row))
    assert pairs(epoch(data)) == [(row, variant) for row in by_class for variant in range(3)]


def test_balanced_draws_rows_and_variants_by_class(clips: pd.DataFrame) -> None:
    data = fold(clips, augment=Marks(), order="balanced")
    drawn = [pair for number in range(100) for pair in pairs(epoch(data, number))]
    assert len(drawn) == 100 * 30
    share = torch.bincount(data.targets[[row for row, _ in drawn]]) / len(drawn)
    # Standard deviation of a share over 3000 draws: .009.
    torch.testing.assert_close(share, torch.full((3,), 1 / 3), rtol=0, atol=0.035)
    assert len(set(drawn)) == 30, "each row in each variant"


def noise_set(clips: int, seed: int = 0) -> EncodedSet:
    pixels = torch.rand(clips, 12, 14, 2, generator=torch.Generator().manual_seed(seed)) * 255
    return EncodedSet(pixels.permute(0, 3, 1, 2), "content", Path("/set"))


def test_the_pool_s_batches_are_the_rows_variants(clips: pd.DataFrame) -> None:
    pool, encoded = FixedPool(), noise_set(len(clips))
    data = fold(clips, encoded=encoded, augment=pool, order="release", batch_size=len(pool))
    for batch in epoch(data):
        (row,) = set(batch["row"].tolist())
        image = encoded.images[row].expand(len(pool), 2, 12, 14)
        assert torch.equal(batch["image"], pool.apply(image, torch.arange(len(pool))))
        assert batch["image"].is_contiguous(memory_format=torch.channels_last)
        assert batch["image"].dtype == torch.float32


@pytest.mark.parametrize("augment", [RandomPool(), RandomAffine()], ids=repr)
def test_what_is_drawn_is_a_function_of_seed_fold_and_epoch(
    clips: pd.DataFrame, augment: Augmentation
) -> None:
    # One image for all rows, in an order that does not change: only what is drawn can differ.
    encoded = noise_set(len(clips))
    encoded = replace(encoded, images=encoded.images[:1].expand(20, 2, 12, 14))
    options: dict[str, Any] = {"encoded": encoded, "augment": augment, "order": "release", "batch_size": 5}
    first = images(epoch(fold(clips, **options), 3))
    assert first.is_contiguous(memory_format=torch.channels_last)
    torch.manual_seed(123)
    data = fold(clips, **options)
    epoch(data, 0)
    assert torch.equal(images(epoch(data, 3)), first)
    assert not torch.equal(first[:5], first[5:]), "each batch draws anew"
    assert not torch.equal(images(epoch(data, 4)), first)
    assert not torch.equal(images(epoch(fold(clips, **options, seed=1), 3)), first)
    renamed = replace(data.split, fold="d/other")
    assert not torch.equal(images(epoch(fold(clips, renamed, **options), 3)), first)


def test_the_seeds_of_batches_are_frozen(clips: pd.DataFrame) -> None:
    data = fold(clips, augment=Marks())
    seeds = [int(batch["image"][0, 1, 0, 1]) for batch in epoch(data, 5)]
    assert seeds == [mix(data.seed, 5, position) % 2**20 for position in range(8)]


@pytest.mark.parametrize("augment", [FixedPool(), RandomPool(), RandomAffine()], ids=repr)
def test_only_training_batches_are_augmented(clips: pd.DataFrame, augment: Augmentation) -> None:
    encoded = noise_set(len(clips))
    plain, augmented = fold(clips, encoded=encoded), fold(clips, encoded=encoded, augment=augment)
    for part in ("val_dataloader", "test_dataloader", "predict_dataloader"):
        expected, found = list(getattr(plain, part)()), list(getattr(augmented, part)())
        assert rows(found) == rows(expected)
        assert torch.equal(images(found), images(expected))
    assert torch.equal(augmented.class_weights(), plain.class_weights())
    if len(augment) == 1:
        assert rows(epoch(augmented)) == rows(epoch(plain)), "the order stays"
    assert len(epoch(augmented)) == -(-len(plain.split.train) * len(augment) // 4)
    again = images(epoch(augmented))
    assert not torch.equal(again[:4], images(epoch(plain))[:4])
    assert torch.equal(images(epoch(augmented)), again), "the encoded set is not written to"


LENGTHS = [3, 1, 4, 2, 5] * 4


def sequences(dtype: torch.dtype) -> EncodedSet:
    frames = noise_set(sum(LENGTHS))
    return replace(frames, images=frames.images.to(dtype), lengths=torch.tensor(LENGTHS))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_sequences_are_padded_with_zeros_to_the_longest_of_the_batch(
    clips: pd.DataFrame, dtype: torch.dtype
) -> None:
    encoded = sequences(dtype)
    data = fold(clips, encoded=encoded)
    assert data.in_channels == 2
    by_clip = torch.split(encoded.images, LENGTHS)
    for batch in [*epoch(data), *data.val_dataloader(), *data.test_dataloader()]:
        lengths = [LENGTHS[row] for row in batch["row"].tolist()]
        assert batch["length"].tolist() == lengths
        assert batch["length"].dtype == torch.int64
        assert torch.equal(batch["target"], data.targets[batch["row"]])
        image = batch["image"]
        assert image.dtype == torch.float32
        assert image.shape == (len(lengths), max(lengths), 2, 12, 14)
        assert image.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        for row, length, clip in zip(batch["row"].tolist(), lengths, image, strict=True):
            assert torch.equal(clip[:length], by_clip[row].float())
            assert not clip[length:].any()


@pytest.mark.parametrize("augment", [FixedPool(), RandomAffine()], ids=repr)
def test_sequences_are_augmented(clips: pd.DataFrame, augment: Augmentation) -> None:
    encoded = sequences(torch.uint8)
    before = encoded.images.clone()
    plain = fold(clips, encoded=encoded, order="release", batch_size=1)
    data = fold(clips, encoded=encoded, order="release", batch_size=len(augment), augment=augment)
    for position, (batch, original) in enumerate(zip(epoch(data), epoch(plain), strict=True)):
        clip = original["image"].expand(len(augment), -1, -1, -1, -1)
        expected = augment.apply(clip, torch.arange(len(augment)), mix(data.seed, 0, position))
        assert torch.equal(batch["image"], expected)
        assert batch["image"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert batch["length"].tolist() == original["length"].tolist() * len(augment)
    assert torch.equal(encoded.images, before)
    held, unchanged = list(data.test_dataloader()), list(plain.test_dataloader())
    assert torch.equal(held[0]["image"][:1, : LENGTHS[0]], unchanged[0]["image"])


def test_sequences_of_another_table_are_refused(clips: pd.DataFrame) -> None:
    encoded = replace(sequences(torch.uint8), lengths=torch.tensor(LENGTHS[:-1]))
    with pytest.raises(MerError, match="/set: 19 sequences for a table of 20 clips; encode the table that"):
        fold(clips, encoded=encoded)


@pytest.mark.parametrize(
    ("clips", "batch_size", "sizes"),
    [(9, 4, [4, 5]), (8, 4, [4, 4]), (10, 4, [4, 4, 2]), (1, 4, [1]), (3, 1, [1, 1, 1]), (5, 4, [5])],
)
def test_no_batch_of_one_clip_where_it_can_join_another(
    clips: int, batch_size: int, sizes: list[int]
) -> None:
    order = BatchOrder(torch.zeros(clips, dtype=torch.int64), batch_size, "shuffled", 0)
    batches = list(order)
    assert [len(batch) for batch in batches] == sizes
    assert len(order) == len(sizes)
    assert sorted(torch.cat(batches).tolist()) == list(range(clips))


def test_importing_the_package_is_light() -> None:
    heavy = "{'torch', 'cv2', 'kornia', 'pandas', 'pytorch_lightning'}"
    code = f"import sys, mer.data; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    import mer.data

    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        mer.data.Nothing  # noqa: B018
