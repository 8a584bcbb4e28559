"""The LightningDataModule of one fold of videos: stretches of frames, with what is known of each frame."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mer.augment import Augmentation
from mer.data import splits
from mer.data.encoded import EncodedSet
from mer.data.intensity import inside, true_intensity
from mer.data.module import Batch, fold_seed, mix
from mer.errors import MerError

NONE = -1  # in place of a class or an expression


class VideoLabels(NamedTuple):
    """The annotation of a table of videos.

    Attributes:
        numbers: the frame numbers (T,) of each video, as ``mer.data.videos.video_frames`` gives them.
        expressions: of ``mer.data.videos.Videos``: a row an expression, ``video`` the row of the table.
        targets: class of each expression, -1 for those that are spotted but not classified.
    """

    numbers: list[NDArray[np.int64]]
    expressions: pd.DataFrame
    targets: list[int]


class FrameTruth(NamedTuple):
    """What is known of the frames of all videos, one video after another, (N,) each.

    Attributes:
        intensity: float32, 0..1; NaN where it is not defined, inside an expression without an apex.
        inside: whether an expression's [onset, offset] holds the frame.
        expression: the row of ``Videos.expressions`` that holds it, the first where several do; or -1.
        target: class of that expression; -1 where there is none, or its label is in no class.
    """

    intensity: Tensor
    inside: Tensor
    expression: Tensor
    target: Tensor


def frame_truth(labels: VideoLabels) -> FrameTruth:
    """What a table's annotation says of every frame of every video."""
    parts = []
    of_video = dict(iter(labels.expressions.groupby("video")))
    for video, frames in enumerate(labels.numbers):
        rows = of_video.get(video, labels.expressions.iloc[:0])
        onset, apex, offset = (
            rows[name].to_numpy(np.float64, na_value=np.nan) for name in ("onset", "apex", "offset")
        )
        holding = (frames >= onset[:, None]) & (frames <= offset[:, None])
        within = inside(frames, np.stack([onset, offset], axis=1))
        first = rows.index.to_numpy()[holding.argmax(axis=0)] if len(rows) else np.zeros(len(frames), int)
        parts.append((true_intensity(frames, onset, apex, offset), within, np.where(within, first, NONE)))
    columns = zip(*parts, strict=True)
    intensity, there, expression = (torch.from_numpy(np.concatenate(part)) for part in columns)
    # One more at the end: it is what -1 reads.
    of_expression = torch.tensor([*labels.targets, NONE])
    return FrameTruth(intensity, there, expression.long(), of_expression[expression.long()])


