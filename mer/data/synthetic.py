"""A drawn database: frames on disk in the shape of a real one, so that everything runs with no licensed data.

A subject is a drawn face. A clip moves it by a smooth field that is known (``displacement``), under
nuisances that say nothing about the class: blinks, head motion, light, sensor noise.
Coordinates of the drawing: x to the right and y down, both -1..1 over the crop.

How hard it is was decided from signal and noise, before any network was trained on it. ``amplitude`` is what
micro-expressions have in a crop this small: no point moves by more than 2 px. Classes overlap through
``stray``: the movements of the other classes happen too, weaker, and each of the class's own may be
weak. A blink is a strong movement at the eyes, and from onset to apex the head moves by about
a quarter of the smallest peak. A linear classifier on TV-L1 images, over three seeds, was all that was looked
at: it made too many mistakes at stray=.5, so stray became .35. On onset frames it stayed at chance.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from filelock import FileLock
from numpy.typing import NDArray

from mer.errors import MerError

Image = NDArray[np.floating[Any]]

LABELS = ("negative", "positive", "surprise")
FPS = 60.0
OVERSAMPLING = 3  # the face is drawn this much finer than a frame, so that resampling does not blur it
REFERENCE = 112  # px; amplitudes and head motion are given for a crop of this size

Face = dict[str, float]
LOOKS = {  # a face is one number of each range: lengths in drawing coordinates, greys in 0..255
    "width": (0.70, 0.82),
    "taper": (0.18, 0.36),
    "skin": (125, 205),
    "hair": (20, 150),
    "hairline": (-0.86, -0.70),
    "fringe": (-0.12, 0.12),
    "backdrop": (60, 215),
    "light": (-0.16, 0.16),
    "eye_x": (0.32, 0.38),
    "eye_y": (-0.24, -0.17),
    "eye_width": (0.155, 0.19),
    "eye_height": (0.060, 0.085),
    "eye_tilt": (-0.12, 0.06),
    "iris": (25, 90),
    "brow_gap": (0.17, 0.23),
    "brow_thickness": (0.022, 0.046),
    "brow_arch": (0.02, 0.07),
    "nose_y": (0.19, 0.26),
    "nose_width": (0.11, 0.16),
    "mouth_y": (0.50, 0.58),
    "mouth_width": (0.25, 0.33),
    "lips": (0.045, 0.075),
    "lip_shade": (0.66, 0.82),
    "freckles": (0, 26),
    "stubble": (-0.3, 0.28),
    "texture": (0, 2**31),
}


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


def draw_subject(rng: np.random.Generator) -> Face:
    """Draw the looks of one subject."""
    return {name: float(rng.uniform(*limits)) for name, limits in LOOKS.items()}


def _axes(pixels: int) -> tuple[Image, Image]:
    """Drawing coordinates of the pixel centres, as a row x (1, W) and a column y (H, 1)."""
    axis = ((np.arange(pixels, dtype=np.float32) + 0.5) / pixels * 2 - 1).astype(np.float32)
    return axis[None, :], axis[:, None]


def _inside(signed: Image, softness: float = 0.012) -> Image:
    """Coverage 0..1 of a shape: ``signed`` is positive inside, about the distance to its edge."""
    coverage: Image = np.clip(signed / softness * 0.5 + 0.5, 0, 1)
    return coverage


def _blob(x: Image, y: Image, at: tuple[float, float], radii: tuple[float, float]) -> Image:
    """A Gaussian of height 1 on the grid (H, W)."""
    column: Image = np.exp(-0.5 * ((y - at[1]) / radii[1]) ** 2)
    row: Image = np.exp(-0.5 * ((x - at[0]) / radii[0]) ** 2)
    return column * row


def draw_face(face: Face, size: int) -> Image:
    """Draw the neutral face with open and with shut eyes.

    Returns:
        float32 (2, n, n), n = OVERSAMPLING * size, greys 0..255, smoothed for sampling at ``size``.
    """
    n = OVERSAMPLING * size
    x, y = _axes(n)
    white = np.random.default_rng(int(face["texture"])).standard_normal((2, n, n), dtype=np.float32)
    textures = []
    for noise, across, along in ((white[0], 2.4, 2.4), (white[1], 0.9, 0.9), (white[0], 0.5, 5.0)):
        smooth = cv2.GaussianBlur(noise, (0, 0), sigmaX=across * n / REFERENCE, sigmaY=along * n / REFERENCE)
        textures.append(smooth / smooth.std())
    pores, grain, strands = textures
    skin, width, eye_y, mouth_y = face["skin"], face["width"], face["eye_y"], face["mouth_y"]
    nose_x, nose_y, line_y = face["nose_width"], face["nose_y"], np.zeros_like(x)
    canvas: Image = np.full((n, n), face["backdrop"], np.float32)

    def paint(coverage: Image, grey: Image | float) -> None:
        canvas[:] += coverage * (grey - canvas)

    # Hair, neck, and the skin: darker towards the outline, lit from one side, modelled by light and shade.
    paint(_inside(1 - (x / (width + 0.14)) ** 2 - ((y + 0.22) / 0.98) ** 2, 0.06), face["hair"] + 9 * strands)
    paint(_inside(0.42 - np.abs(x) + 0.2 * (y - 0.8), 0.03) * (y > 0.5), 0.68 * skin)
    half_width = width * (1 - face["taper"] * np.clip(y, 0, 1) ** 2)
    outline = 1 - (np.abs(x) / half_width) ** 2.4 - np.abs((y + 0.03) / 0.99) ** 2.6
    shade = 0.66 + 0.38 * np.sqrt(np.clip(outline, 0, 1)) + face["light"] * x
    for at, radii, gain in (
        ((0, -0.55), (0.40, 0.18), 0.05),
        ((0, -0.02), (0.045, 0.22), 0.10),
        ((0, nose_y - 0.04), (0.06, 0.06), 0.10),
        ((0, mouth_y + 0.20), (0.20, 0.045), -0.10),
        ((0, mouth_y + 0.32), (0.14, 0.08), 0.06),
        ((0.43, 0.16), (0.14, 0.12), 0.07),
        ((0.86 * face["eye_x"], eye_y), (0.17, 0.11), -0.16),
        ((0.8 * nose_x, 0.03), (0.045, 0.16), -0.11),
        ((nose_x + 0.01, nose_y + 0.015), (0.02, 0.045), -0.15),
    ):
        shade += gain * _blob(np.abs(x) if at[0] else x, y, at, radii)
    fold = np.abs(x) - nose_x - 0.05 - 0.55 * np.clip(y - nose_y, 0, 1)
    shade -= 0.1 * np.exp(-((fold / 0.03) ** 2)) * _blob(np.abs(x), y, (0.25, mouth_y - 0.16), (0.2, 0.1))
    shade -= max(face["stubble"], 0) * _inside(y - 0.3 - 0.9 * np.clip(0.55 - np.abs(x), 0, 0.2), 0.2)
    spots = face["freckles"] * np.clip(grain - 0.9, 0, 2) * _blob(x, y, (0, 0.08), (0.45, 0.18))
    paint(_inside(outline, 0.03), skin * shade + 3 * pores + 2 * grain - spots)
    fringe = face["hairline"] + 0.3 * np.abs(x / width) ** 3 + face["fringe"] * x + 0.012 * strands
    paint(_inside(fringe - y, 0.05) * _inside(outline + 0.3, 0.1), face["hair"] + 9 * strands)
    paint(0.75 * _blob(np.abs(x), y, (0.5 * nose_x, nose_y + 0.04), (0.032, 0.016)), 0.28 * skin)

    s = x / face["mouth_width"]
    lips = face["lips"] * np.clip(1 - s**2, 0, 1)
    line_y = mouth_y + 0.008 * np.cos(3 * np.pi * s) * (np.abs(s) < 1)
    bow = lips * (1 - 0.28 * np.exp(-((s / 0.16) ** 2)))
    mouth = _inside(1.04 - np.abs(s), 0.1)
    for edge, grey in ((y - line_y + bow, 0.88), (line_y + 1.35 * lips - y, 1.0)):
        side = line_y - y if grey < 1 else y - line_y
        paint(0.85 * mouth * _inside(np.minimum(edge, side)), grey * face["lip_shade"] * skin + 4 * grain)
    paint(0.8 * mouth * np.exp(-(((y - line_y) / 0.014) ** 2)), 0.3 * skin)

    s = (np.abs(x) - face["eye_x"] - 0.01) / (1.25 * face["eye_width"])  # -1 at the inner end, 1 at the outer
    ridge = eye_y - face["brow_gap"] - face["brow_arch"] * (1 - (s - 0.25) ** 2) + 0.02
    thick = face["brow_thickness"] * (1 - 0.55 * np.clip(s, -0.3, 1))
    brow = _inside(thick - np.abs(y - ridge), 0.035) * _inside(1 - np.abs(s), 0.2)
    paint(0.9 * brow, 0.8 * face["hair"] + 6 * grain)

    s = (np.abs(x) - face["eye_x"]) / face["eye_width"]
    middle = eye_y + face["eye_tilt"] * face["eye_width"] * s
    almond = face["eye_height"] * np.clip(1 - np.abs(s) ** 2.2, 0, 1)
    upper, lower = middle - almond, middle + 0.75 * almond
    corners = _inside(1.06 - np.abs(s), 0.12)
    eye = corners * _inside(np.minimum(y - upper, lower - y))
    shut = canvas.copy()
    shut += eye * (0.86 * skin + 2 * grain - shut)
    shut += 0.85 * corners * np.exp(-(((y - lower) / 0.017) ** 2)) * (0.22 * skin - shut)
    centre = np.abs(x) - face["eye_x"]
    paint(eye, 215 - 60 * np.clip(np.abs(s), 0, 1))
    for radius, grey, left, up in (
        (0.072, face["iris"], 0, 0.008),
        (0.034, 12, 0, 0.008),
        (0.014, 250, 0.025, 0.035),
    ):
        paint(eye * _inside(radius - np.hypot(centre + left, y - eye_y + up)), grey)
    paint(0.85 * corners * np.exp(-(((y - upper) / 0.017) ** 2)), 0.22 * skin)
    drawn = [cv2.GaussianBlur(image, (0, 0), 0.4 * OVERSAMPLING) for image in (canvas, shut)]
    return np.clip(drawn, 0, 255).astype(np.float32)


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
    x, y = _axes(size)
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
    x, y = (axis * size / 2 for axis in _axes(size))
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
    x, _ = _axes(size)
    _, y = _axes(OVERSAMPLING * size)
    at_apex = displacement(clip, clip.apex, size)
    frames = []
    for frame in range(clip.first, clip.last + 1):
        canvas = drawing[0]
        shut = 1.5 * (1 - abs(frame - clip.blink[0]) / clip.blink[1]) if clip.blink else 0.0
        if shut > 0:  # the drawings differ at the eyes only, so the lid may come down as a straight line
            lid = face["eye_y"] + 1.5 * face["eye_height"] * (2 * min(shut, 1) - 1)
            canvas = canvas + _inside(lid - y, 0.02) * (drawing[1] - canvas)
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


def write_synthetic(
    root: Path,
    *,
    subjects: int = 8,
    clips_per_class: int = 4,
    size: int = REFERENCE,
    seed: int = 0,
    amplitude: tuple[float, float] = (0.7, 2.0),
    stray: float = 0.35,
    jitter: float = 0.04,
    noise: float = 2.0,
    blink: float = 0.3,
    head: float = 0.2,
    light: float = 0.02,
) -> None:
    """Write the database as ``<root>/<subject>/<clip>/img<frame>.png``, ``clips.csv`` and ``synthetic.json``.

    The same arguments give the same bytes, and a subject does not depend on how many there are. A tree
    that is already there under the same arguments is left alone; an unfinished one, or one of other
    arguments, is replaced.

    Args:
        root: The folder to write.
        subjects: Number of subjects.
        clips_per_class: Clips of each label, of every subject.
        size: Side of the square frames in pixels.
        seed: Of everything random.
        amplitude: Range of the longest displacement at the apex, in pixels at size 112; 2 at most.
        stray: How strong another class's movements get, where the class's own have weight 0.3..1.
        jitter: Standard deviation of the movements' centres, in half crops; their directions turn by
            four times it, in radians.
        noise: Standard deviation of the sensor noise, in greys.
        blink: Probability that a clip holds a blink.
        head: Standard deviation of the size of the head's shift, in pixels at size 112.
        light: Standard deviation of the size of the drift of the light, as a part of it.

    Raises:
        MerError: A parameter is out of range, or ``root`` holds something that this function did not write.
    """
    parameters = {key: value for key, value in locals().items() if key != "root"}
    if min(subjects, clips_per_class) < 1 or size < 16 or not 0 < amplitude[0] <= amplitude[1] <= 2:
        raise MerError(
            f"synthetic: bad parameters {parameters}: subjects and clips_per_class start at 1, size at 16, "
            "and amplitude is two rising numbers in (0, 2]"
        )
    text = json.dumps({"format": 1, **parameters}, indent=1)
    root = Path(root).expanduser().absolute()
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.with_name(f".{root.name}.lock")):  # folds in several processes write it once
        mark = root / "synthetic.json"
        if mark.is_file() and mark.read_text() == text:
            return
        _refuse_foreign(root)
        new = root.with_name(f".{root.name}.writing")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        motion = {
            k: parameters[k] for k in ("amplitude", "stray", "jitter", "noise", "blink", "head", "light")
        }
        rows = [
            row
            for subject in range(subjects)
            for row in _write_subject(new, subject, clips_per_class, size, seed, motion)
        ]
        pd.DataFrame(rows).to_csv(new / "clips.csv", index=False)
        (new / "synthetic.json").write_text(text)
        shutil.rmtree(root, ignore_errors=True)
        new.rename(root)


def _refuse_foreign(root: Path) -> None:
    """Raise when replacing ``root`` would delete something that ``write_synthetic`` did not write."""
    if not root.exists():
        return
    if not root.is_dir():
        raise MerError(f"{root} is a file: give the synthetic database another folder")
    for entry in root.iterdir():
        if entry.name in ("clips.csv", "synthetic.json"):
            continue
        if not (entry.is_dir() and entry.name[0] == "s" and entry.name[1:].isdigit()):
            raise MerError(
                f"{root} holds {entry.name}, which is not of the synthetic database: give it another folder"
            )


def _write_subject(
    root: Path, subject: int, clips_per_class: int, size: int, seed: int, motion: dict[str, Any]
) -> list[dict[str, object]]:
    """Write the frames of one subject and return its rows of clips.csv."""
    looks, order = (np.random.default_rng((seed, subject, 0, stream)) for stream in (1, 2))
    face = draw_subject(looks)
    drawing = draw_face(face, size)
    rows: list[dict[str, object]] = []
    # Shuffled, so that the name of a clip does not tell its label.
    for number, label in enumerate(order.permutation(np.repeat(LABELS, clips_per_class)), start=1):
        clip = draw_clip(face, str(label), (seed, subject, number), **motion)
        folder = root / f"s{subject + 1:02d}" / f"c{number:02d}"
        folder.mkdir(parents=True)
        for frame, image in enumerate(render(face, clip, drawing), start=clip.first):
            path = folder / f"img{frame}.png"
            if not cv2.imwrite(str(path), image, [cv2.IMWRITE_PNG_COMPRESSION, 1]):
                raise MerError(f"{path} could not be written: is the disk full?")
        frames = {"onset": clip.onset, "apex": clip.apex, "offset": clip.offset}
        rows.append(
            {"subject": folder.parent.name, "clip": folder.name, "label": clip.label, **frames, "fps": FPS}
        )
    return rows


def read_clips(root: Path) -> pd.DataFrame:
    """Read the clip table of a database that ``write_synthetic`` wrote.

    Returns:
        Columns database ("synthetic"), subject, clip, label (str), onset, apex, offset (Int64: numbers in
        the file names), fps (float), frames (str: absolute path of the clip's folder), sorted by the
        first three.

    Raises:
        MerError: ``root`` or its clips.csv is missing.
    """
    root = Path(root).expanduser().absolute()
    path = root / "clips.csv"
    if not path.is_file():
        raise MerError(f"{path} is missing: write the synthetic database with write_synthetic({str(root)!r})")
    kinds = dict.fromkeys(("subject", "clip", "label"), "str") | dict.fromkeys(
        ("onset", "apex", "offset"), "Int64"
    )
    table = pd.read_csv(path, dtype={**kinds, "fps": "float64"})
    table.insert(0, "database", "synthetic")
    table["frames"] = [str(root / s / c) for s, c in zip(table["subject"], table["clip"], strict=True)]
    return table.sort_values(["database", "subject", "clip"], ignore_index=True)
