import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mer.bench import apex
from mer.data.apex_spotting import spot_missing
from mer.data.clips import validate
from mer.data.synthetic import write_and_read
from tests.trees import write_frames

PARAMETERS: dict[str, Any] = {"subjects": 2, "clips_per_class": 1, "size": 56}


def test_figures_are_errors_against_the_true_apexes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = json.loads(json.dumps(apex.measure(**PARAMETERS)))
    printed = capsys.readouterr().out.splitlines()
    clips = write_and_read(**PARAMETERS)
    missing = clips.assign(apex=pd.array([pd.NA] * len(clips), dtype="Int64"))
    ours = (spot_missing(missing, progress=False)["apex"] - clips["apex"]).abs()
    middle = [
        abs((onset + offset) // 2 - true)
        for onset, true, offset in clips[["onset", "apex", "offset"]].to_numpy().tolist()
    ]

    assert result["clips"] == 6
    assert result["mae_frames"] == result["dc_rois"]["mae"] == pytest.approx(ours.mean(), abs=0.006)
    assert result["mae_middle_frame"] == pytest.approx(sum(middle) / 6, abs=0.006)
    assert result["mae_maximum"] == result["maximum"]["mae"]
    assert result["dc_rois"]["median"] == ours.median()
    assert result["dc_rois"]["within_2"] == pytest.approx((ours <= 2).mean(), abs=0.001)
    positive = ours[clips["label"] == "positive"].mean()
    assert result["dc_rois"]["mae_positive"] == pytest.approx(positive, abs=0.006)
    assert result["ratio"] == pytest.approx(sum(middle) / ours.sum(), abs=0.006)
    assert [line.split(":")[0] for line in printed] == list(apex.METHODS.values())


@pytest.mark.parametrize("other", [10, 12, 18])
def test_one_frame_that_differs_is_the_apex_and_the_maximum(tmp_path: Path, other: int) -> None:
    """Frames 8 and 20 lie outside the clip."""
    write_frames(tmp_path, range(9, 20), size=(60, 60))
    for number in range(10, 20):
        shutil.copy(tmp_path / "img9.png", tmp_path / f"img{number}.png")
    write_frames(tmp_path, range(8, 21, 12), size=(60, 60), seed=1)
    write_frames(tmp_path, range(other, other + 1), size=(60, 60), seed=2)
    row = {"database": "d", "subject": "s", "clip": "c", "label": "x", "frames": str(tmp_path)}
    clips = validate(pd.DataFrame([row | {"onset": 9, "apex": 10, "offset": 18, "fps": 60}]), "t")
    assert apex._spotted(clips).iloc[0].to_dict() == {"dc_rois": other, "middle_frame": 13, "maximum": other}