class VideoData(pl.LightningDataModule):
    """Training stretches of one fold's videos, from an encoded set that stays a memory map.

    A batch is a dict: ``frames`` (B, S + 1, C, H, W) float32; ``intensity``, ``inside``, ``target`` and
    ``expression`` (B, S) of the first S of them, as in :class:`FrameTruth`; ``real`` (B, S) bool, False
    after a video's end. The one frame more is for the last step: each sees a frame and the next one. At a
    video's end, and after it, the last frame is repeated. What epoch e trains on depends on (seed, fold, e)
    alone.

    Args:
        videos: ``Videos.table``: one row a video.
        truth: of all frames.
        split: rows of this fold.
        encoded: the encoded set of ``videos``, of sequences.
        batch_size: stretches a batch.
        stretch: frames of a training stretch (14 in the paper: "a sequence of 14 frames").
        draws: stretches of each training video an epoch, each drawn anew. The paper's 150 augmented
            sequences a clip are 150 epochs of one draw.
        focus: part of the draws that overlap an expression, where a video has one (ours): in a long video
            chance would find few. The others start anywhere.
        seed: with the fold's name, decides the draws and what is drawn for ``augment``.
        augment: of the stretches, one draw for all frames of each.
    """

    def __init__(
        self,
        *,
        videos: pd.DataFrame,
        truth: FrameTruth,
        split: splits.Split,
        encoded: EncodedSet,
        batch_size: int = 14,
        stretch: int = 14,
        draws: int = 1,
        focus: float = 0.5,
        seed: int = 0,
        augment: Augmentation | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("task.stretch", stretch), ("task.draws", draws)):
            if value < 1:
                raise MerError(f"{name}={value}: at least 1")
        if not 0 <= focus <= 1:
            raise MerError(f"task.focus={focus}: give a number from 0 to 1")
        if encoded.lengths is None or len(encoded.lengths) != len(videos):
            raise MerError(
                f"{encoded.folder}: no encoded set of the {len(videos)} videos; choose an encoding that "
                "gives sequences, such as frames_and_flow"
            )
        if augment is not None and len(augment) != 1:
            raise MerError("augment: a pool of variants is for images; choose augment=affine or augment=none")
        splits.check(videos, [split])
        self.split = split
        self.truth = truth
        self.frames = encoded.images
        self.lengths = encoded.lengths
        self.firsts = self.lengths.cumsum(0) - self.lengths
        self.batch_size = batch_size
        self.stretch = stretch
        self.draws = draws
        self.focus = focus
        self.seed = fold_seed(seed, split.fold)
        self.augment = augment

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of stretches of the training videos."""
        return DataLoader(_Stretches(self), sampler=_Draws(self), batch_size=None, num_workers=0)


class _Stretches(Dataset[Batch]):
    """Stretches by (video, start, seed)."""

    def __init__(self, data: VideoData) -> None:
        self.data = data
        # Its (N, H, W, C) base: indexing the channels_last view would copy more.
        self.pixels = data.frames.permute(0, 2, 3, 1)

    def __getitem__(self, key: tuple[Tensor, Tensor, int]) -> Batch:
        videos, starts, seed = key
        data, lengths = self.data, self.data.lengths[videos][:, None]
        position = starts[:, None] + torch.arange(data.stretch + 1)
        real = position < lengths
        place = data.firsts[videos][:, None] + position.minimum(lengths - 1)
        frames = self.pixels[place].movedim(-1, -3).float()
        if data.augment is not None:
            frames = data.augment.apply(frames, torch.zeros(len(videos), dtype=torch.int64), seed)
        steps = place[:, :-1]
        known = {name: values[steps] for name, values in data.truth._asdict().items()}
        return {"frames": frames, "real": real[:, :-1], **known}


class _Draws(Sampler[tuple[Tensor, Tensor, int]]):
    """The stretches of one epoch's batches: a pure function of (seed, epoch)."""

    def __init__(self, data: VideoData) -> None:
        self.data = data
        self.epoch = 0
        self.videos = torch.tensor(data.split.train).repeat_interleave(data.draws)
        # First and last position of each expression in its video.
        ends: dict[int, list[tuple[int, int]]] = {}
        firsts = data.firsts.tolist()
        for video in data.split.train:
            held = data.truth.expression[firsts[video] : firsts[video] + int(data.lengths[video])]
            for expression in sorted(set(held.tolist()) - {NONE}):
                at = (held == expression).nonzero()[:, 0]
                ends.setdefault(video, []).append((int(at[0]), int(at[-1])))
        self.ends = ends

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.videos) // self.data.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        data = self.data
        random = np.random.default_rng([data.seed, self.epoch])
        videos = self.videos[torch.from_numpy(random.permutation(len(self.videos)))]
        starts = torch.tensor([self._start(int(video), random) for video in videos])
        batches = zip(*(torch.split(part, data.batch_size) for part in (videos, starts)), strict=True)
        for number, (chosen, start) in enumerate(batches):
            yield chosen, start, mix(data.seed, self.epoch, number)

    def _start(self, video: int, random: np.random.Generator) -> int:
        """Where a stretch starts. As many numbers are drawn whatever they decide."""
        latest = max(0, int(self.data.lengths[video]) - self.data.stretch)
        focused, which, where = random.random(3)
        expressions = self.ends.get(video, [])
        if not expressions or focused >= self.data.focus:
            return int(where * (latest + 1))
        first, last = expressions[int(which * len(expressions))]
        low = max(0, first - self.data.stretch + 1)
        return min(latest, low + int(where * (last - low + 1)))
