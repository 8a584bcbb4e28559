"""The neutral face of a drawn subject: its looks, as numbers, and the picture of them.

Coordinates of the drawing: x to the right and y down, both -1..1 over the crop.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.floating[Any]]

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


def draw_subject(rng: np.random.Generator) -> Face:
    """Draw the looks of one subject."""
    return {name: float(rng.uniform(*limits)) for name, limits in LOOKS.items()}


def axes(pixels: int) -> tuple[Image, Image]:
    """Drawing coordinates of the pixel centres, as a row x (1, W) and a column y (H, 1)."""
    axis = ((np.arange(pixels, dtype=np.float32) + 0.5) / pixels * 2 - 1).astype(np.float32)
    return axis[None, :], axis[:, None]


def inside(signed: Image, softness: float = 0.012) -> Image:
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
    x, y = axes(n)
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
    paint(inside(1 - (x / (width + 0.14)) ** 2 - ((y + 0.22) / 0.98) ** 2, 0.06), face["hair"] + 9 * strands)
    paint(inside(0.42 - np.abs(x) + 0.2 * (y - 0.8), 0.03) * (y > 0.5), 0.68 * skin)
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
    shade -= max(face["stubble"], 0) * inside(y - 0.3 - 0.9 * np.clip(0.55 - np.abs(x), 0, 0.2), 0.2)
    spots = face["freckles"] * np.clip(grain - 0.9, 0, 2) * _blob(x, y, (0, 0.08), (0.45, 0.18))
    paint(inside(outline, 0.03), skin * shade + 3 * pores + 2 * grain - spots)
    fringe = face["hairline"] + 0.3 * np.abs(x / width) ** 3 + face["fringe"] * x + 0.012 * strands
    paint(inside(fringe - y, 0.05) * inside(outline + 0.3, 0.1), face["hair"] + 9 * strands)
    paint(0.75 * _blob(np.abs(x), y, (0.5 * nose_x, nose_y + 0.04), (0.032, 0.016)), 0.28 * skin)

    s = x / face["mouth_width"]
    lips = face["lips"] * np.clip(1 - s**2, 0, 1)
    line_y = mouth_y + 0.008 * np.cos(3 * np.pi * s) * (np.abs(s) < 1)
    bow = lips * (1 - 0.28 * np.exp(-((s / 0.16) ** 2)))
    mouth = inside(1.04 - np.abs(s), 0.1)
    for edge, grey in ((y - line_y + bow, 0.88), (line_y + 1.35 * lips - y, 1.0)):
        side = line_y - y if grey < 1 else y - line_y
        paint(0.85 * mouth * inside(np.minimum(edge, side)), grey * face["lip_shade"] * skin + 4 * grain)
    paint(0.8 * mouth * np.exp(-(((y - line_y) / 0.014) ** 2)), 0.3 * skin)

    s = (np.abs(x) - face["eye_x"] - 0.01) / (1.25 * face["eye_width"])  # -1 at the inner end, 1 at the outer
    ridge = eye_y - face["brow_gap"] - face["brow_arch"] * (1 - (s - 0.25) ** 2) + 0.02
    thick = face["brow_thickness"] * (1 - 0.55 * np.clip(s, -0.3, 1))
    brow = inside(thick - np.abs(y - ridge), 0.035) * inside(1 - np.abs(s), 0.2)
    paint(0.9 * brow, 0.8 * face["hair"] + 6 * grain)

    s = (np.abs(x) - face["eye_x"]) / face["eye_width"]
    middle = eye_y + face["eye_tilt"] * face["eye_width"] * s
    almond = face["eye_height"] * np.clip(1 - np.abs(s) ** 2.2, 0, 1)
    upper, lower = middle - almond, middle + 0.75 * almond
    corners = inside(1.06 - np.abs(s), 0.12)
    eye = corners * inside(np.minimum(y - upper, lower - y))
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
        paint(eye * inside(radius - np.hypot(centre + left, y - eye_y + up)), grey)
    paint(0.85 * corners * np.exp(-(((y - upper) / 0.017) ** 2)), 0.22 * skin)
    drawn = [cv2.GaussianBlur(image, (0, 0), 0.4 * OVERSAMPLING) for image in (canvas, shut)]
    return np.clip(drawn, 0, 255).astype(np.float32)
