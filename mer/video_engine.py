"""Trains and tests one fold of videos: a score for each frame, and a class for each expression."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.data.encoded import EncodedSet
from mer.data.module import fold_seed, inverse_frequencies
from mer.data.sequences import NONE, FrameTruth, VideoData, VideoLabels, frame_truth
from mer.data.splits import Split
from mer.encodings.frames_and_flow import CHANNELS
from mer.errors import MerError
from mer.feature_difference import FeatureDifference
from mer.fold import load_start
from mer.job import Job, Recipe, Trained
from mer.tasks.epoch_log import EpochLog
from mer.tasks.spotting import Spotting, score_videos
from mer.trainer import make_trainer, quiet_lightning, train

TOGETHER = 8  # videos that are scored at a time: memory is that of their windows


def fit_videos(job: Job, labels: VideoLabels, split: Split, encoded: EncodedSet) -> Trained:
    """Train and test one fold of videos; a method without training is tested only."""
    recipe = job.recipe
    assert encoded.lengths is not None  # `check_videos`
    truth = frame_truth(labels)
    pl.seed_everything(fold_seed(recipe.seed, split.fold), verbose=False)
    network = recipe.network(in_channels=encoded.images.shape[1], num_classes=len(job.classes))
    if isinstance(network, FeatureDifference):
        fps = job.clips["fps"].astype("float64")
        videos = torch.split(encoded.images, encoded.lengths.tolist())
        scores = [network.score(videos[row], float(fps.iloc[row])) for row in split.test]
        spotted = _frames(job, labels, truth, split, scores, epoch=1), _expressions(job, labels, split)
        return Trained(_predictions(job, labels, [], None, split, 1), pd.DataFrame(), None, spotted)
    weights = class_weights(labels, split, len(job.classes)) if recipe.class_weights == "balanced" else None
    task = recipe.task(network, optimizer=recipe.optimizer, scheduler=recipe.scheduler, class_weights=weights)
    assert isinstance(task, Spotting)
    load_start(job, split, task.network)
    data = _video_data(recipe, task, job.clips, truth, split, encoded)
    log = EpochLog()
    with quiet_lightning():
        train(make_trainer(recipe.epochs, log), task, data)
    task.eval()
    found: dict[int, tuple[NDArray[np.float32], Tensor]] = {}
    # Of about one length, so that none waits for a long one.
    tested = torch.tensor(split.test)
    for together in torch.split(tested[torch.argsort(encoded.lengths[tested], stable=True)], TOGETHER):
        lengths, firsts = encoded.lengths[together], data.firsts[together]
        curves = score_videos(task.network, encoded.images, firsts, lengths, window=task.window)
        for k, (row, length) in enumerate(zip(together.tolist(), lengths.tolist(), strict=True)):
            found[row] = curves.intensity[k, :length].numpy(), curves.probabilities[k, :length]
    scores, probabilities = [found[row][0] for row in split.test], [found[row][1] for row in split.test]
    spotted = (
        _frames(job, labels, truth, split, scores, epoch=recipe.epochs),
        _expressions(job, labels, split),
    )
    rows, classified = _classify(labels, split, scores, probabilities)
    predictions = _predictions(job, labels, rows, classified, split, recipe.epochs)
    return Trained(predictions, log.table(), task.network, spotted)


def check_spotting(recipe: Recipe) -> None:
    """Raise MerError for options that no data could mend, before videos are encoded: that takes hours."""
    task, options = getattr(recipe.task, "func", recipe.task), getattr(recipe.task, "keywords", {})
    if not (isinstance(task, type) and issubclass(task, Spotting)):
        return
    if recipe.store != "last":
        raise MerError(f"store={recipe.store}: frames are scored after the last epoch only; use store=last")
    if recipe.order != "shuffled":
        raise MerError(f"order={recipe.order}: stretches of videos are drawn at random; use order=shuffled")
    pretrain_epochs = options.get("pretrain_epochs", 0)
    if isinstance(pretrain_epochs, int) and 0 < pretrain_epochs >= recipe.epochs:
        raise MerError(
            f"task.pretrain_epochs={pretrain_epochs} of epochs={recipe.epochs}: no epoch is left that "
            "trains the memory and the heads; give more epochs"
        )


def check_videos(
    recipe: Recipe,
    method: Spotting | FeatureDifference,
    videos: pd.DataFrame,
    labels: VideoLabels,
    splits: Sequence[Split],
    encoded: EncodedSet,
) -> None:
    """Raise MerError for what no fold could train or score, and for options that would have no effect."""
    if encoded.lengths is None:
        raise MerError("task=spotting reads sequences; choose an encoding such as frames_and_flow")
    counted = [len(numbers) for numbers in labels.numbers]
    if encoded.lengths.tolist() != counted:
        raise MerError(f"{encoded.folder}: frames came or went while they were read; run again")
    if any(split.validation for split in splits):
        raise MerError("protocol.validation: spotting validates on no videos; use protocol.validation=0")
    truth = frame_truth(labels)
    if not truth.inside.any() or truth.inside.all():
        which = "lies outside of" if truth.inside.any() else "lies in"
        raise MerError(
            f"no frame {which} an expression, so that there is nothing to spot; give whole recordings "
            "(data=casme2_recordings, or data.clips.frames=original)"
        )
    if isinstance(method, FeatureDifference):
        _check_untrained(recipe, videos)
        return
    if encoded.images.shape[1] == CHANNELS and not getattr(recipe.augment, "flow", True):
        raise MerError("augment: its motion leaves the flow's vectors as they are; use augment=affine_flow")
    _video_data(recipe, method, videos, truth, splits[0], encoded)  # its options are the same in each fold
    intensities = torch.split(truth.intensity, counted)
    for split in splits:
        if not any((intensities[row] > 0).any() for row in split.train):
            raise MerError(
                f"fold {split.fold}: no training video has an expression with an apex, so that its intensity "
                "is nowhere known; give apexes in the annotation, or apex=spot_missing"
            )


def _video_data(
    recipe: Recipe, task: Spotting, videos: pd.DataFrame, truth: FrameTruth, split: Split, encoded: EncodedSet
) -> VideoData:
    return VideoData(
        videos=videos,
        truth=truth,
        split=split,
        encoded=encoded,
        batch_size=recipe.batch_size,
        stretch=task.stretch,
        draws=task.draws,
        focus=task.focus,
        seed=recipe.seed,
        augment=recipe.augment,
    )


def _check_untrained(recipe: Recipe, videos: pd.DataFrame) -> None:
    """The same for a method that trains nothing."""
    given = {
        "init": recipe.init is not None,
        "save_checkpoint": recipe.save_checkpoint,
        "augment": recipe.augment is not None,
        "class_weights": recipe.class_weights != "none",
    }
    if ignored := [name for name, there in given.items() if there]:
        raise MerError(f"{ignored[0]}: feature differences are not trained; leave it out")
    if (unknown := videos["fps"].isna()).any():
        row = videos[unknown].iloc[0]
        raise MerError(
            f"{row['frames']}: the fps of this video is not known, which feature differences need; "
            "give it (data.clips.fps=30 where the data has that key)"
        )


def class_weights(labels: VideoLabels, split: Split, num_classes: int) -> Tensor:
    """(num_classes,) inverse frequency of the training expressions, mean 1 over them; 0 where absent."""
    held = set(split.train)
    videos = labels.expressions["video"]
    targets = [target for video, target in zip(videos, labels.targets, strict=True) if video in held]
    return inverse_frequencies(
        torch.tensor([k for k in targets if k != NONE], dtype=torch.int64), num_classes
    )


def recognise(intensity: NDArray[np.floating], probabilities: Tensor) -> Tensor:
    """(num_classes,) the class of an expression: its frames' softmax, weighted by their intensity (ours).

    Args:
        intensity: (T,) predicted, 0..1.
        probabilities: (T, num_classes), rows of sum 1.

    Where no frame has any intensity, all weigh the same.
    """
    weights = torch.from_numpy(np.asarray(intensity, np.float64))
    weights = weights / weights.sum() if weights.sum() > 0 else torch.full_like(weights, 1 / len(weights))
    return weights @ probabilities.double()


def surroundings(onsets: NDArray[np.int64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """(E, 2) where the frames that tell each of a video's expressions begin and end.

    Halfway to its neighbours, so that one expression has the whole video; of those that overlap, each has at
    least its own.

    Args:
        onsets: (E,) frame numbers, not decreasing.
        offsets: (E,) frame numbers.
    """
    middle = (np.maximum.accumulate(offsets)[:-1] + onsets[1:]) / 2
    first, last = np.append(-np.inf, middle), np.append(middle, np.inf)
    return np.stack([np.minimum(first, onsets), np.maximum(last, offsets)], axis=1)


def _classify(
    labels: VideoLabels, split: Split, scores: list[NDArray[np.float32]], probabilities: list[Tensor]
) -> tuple[list[int], Tensor]:
    """Rows of the tested expressions that have a class, and (rows, num_classes) their probabilities."""
    rows: list[int] = []
    found = []
    for position, video in enumerate(split.test):
        held = labels.expressions[labels.expressions["video"] == video]
        ends = surroundings(held["onset"].to_numpy(np.int64), held["offset"].to_numpy(np.int64))
        numbers = labels.numbers[video]
        for row, (first, last) in zip(held.index, ends, strict=True):
            near = (numbers >= first) & (numbers <= last)
            if labels.targets[row] != NONE:
                rows.append(row)
                curve = scores[position][near]
                found.append(recognise(curve, probabilities[position][torch.from_numpy(near)]))
    return rows, torch.stack(found) if found else torch.zeros(0, 0)


def _predictions(
    job: Job, labels: VideoLabels, rows: list[int], probabilities: Tensor | None, split: Split, epoch: int
) -> pd.DataFrame:
    """predictions.parquet: a row an expression, its clip's; none where nothing is classified."""
    predictions = labels.expressions.loc[rows, ["database", "subject", "clip"]].reset_index(drop=True)
    predictions["fold"] = split.fold
    predictions["seed"] = job.recipe.seed
    predictions["epoch"] = epoch
    predictions["label"] = [job.classes[labels.targets[row]] for row in rows]
    for k, name in enumerate(job.classes):
        predictions[f"p_{name}"] = [] if probabilities is None or not rows else probabilities[:, k].numpy()
    return predictions.astype({"label": str} | {f"p_{name}": np.float32 for name in job.classes})


