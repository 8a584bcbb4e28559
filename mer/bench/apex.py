"""``mer bench apex``: how far spotted apexes lie from the true ones of the synthetic database, in frames.

D&C-RoIs as it fills a clip table, beside two references: the middle frame of the clip, which looks at no
picture, and the plain maximum of the same curve, which tells what dividing and conquering brings. Drawn
clips are short and their apexes lie near the middle, so the middle frame is hard to beat here. An error
does not depend on how busy the machine is.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mer.data.apex_spotting import change, spot_missing, typical_regions
from mer.data.frames import read_clip
from mer.data.synthetic import write_and_read

METHODS = {"dc_rois": "D&C-RoIs", "middle_frame": "middle frame", "maximum": "maximum of the curve"}
WITHIN = (1, 2, 3)  # frames


def measure(**parameters: Any) -> dict[str, Any]:
    """Mean absolute errors in frames; ``ratio`` is the middle frame's to ours: above 1, ours is better.

    Under each method: ``mae``, ``median``, ``within_<n>`` (share of the clips at most n frames off) and
    the mean absolute error of each label.

    Args:
        parameters: of ``write_synthetic``; without any the database is the default one.
    """
    clips = write_and_read(**parameters)
    spotted = _spotted(clips)
    errors = {method: (spotted[method] - clips["apex"]).abs().astype(float) for method in METHODS}
    figures = {method: _figures(error, clips["label"]) for method, error in errors.items()}
    for method, name in METHODS.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in figures[method].items())}")
    ours, middle = errors["dc_rois"].mean(), errors["middle_frame"].mean()
    return {
        "ratio": round(middle / ours, 2) if ours else None,
        "mae_frames": round(ours, 2),
        "mae_middle_frame": round(middle, 2),
        "mae_maximum": round(errors["maximum"].mean(), 2),
        "clips": len(clips),
        "frames_a_clip": round(float((clips["offset"] - clips["onset"]).mean() + 1), 1),
        **figures,
    }


def _spotted(clips: pd.DataFrame) -> pd.DataFrame:
    """Frame number of each clip's apex by each method."""
    unlabelled = clips.assign(apex=pd.array([pd.NA] * len(clips), dtype="Int64"))
    with tempfile.TemporaryDirectory() as scratch:  # what is measured is the code as it is now
        ours = spot_missing(unlabelled, cache=Path(scratch), progress=False)["apex"]
    return pd.DataFrame(
        {
            "dc_rois": ours,
            "middle_frame": (clips["onset"] + clips["offset"]) // 2,
            "maximum": [_maximum(row) for _, row in clips.iterrows()],
        }
    )


def _maximum(clip: pd.Series) -> int:
    """The frame of one clip that differs most from its onset."""
    numbers = range(clip["onset"], clip["offset"] + 1)
    frames = read_clip(Path(clip["frames"]), numbers, grey=True, threads=os.cpu_count() or 1)
    curve = change(frames, typical_regions((frames.shape[3], frames.shape[2])))
    return numbers[int(np.argmax(curve.numpy()))]


def _figures(error: pd.Series, label: pd.Series) -> dict[str, float]:
    by_label = error.groupby(label).mean()
    return {
        "mae": round(error.mean(), 2),
        "median": round(error.median(), 2),
        **{f"within_{frames}": round((error <= frames).mean(), 3) for frames in WITHIN},
        **{f"mae_{name}": round(mean, 2) for name, mean in by_label.items()},
    }
