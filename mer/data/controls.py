"""Controls: changes to a clip table after which a sound set-up must fall to chance."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd

from mer.errors import MerError

Control = Literal["none", "shuffled_labels", "onset_only"]


def apply_control(clips: pd.DataFrame, control: Control, seed: int = 0) -> pd.DataFrame:
    """The table under a control.

    ``shuffled_labels`` permutes the labels over all clips: what is learned then is leakage.
    ``onset_only`` makes the onset the only frame of every clip: what is learned then is identity or
    an artefact, not motion.

    Raises:
        MerError: an unknown control, or ``onset_only`` for clips without onset frames.
    """
    controls: dict[str, Callable[[pd.DataFrame, int], pd.DataFrame]] = {
        "none": lambda table, _: table,
        "shuffled_labels": _shuffle_labels,
        "onset_only": _onset_only,
    }
    if control not in controls:
        raise MerError(f"data.control={control!r}: choose {', '.join(controls)}")
    return controls[control](clips, seed)


def _shuffle_labels(clips: pd.DataFrame, seed: int) -> pd.DataFrame:
    order = np.random.default_rng(seed).permutation(len(clips))
    return clips.assign(label=clips["label"].to_numpy()[order])


def _onset_only(clips: pd.DataFrame, _: int) -> pd.DataFrame:
    if "frames" not in clips.columns or clips["onset"].isna().any():
        raise MerError("data.control=onset_only needs clips with frames and onset numbers")
    return clips.assign(apex=clips["onset"], offset=clips["onset"])
