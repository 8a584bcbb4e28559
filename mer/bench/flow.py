"""``mer bench flow``: TV-L1 of OpenCV and of torch against known displacements, and the speed of both.

What is known is the expression's field and the head's motion from onset to apex; light, noise and blinks
move nothing but disturb. OpenCV's reference is one pair at a time, as scripts call it; ours solves as many
pairs at a time as there are cores. That, in turn, is torch's reference, on the CPU and where there is CUDA.
"""

import os
from collections.abc import Callable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.bench.turns import in_turn
from mer.data.drawn_clip import displacement, head_motion
from mer.data.frames import read_clip
from mer.data.synthetic import draw_clips, read_clips, write_synthetic
from mer.encodings.apex_flow import TVL1, Backend, flow_of_pair, opencv_images, tvl1_flow

PRESETS = {"opencv": TVL1(), "ipol": TVL1.ipol()}
PAIRS = 16  # timed at once, or four a core if that is more: the last one to end then matters little
REPETITIONS = 3
GPU_PAIRS = 1024  # what a clip or two of all frames hold, and a GPU needs to be filled


def measure(**parameters: Any) -> dict[str, Any]:
    """Endpoint errors in pixels and correlations of flow and field, under OpenCV's and IPOL's parameters.

    Those of the torch backend are named after the parameters too, as ``opencv_torch``.

    Args:
        parameters: of ``write_synthetic``; without any the database is the default one.
    """
    onsets, apexes, known = known_pairs(**parameters)
    results: dict[str, Any] = {
        "pairs": len(known),
        "longest_px": round(float(np.hypot(*np.moveaxis(known, 1, 0)).max()), 2),
    }
    for name, params in PRESETS.items():
        for backend in get_args(Backend):
            key = name if backend == "opencv" else f"{name}_{backend}"
            flows = tvl1_flow(onsets, apexes, params=params, backend=backend).numpy()
            results[key] = _accuracy(flows, known)
            print(f"{key}: {', '.join(f'{what} {value}' for what, value in results[key].items())}")
    cores = min(torch.get_num_threads(), os.cpu_count() or 1)
    timed = max(PAIRS, 4 * cores)
    first, second = onsets[:timed], apexes[:timed]
    pairs = list(zip(opencv_images(first), opencv_images(second), strict=True))
    turns: dict[str, Callable[[], object]] = {
        "one at a time": lambda: [flow_of_pair(one, other, TVL1()) for one, other in pairs],
        "ours": lambda: tvl1_flow(first, second),
        "torch cpu": lambda: tvl1_flow(first, second, backend="torch"),
    }
    counts = dict.fromkeys(turns, len(pairs))
    if torch.cuda.is_available():
        rows = torch.arange(GPU_PAIRS) % len(onsets)
        on_gpu = [images[rows].cuda() for images in (onsets, apexes)]
        turns["torch cuda"], counts["torch cuda"] = partial(_on_gpu, *on_gpu), GPU_PAIRS
        _on_gpu(*on_gpu)  # the first call loads the kernels
    speeds = {name: counts[name] / seconds for name, seconds in in_turn(turns, REPETITIONS).items()}
    print(f"pairs a second: {', '.join(f'{name} {speed:.1f}' for name, speed in speeds.items())}")
    return {
        "ratio": round(speeds["ours"] / speeds["one at a time"], 2),
        "pairs_a_second": round(speeds["ours"], 1),
        "cores": cores,
        "size": first.shape[-1],
        **results,
        "torch": {
            name.removeprefix("torch "): {
                "ratio": round(speed / speeds["ours"], 2),  # to OpenCV on all cores
                "pairs_a_second": round(speed, 1),
            }
            for name, speed in speeds.items()
            if name.startswith("torch")
        },
    }


def _on_gpu(first: Tensor, second: Tensor) -> None:
    """Solve pairs that are on the GPU already, and wait for it."""
    tvl1_flow(first, second, backend="torch")
    torch.cuda.synchronize()


def known_pairs(**parameters: Any) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
    """Onset and apex frames (N, 1, H, W) uint8, and the known fields (N, 2, H, W) in pixels.

    Args:
        parameters: of ``write_synthetic``.
    """
    given = {
        name: value.default for name, value in signature(write_synthetic).parameters.items()
    } | parameters
    root = write_synthetic(**parameters)
    size = given.pop("size")
    of_clips = {key: value for key, value in given.items() if key not in ("root", "subjects")}
    clips = {
        (f"s{subject + 1:02d}", name): clip
        for subject in range(given["subjects"])
        for name, clip in draw_clips(subject, **of_clips)[1].items()
    }
    frames, fields = [], []
    for row in read_clips(root).itertuples(index=False):
        clip = clips[str(row.subject), str(row.clip)]
        frames.append(read_clip(Path(str(row.frames)), [clip.onset, clip.apex], grey=True))
        moved = head_motion(clip, clip.apex, size) - head_motion(clip, clip.onset, size)
        fields.append(displacement(clip, clip.apex, size) + moved)
    stacked = torch.stack(frames)
    return stacked[:, 0], stacked[:, 1], np.stack(fields)


def _accuracy(flows: NDArray[np.float32], known: NDArray[np.float32]) -> dict[str, float]:
    """Of all clips: endpoint error and correlation, of whole images."""
    errors = np.hypot(*np.moveaxis(flows - known, 1, 0)).mean((1, 2))
    still = np.hypot(*np.moveaxis(known, 1, 0)).mean((1, 2))
    correlations = [
        np.corrcoef(flow.ravel(), field.ravel())[0, 1] for flow, field in zip(flows, known, strict=True)
    ]
    return {
        "endpoint_error_px": round(float(np.mean(errors)), 3),
        "endpoint_error_median_px": round(float(np.median(errors)), 3),
        "no_flow_error_px": round(float(np.mean(still)), 3),  # what all zeros would have
        "correlation_median": round(float(np.median(correlations)), 3),
        "correlation_worst": round(float(np.min(correlations)), 3),
    }