def _frames(
    job: Job,
    labels: VideoLabels,
    truth: FrameTruth,
    split: Split,
    scores: list[NDArray[np.float32]],
    *,
    epoch: int,
) -> pd.DataFrame:
    """frames.parquet: a row a frame of the tested videos."""
    counted = [len(numbers) for numbers in labels.numbers]
    inside, intensity = (torch.split(known, counted) for known in (truth.inside, truth.intensity))
    parts = []
    for row, score in zip(split.test, scores, strict=True):
        video = job.clips.loc[row]
        parts.append(
            pd.DataFrame(
                {
                    "database": video["database"],
                    "subject": video["subject"],
                    "video": video["clip"],
                    "frame": labels.numbers[row],
                    "fps": float("nan") if pd.isna(video["fps"]) else float(video["fps"]),
                    "inside": inside[row].numpy(),
                    "intensity": intensity[row].numpy(),
                    "score": score,
                }
            )
        )
    frames = pd.concat(parts, ignore_index=True)
    return frames.assign(fold=split.fold, seed=job.recipe.seed, epoch=epoch)


def _expressions(job: Job, labels: VideoLabels, split: Split) -> pd.DataFrame:
    """expressions.parquet: a row a true expression of the tested videos."""
    held = labels.expressions[labels.expressions["video"].isin(split.test)]
    return held.assign(video=held["video"].map(job.clips["clip"])).reset_index(drop=True)
