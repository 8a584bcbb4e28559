"""A video of a drawn face, longer than its expressions: blinks, nods, light and noise go on all the time.

Coordinates of the drawing as in ``drawn_clip``: x to the right and y down, both -1..1 over the crop.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.data.drawn_clip import Clip, displacement, draw_clip, intensity
from mer.data.drawn_face import OVERSAMPLING, REFERENCE, Face, Image, axes, inside

FPS = 30.0
LEAD = 5  # frames at least before, between and after expressions
RISE, DURATION = (5, 8), (10, 15)  # frames from onset to apex, and of the whole expression
_ROWS = 16384  # OpenCV samples images of fewer than 32768 rows


@dataclass(frozen=True)
class Video:
    """What happens in one video. Frames are counted as in the file names."""

    first: int
    last: int
    expressions: tuple[Clip, ...]  # in order; of each its onset, apex, offset, peak and bumps count
    blinks: NDArray[np.float64]  # (n, 2): frame at which the eyes are shut, frames from open to shut
    nods: NDArray[np.float64]  # (n, 6): middle frame, frames held, frames of rise, shift x, y (px), rotation
    light: NDArray[np.float64]  # (2, 3): size, radians a frame, phase, of the gain and its slope to the right
    noise: float  # standard deviation in greys
    noise_seed: int


def draw_video(
    face: Face,
    labels: Sequence[str],
    seed: tuple[int, int, int],
    *,
    length: tuple[int, int],
    amplitude: tuple[float, float],
    stray: float,
    jitter: float,
    noise: float,
    blinks: float,
    nods: float,
    head: tuple[float, float],
    light: float,
) -> Video:
    """Draw what happens in one video; see ``write_synthetic_videos`` for the parameters.

    ``free`` draws what disturbs, ``timed`` when expressions come: so neither a label nor the time of an
    expression can shift what it must not decide.

    Args:
        face: the subject.
        labels: of its expressions, in order; empty for none. ``length`` is at least ``shortest`` of them.
    """
    free, timed = (np.random.default_rng((*seed, stream)) for stream in (11, 12))
    # Numbers of two and of three digits in every video, so that sorting names as text would be wrong.
    first, frames = int(free.integers(88, 95)), int(free.integers(length[0], length[1] + 1))
    last, seconds = first + frames - 1, frames / FPS

    def times(rate: float) -> NDArray[np.float64]:
        """The middles of events, one at least, ``rate`` a second on average."""
        count = 1 + int(free.poisson(max(rate * seconds - 1, 0)))
        return np.sort(free.uniform(first, last, count))

    shut, turned = times(blinks), times(nods)
    half = free.uniform(1.0, 2.0, len(shut))
    n = len(turned)
    size, angle = free.uniform(*head, n), free.uniform(0, 2 * np.pi, n)
    poses = [free.uniform(0, 4, n), free.uniform(1.5, 4, n), size * np.cos(angle), size * np.sin(angle)]
    # Less than a turn of a sine in a short video: size, radians a frame, phase.
    waves = np.array([(free.normal(0, light), free.uniform(0.02, 0.1), free.uniform(0, 6.28)) for _ in "gs"])
    spans = timed.integers(DURATION[0], DURATION[1] + 1, len(labels))
    rises = timed.integers(RISE[0], RISE[1] + 1, len(labels))
    spare = frames - int(spans.sum()) - LEAD * (len(labels) + 1)
    # What is left over goes before, between and after, each way of sharing it out equally probable.
    shares = np.sort(timed.integers(0, spare + 1, len(labels)))
    onsets = first + shares + LEAD * np.arange(1, len(labels) + 1) + np.cumsum(spans) - spans
    unused = {"noise": 0.0, "blink": 0.0, "head": 0.0, "light": 0.0}
    expressions = []
    for place, (label, onset, rise, span) in enumerate(zip(labels, onsets, rises, spans, strict=True)):
        own = (*seed[:2], 100 * seed[2] + place)
        drawn = draw_clip(face, label, own, amplitude=amplitude, stray=stray, jitter=jitter, **unused)
        expressions.append(
            dataclasses.replace(
                drawn,
                first=first,
                onset=int(onset),
                apex=int(onset + rise),
                offset=int(onset + span - 1),
                last=last,
                blink=None,
            )
        )
    return Video(
        first=first,
        last=last,
        expressions=tuple(expressions),
        blinks=np.stack([shut, half], axis=1),
        nods=np.stack([turned, *poses, free.normal(0, 0.01, n)], axis=1),
        light=waves,
        noise=noise,
        noise_seed=int(free.integers(2**31)),
    )


def shortest(expressions: int) -> int:
    """The frames of the shortest video in which this many expressions always fit."""
    return DURATION[1] * expressions + LEAD * (expressions + 1)


def pose(video: Video) -> NDArray[np.float64]:
    """(T, 3) shift x and y in pixels at size 112 and rotation of the head, at each frame."""
    middle, held, rise = (column[:, None] for column in video.nods[:, :3].T)
    away = np.abs(np.arange(video.first, video.last + 1) - middle)
    share = np.clip((held / 2 + rise - away) / rise, 0, 1)
    return np.asarray((share**2 * (3 - 2 * share)).T @ video.nods[:, 3:])


def lids(video: Video) -> NDArray[np.float64]:
    """(T,) how far the eyes are shut at each frame, 0..1."""
    shut, half = (column[:, None] for column in video.blinks.T)
    closed = 1.5 * (1 - np.abs(np.arange(video.first, video.last + 1) - shut) / half)
    return np.asarray(np.clip(closed, 0, 1).max(axis=0, initial=0.0))


def render_video(face: Face, video: Video, drawing: Image) -> NDArray[np.uint8]:
    """Render all frames of a video.

    Args:
        face: the subject.
        video: what happens.
        drawing: ``draw_face(face, size)``; drawn once for all videos of the subject.

    Returns:
        uint8 (T, size, size).
    """
    size = drawing.shape[1] // OVERSAMPLING
    source = _undo_head(video, size)
    for expression in video.expressions:
        part = slice(expression.onset - video.first, expression.offset - video.first + 1)
        gone = [intensity(expression, frame) for frame in range(expression.onset, expression.offset + 1)]
        share = np.array(gone, np.float32)[:, None, None, None]
        field = np.ascontiguousarray(np.moveaxis(displacement(expression, expression.apex, size), 0, -1))
        target = source[part]
        # As in ``drawn_clip.render``: b(q) = d(q - b(q)) inverts the expression.
        moved = target
        for _ in range(4):
            moved = target - share * _sample(field, moved)
        source[part] = moved
    # The drawings differ at the eyes only, so the lid may come down as a straight line.
    open_eyes, shut_eyes = np.moveaxis(
        _sample(np.ascontiguousarray(np.moveaxis(drawing, 0, -1)), (source + 0.5) * OVERSAMPLING - 0.5), -1, 0
    )
    closed = lids(video).astype(np.float32)
    lid = face["eye_y"] + 1.5 * face["eye_height"] * (2 * closed - 1)
    y = (source[..., 1] + 0.5) / size * 2 - 1
    covered = inside(lid[:, None, None] - y, 0.02) * (closed > 0)[:, None, None]
    image: Image = open_eyes + covered * (shut_eyes - open_eyes)
    frames = np.arange(video.first, video.last + 1)
    (size_of, turn, phase), x = video.light.T[..., None], axes(size)[0]
    gain, tilt = (size_of * np.sin(turn * frames + phase)).astype(np.float32)[:, :, None, None]
    image *= 1 + gain + tilt * x
    rng = np.random.default_rng(video.noise_seed)
    image += np.float32(video.noise) * rng.standard_normal(image.shape, np.float32)
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)


def _undo_head(video: Video, size: int) -> Image:
    """(T, size, size, 2) where in the straight pose each pixel of each frame lies, x before y."""
    shift_x, shift_y, turn = (column[:, None, None] for column in pose(video).astype(np.float32).T)
    x, y = (axis * np.float32(size / 2) for axis in axes(size))
    scale, middle = np.float32(size / REFERENCE), np.float32((size - 1) / 2)
    x, y = x - shift_x * scale, y - shift_y * scale
    return np.stack([np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x], -1) + middle


def _sample(image: Image, at: Image) -> Image:
    """(T, h, w, C) of ``image`` (H, W, C) at the pixel positions ``at`` (T, h, w, 2), many frames a call."""
    step = max(_ROWS // at.shape[1], 1)
    parts = [
        cv2.remap(
            image,
            at[start : start + step].reshape(-1, *at.shape[2:]),
            np.empty(0, np.float32),  # the positions are complete
            cv2.INTER_CUBIC,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for start in range(0, len(at), step)
    ]
    return np.concatenate(parts).reshape(*at.shape[:-1], image.shape[-1]).astype(np.float32, copy=False)
