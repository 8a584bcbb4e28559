"""A clip of a drawn face: an expression, a known field (``displacement``), and what disturbs it.

Coordinates of the drawing: x to the right and y down, both -1..1 over the crop.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mer.data.drawn_face import OVERSAMPLING, REFERENCE, Face, Image, axes, inside

LABELS = ("negative", "positive", "surprise")


@dataclass(frozen=True)
class Clip:
    """What happens in one clip. Frames are counted as in the file names; lengths as in ``displacement``."""

    label: str
    first: int
    onset: int
    apex: int
    offset: int
    last: int
    peak: float  # px at REFERENCE
    bumps: NDArray[np.float64]  # (n, 5): centre x, centre y, radius, direction x, direction y
    blink: tuple[float, float] | None  # frame at which the eyes are shut, frames from open to shut
    head: NDArray[np.float64]  # (3, 3): size, radians a frame, phase of: shift x (px), shift y (px), rotation
    light: NDArray[np.float64]  # (2, 3): the same of the gain and of its slope from left to right
    noise: float  # standard deviation in greys
    noise_seed: int


def _movements(face: Face) -> list[tuple[str, list[tuple[float, ...]]]]:
    """The movements of each class: bumps that act together, as in ``Clip.bumps``."""
    mouth_x, mouth_y, eye_x, eye_y = (face[key] for key in ("mouth_width", "mouth_y", "eye_x", "eye_y"))
    brow_y, lid_y = eye_y - face["brow_gap"], eye_y - face["eye_height"]

    def pair(x: float, y: float, r: float, dx: float, dy: float) -> list[tuple[float, ...]]:
        return [(-x, y, r, -dx, dy), (x, y, r, dx, dy)]

    return [
        ("positive", pair(mouth_x, mouth_y, 0.15, 0.6, -0.8)),  # lip corners
        ("positive", pair(0.42, 0.20, 0.16, 0.1, -0.6)),  # cheeks
        ("negative", pair(0.6 * eye_x, brow_y, 0.15, -0.4, 0.9)),  # inner brows
        ("negative", pair(mouth_x, mouth_y + 0.02, 0.14, 0.2, 0.8)),
        ("surprise", pair(eye_x, brow_y, 0.17, 0.0, -1.0)),
        ("surprise", pair(eye_x, lid_y, 0.09, 0.0, -0.5)),
        ("surprise", [(0.0, mouth_y + 0.14, 0.22, 0.0, 0.9)]),  # jaw and lower lip
    ]


def draw_clip(
    face: Face,
    label: str,
    seed: tuple[int, int, int],
    *,
    amplitude: tuple[float, float],
    stray: float,
    jitter: float,
    noise: float,
    blink: float,
    head: float,
    light: float,
) -> Clip:
    """Draw what happens in one clip; see ``write_synthetic`` for the parameters.

    ``moved`` draws the expression, ``free`` all else: so the class cannot shift what it must not decide.
    """
    free, moved = (np.random.default_rng((*seed, stream)) for stream in (1, 2))
    # Numbers of two and of three digits in every clip, so that sorting names as text would be wrong.
    steps = free.integers([88, 1, 6, 5, 0], [95, 4, 10, 9, 3])
    first, onset, apex, offset, last = (int(number) for number in np.cumsum(steps))
    shut = float(free.uniform(first, last)), float(free.uniform(1.5, 3.0))
    # A turn of a sine in a clip at most: size, radians a frame, phase.
    waves = np.array([(free.normal(), free.uniform(0.1, 0.3), free.uniform(0, 6.28)) for _ in range(5)])
    waves[:, 0] *= [head, head, 0.004 * head, light, light]
    blinks, noise_seed = bool(free.random() < blink), int(free.integers(2**31))

    bumps = []
    for kind, group in _movements(face):
        weight = moved.uniform(0.3, 1.0) if kind == label else moved.uniform(0.0, stray)
        for x, y, r, dx, dy in group:
            side = weight * moved.uniform(0.6, 1.0)  # no face moves symmetrically
            direction = side * complex(dx, dy) * np.exp(1j * moved.normal(0, 4 * jitter))
            cx, cy = moved.normal((x, y), jitter)
            bumps.append((cx, cy, r * moved.uniform(0.85, 1.2), direction.real, direction.imag))
    return Clip(
        *(label, first, onset, apex, offset, last),
        peak=float(moved.uniform(*amplitude)),
        bumps=np.array(bumps),
        blink=shut if blinks else None,
        head=waves[:3],
        light=waves[3:],
        noise=noise,
        noise_seed=noise_seed,
    )


def intensity(clip: Clip, frame: float) -> float:
    """How far the expression has gone, 0..1: 0 up to onset, 1 at the apex, 0 from offset on, smoothly."""
    t = float(np.interp(frame, [clip.onset, clip.apex, clip.offset], [0.0, 1.0, 0.0]))
    return t * t * (3 - 2 * t)


def displacement(clip: Clip, frame: float, size: int = REFERENCE) -> Image:
    """The expression's motion from the neutral face to ``frame``, without the head's.

    Returns:
        float32 (2, size, size), u to the right and v down in pixels, at the neutral face's pixels: what an
        optical flow from onset to ``frame`` should find. Its longest vector at the apex is ``clip.peak``
        pixels at size 112, and in proportion at another.
    """
    x, y = axes(size)
    cx, cy, r, dx, dy = (column[:, None] for column in clip.bumps.T)
    rows, columns = np.exp(-0.5 * ((y[:, 0] - cy) / r) ** 2), np.exp(-0.5 * ((x[0] - cx) / r) ** 2)
    field = np.stack([(rows * d).T @ columns for d in (dx, dy)])
    longest = np.hypot(*field).max()
    scale = intensity(clip, frame) * clip.peak * size / REFERENCE / longest
    return np.asarray(scale * field, np.float32)


def head_motion(clip: Clip, frame: float, size: int = REFERENCE) -> Image:
    """The head's motion from the straight pose to ``frame``: a shift and a rotation about the centre.

    Returns:
        float32 (2, size, size), u, v in pixels; between two frames the head moves by the difference of two.
    """
    shift_x, shift_y, turn = clip.head[:, 0] * np.sin(clip.head[:, 1] * frame + clip.head[:, 2])
    x, y = (axis * size / 2 for axis in axes(size))
    u = np.cos(turn) * x - np.sin(turn) * y - x + shift_x * size / REFERENCE
    v = np.sin(turn) * x + np.cos(turn) * y - y + shift_y * size / REFERENCE
    return np.stack([u, v]).astype(np.float32)


def render(face: Face, clip: Clip, drawing: Image) -> NDArray[np.uint8]:
    """Render all frames of a clip, from ``first`` to ``last``.

    Args:
        face: The subject.
        clip: What happens.
        drawing: ``draw_face(face, size)``; drawn once for all clips of the subject.

    Returns:
        uint8 (T, size, size).
    """
    size = drawing.shape[1] // OVERSAMPLING
    rng = np.random.default_rng(clip.noise_seed)
    grid = np.stack(np.meshgrid(*[np.arange(size, dtype=np.float32)] * 2))
    x, _ = axes(size)
    _, y = axes(OVERSAMPLING * size)
    at_apex = displacement(clip, clip.apex, size)
    frames = []
    for frame in range(clip.first, clip.last + 1):
        canvas = drawing[0]
        shut = 1.5 * (1 - abs(frame - clip.blink[0]) / clip.blink[1]) if clip.blink else 0.0
        if shut > 0:  # the drawings differ at the eyes only, so the lid may come down as a straight line
            lid = face["eye_y"] + 1.5 * face["eye_height"] * (2 * min(shut, 1) - 1)
            canvas = canvas + inside(lid - y, 0.02) * (drawing[1] - canvas)
        # Sampling goes backwards, from the frame's pixels to the drawing's: undo the head, then the
        # expression. b(q) = d(q - b(q)) inverts the expression; it contracts, since the field is smooth.
        target = grid - head_motion(clip, frame, size)
        field = np.moveaxis(intensity(clip, frame) * at_apex, 0, -1)
        source = target
        for _ in range(4):
            source = target - np.moveaxis(_sample(field, source), -1, 0)
        image = _sample(canvas, (source + 0.5) * OVERSAMPLING - 0.5)
        gain, tilt = clip.light[:, 0] * np.sin(clip.light[:, 1] * frame + clip.light[:, 2])
        image = image * (1 + gain + tilt * x) + clip.noise * rng.standard_normal((size, size), np.float32)
        frames.append(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    return np.stack(frames)


def _sample(image: Image, at: Image) -> Image:
    """Read ``image`` (H, W) or (H, W, C) at the pixel positions ``at`` (2: x, y, h, w)."""
    return cv2.remap(image, at[0], at[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
