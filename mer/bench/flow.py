"""``mer bench flow``: TV-L1 against the known displacements of the synthetic database, and its speed.

What is known is the expression's field and the head's motion from onset to apex; light, noise and blinks
move nothing but disturb. The speed's reference is one pair at a time, as scripts call OpenCV; ours solves
as many pairs at a time as there are cores.
"""

import os
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mer.bench.encode import in_turn
from mer.data.drawn_clip import displacement, head_motion
from mer.data.frames import read_clip
from mer.data.synthetic import draw_clips, read_clips, write_synthetic
from mer.encodings.apex_flow import TVL1, flow_of_pair, opencv_images, tvl1_flow

PRESETS = {"opencv": TVL1(), "ipol": TVL1.ipol()}
PAIRS = 16  # timed at once


def measure(**parameters: Any) -> dict[str, Any]:
    """Endpoint errors in pixels and correlations of flow and field, under OpenCV's and IPOL's parameters.

    Args:
        parameters: of ``write_synthetic``; without any the database is the default one.
    """
    onsets, apexes, known = _pairs(parameters)
    results: dict[str, Any] = {
        "pairs": len(known),
        "longest_px": round(float(np.hypot(*np.moveaxis(known, 1, 0)).max()), 2),
    }
    for name, params in PRESETS.items():
        flows = tvl1_flow(onsets, apexes, params=params).numpy()
        results[name] = _accuracy(flows, known)
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in results[name].items())}")
    first, second = onsets[:PAIRS], apexes[:PAIRS]
    cores = torch.get_num_threads()
    pairs = list(zip(opencv_images(first), opencv_images(second), strict=True))
    seconds = in_turn(
        {
            "one at a time": lambda: [flow_of_pair(one, other, TVL1()) for one, other in pairs],
            "ours": lambda: tvl1_flow(first, second),
        }
    )
    print(f"pairs a second: {', '.join(f'{name} {len(pairs) / took:.1f}' for name, took in seconds.items())}")
    return {
        "ratio": round(seconds["one at a time"] / seconds["ours"], 2),
        "pairs_a_second": round(len(pairs) / seconds["ours"], 1),
        "cores": min(cores, os.cpu_count() or 1),
        "size": first.shape[-1],
        **results,
    }


def _pairs(parameters: dict[str, Any]) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
    """Onset and apex frames (N, 1, H, W), and the known fields (N, 2, H, W)."""
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
