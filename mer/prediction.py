"""What the networks of a model say of an encoded clip: probabilities, or a curve and its intervals."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.data.intensity import STATES, states
from mer.errors import MerError
from mer.prediction_input import Encoded, Model, Options, Source, frames_read
from mer.spotting_scores import spotted, usual_options
from mer.tasks.spotting import score_videos
from mer.video_engine import recognise, surroundings


class Interval(NamedTuple):
    """A spotted expression: frame numbers, both included, and probabilities (num_classes,)."""

    onset: int
    peak: int
    offset: int
    intensity: float
    probabilities: NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What is said of a clip.

    Attributes:
        encoded: what it rests on.
        each: (folds, num_classes), of each fold; their mean is the prediction. Of a clip that is spotted
            frame by frame, of all its frames, weighted by their intensity.
        curve: (T,) intensity of each frame, mean over the folds; None where a clip has one class.
        of_frames: (T, num_classes) likewise.
        intervals: that were spotted; None where a clip has one class.
    """

    encoded: Encoded
    each: NDArray[np.float64]
    curve: NDArray[np.float64] | None = None
    of_frames: NDArray[np.float64] | None = None
    intervals: list[Interval] | None = None

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(num_classes,) mean over the folds."""
        mean: NDArray[np.float64] = self.each.mean(axis=0)
        return mean

    @property
    def spread(self) -> NDArray[np.float64]:
        """(num_classes,) standard deviation over the folds."""
        deviation: NDArray[np.float64] = self.each.std(axis=0)
        return deviation

    @property
    def leading(self) -> Interval | None:
        """The interval of the highest peak."""
        return max(self.intervals or [], key=lambda found: found.intensity, default=None)

    @property
    def winner(self) -> int | None:
        """Index of the emotion: of the leading interval where the clip is spotted; None where none was."""
        if self.intervals is None:
            return int(self.probabilities.argmax())
        return None if self.leading is None else int(self.leading.probabilities.argmax())

    @property
    def states(self) -> list[str]:
        """The state of each frame, from the curve."""
        return [] if self.curve is None else [STATES[k] for k in states(self.curve)]


@torch.inference_mode()
def predict_clip(encoded: Encoded, model: Model, options: Options) -> Prediction:
    """Run the networks of all folds on a clip.

    Raises:
        MerError: a network that does not take the image, or whose probabilities are not finite.
    """
    if model.about.task == "spotting":
        return _spot(encoded, model, options)
    images = encoded.images.to(model.device).float()
    if getattr(model.encoding, "gives", "image") == "sequence":
        images = images[None]
    try:
        each = [found.network(images).softmax(dim=1)[0] for found in model.checkpoints]
    except RuntimeError as error:
        raise MerError(
            f"{encoded.source.path}: the network does not take this image of "
            f"{tuple(images.shape[1:])}: {str(error).splitlines()[0]}"
        ) from error
    return Prediction(encoded, _finite(torch.stack(each), encoded.source))


def _spot(encoded: Encoded, model: Model, options: Options) -> Prediction:
    numbers = np.array(frames_read(encoded), np.int64)
    lengths = torch.tensor([len(numbers)])
    curves = [
        score_videos(found.network, encoded.images, torch.tensor([0]), lengths, window=found.about.window)
        for found in model.checkpoints
    ]
    intensity = _finite(torch.stack([curve.intensity[0] for curve in curves]), encoded.source)
    of_frames = _finite(torch.stack([curve.probabilities[0] for curve in curves]), encoded.source)
    each = np.stack(
        [
            recognise(curve, torch.from_numpy(rows)).numpy()
            for curve, rows in zip(intensity, of_frames, strict=True)
        ]
    )
    curve, rows = intensity.mean(axis=0), of_frames.mean(axis=0)
    fps = encoded.row["fps"]
    scored = pd.DataFrame(
        {
            **dict.fromkeys(("database", "subject", "video"), "clip"),
            "frame": numbers,
            "fps": math.nan if pd.isna(fps) else float(fps),
            "inside": False,
            "score": curve,
        }
    )
    rule = usual_options(scored, threshold=options.threshold)
    found = spotted(scored, rule)[["onset", "offset"]].to_numpy(np.int64)
    intervals = []
    for (onset, offset), (first, last) in zip(found, surroundings(*found.T), strict=True):
        near, within = (numbers >= first) & (numbers <= last), (numbers >= onset) & (numbers <= offset)
        peak = np.flatnonzero(within)[curve[within].argmax()]
        probabilities = recognise(curve[near], torch.from_numpy(rows[near])).numpy()
        intervals.append(
            Interval(int(onset), int(numbers[peak]), int(offset), float(curve[peak]), probabilities)
        )
    return Prediction(encoded, each, curve, rows, intervals)


def _finite(probabilities: Tensor, source: Source) -> NDArray[np.float64]:
    if not probabilities.isfinite().all():
        raise MerError(f"{source.path}: the network gives no finite numbers; train it again")
    return probabilities.double().cpu().numpy()
