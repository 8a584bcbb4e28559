"""``mer bench encode``: clips a second of each encoding, and sums of frames against two NumPy references.

Ours and the references are given the same frames, and interleaved; medians are taken. The sums are
compared as sums, before resizing and scaling: ours on all cores, NumPy as it is, on one. The encodings
are timed whole, on frames that are already in memory; decoding is timed apart.
"""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer.bench.numpy_sums import accumulated, all_pairs
from mer.bench.turns import in_turn as in_turn
from mer.data.frames import read_clip
from mer.encodings import (
    ActiveImage,
    AffectiveMotionImage,
    ApexFlow,
    DynamicImage,
    FrameSequence,
    StillFrame,
)
from mer.encodings.active_image import active_image, active_image_weights
from mer.encodings.affective_motion_image import affective_motion_image, affective_motion_weights
from mer.encodings.dynamic_image import dynamic_image, dynamic_image_weights

# A clip of CASME II: 67 frames of 640x480 pixels.
CLIPS, FRAMES, HEIGHT, WIDTH = 4, 67, 480, 640
REPETITIONS = 5
SUMS: dict[str, tuple[Callable[..., Tensor], Callable[[Tensor, int], Tensor]]] = {
    "active_image": (active_image, active_image_weights),
    "affective_motion_image": (affective_motion_image, affective_motion_weights),
    "dynamic_image": (dynamic_image, dynamic_image_weights),
}
# At the sizes of conf/encoding.
ENCODINGS: dict[str, nn.Module] = {
    "active_image": ActiveImage(size=128),
    "affective_motion_image": AffectiveMotionImage(size=112),
    "dynamic_image": DynamicImage(size=112),
    "frame_sequence": FrameSequence(size=64),
    "still_frame": StillFrame(size=28),
    "apex_flow": ApexFlow(size=28),
}


def measure() -> dict[str, Any]:
    """Figures of sums, encodings and decoding; ``ratio`` is the active image's, all pairs to ours."""
    torch.set_num_threads(os.cpu_count() or 1)
    clips = torch.from_numpy(np.stack([_draw_clip(seed) for seed in range(CLIPS)]))
    sums = {name: _compare(name, clips) for name in SUMS}
    active = sums["active_image"]
    return {
        "ratio": round(active["all_pairs_s"] / active["ours_s"], 2),
        "ratio_accumulating": round(active["accumulating_s"] / active["ours_s"], 2),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "clip": f"{FRAMES} frames of {WIDTH}x{HEIGHT}",
        "sums": sums,
        **_encode(clips),
        **_decode(clips[0]),
    }


def _compare(name: str, clips: Tensor) -> dict[str, float]:
    """Seconds a clip of one encoding's sum: ours and the references, in turn."""
    encode, weigh = SUMS[name]
    lengths = torch.full((CLIPS,), FRAMES)
    frames, weights = clips[0].numpy(), weigh(lengths[:1], FRAMES)[0].numpy()
    turns: dict[str, Callable[[], object]] = {
        "ours_s": partial(encode, clips, lengths, scale="none"),
        "accumulating_s": partial(accumulated, frames, weights),
    }
    if name == "active_image":
        turns["all_pairs_s"] = partial(all_pairs, frames)
    seconds = in_turn(turns, REPETITIONS)
    seconds["ours_s"] /= CLIPS
    print(f"{name}: " + ", ".join(f"{turn} {value:.4f}" for turn, value in seconds.items()) + " a clip")
    return {turn: round(value, 6) for turn, value in seconds.items()}


def _encode(clips: Tensor) -> dict[str, dict[str, float]]:
    """Clips or pairs a second of each encoding, as many at a time as there are clips."""
    speeds: dict[str, dict[str, float]] = {"clips_per_s": {}, "pairs_per_s": {}}
    pairs = clips[:, [0, -1], :1].contiguous()
    turns: dict[str, Callable[[], object]] = {}
    for name, encoding in ENCODINGS.items():
        given = clips if encoding.reads == "clip" else pairs
        turns[name] = partial(encoding, given, torch.full((CLIPS,), given.shape[1]))
    for name, seconds in in_turn(turns, REPETITIONS).items():
        unit = "clips_per_s" if ENCODINGS[name].reads == "clip" else "pairs_per_s"
        speeds[unit][name] = round(CLIPS / seconds, 2)
        print(f"{name}: {speeds[unit][name]} {unit.replace('_per_s', ' a second')}")
    return speeds


def _decode(clip: Tensor) -> dict[str, float]:
    """Milliseconds to read one clip's JPEG files, with all cores and with one."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for number, frame in enumerate(clip.numpy()):
            cv2.imwrite(str(folder / f"img{number}.jpg"), frame[::-1].transpose(1, 2, 0))
        read = partial(read_clip, folder, range(FRAMES), grey=False)
        seconds = in_turn(
            {"decode_ms": partial(read, threads=os.cpu_count() or 1), "decode_one_thread_ms": read},
            REPETITIONS,
        )
    milliseconds = {turn: round(1000 * value, 1) for turn, value in seconds.items()}
    print(", ".join(f"{turn} {value}" for turn, value in milliseconds.items()) + " a clip")
    return milliseconds


def _draw_clip(seed: int) -> NDArray[np.uint8]:
    """(FRAMES, 3, HEIGHT, WIDTH): a smooth picture that moves by a pixel, with a camera's noise.

    The flow's time depends on what moves, and the decoder's on how much detail there is.
    """
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(40, 215, (HEIGHT // 16 + 1, WIDTH // 16 + 1, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 2, (2 * HEIGHT, WIDTH, 3)).astype(np.float32)
    clip = np.empty((FRAMES, 3, HEIGHT, WIDTH), np.uint8)
    for number in range(FRAMES):
        move = np.array([[1, 0, number / FRAMES], [0, 1, 0.5 * number / FRAMES]], np.float32)
        frame = cv2.warpAffine(picture, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        row = int(rng.integers(HEIGHT))
        clip[number] = (frame + noise[row : row + HEIGHT]).clip(0, 255).transpose(2, 0, 1)
    return clip
