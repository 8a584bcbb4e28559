import json
import os

import numpy as np
import pytest
import torch

from mer import bench
from mer.bench import encode
from mer.bench.numpy_sums import accumulated, all_pairs
from mer.errors import MerError


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"CLIPS": 2, "FRAMES": 5, "HEIGHT": 40, "WIDTH": 32, "REPETITIONS": 1}.items():
        monkeypatch.setattr(encode, name, value)


@pytest.mark.parametrize("name", encode.SUMS)
@pytest.mark.parametrize("frames", [3, 17])
def test_ours_and_the_references_compute_the_same(name: str, frames: int) -> None:
    clip = np.random.default_rng(0).integers(0, 256, (frames, 3, 8, 9), np.uint8)
    ours, weigh = encode.SUMS[name]
    length = torch.tensor([frames])
    image = ours(torch.from_numpy(clip)[None], length, scale="none")[0].numpy()
    np.testing.assert_allclose(
        image, accumulated(clip, weigh(length, frames)[0].numpy()), rtol=1e-5, atol=1e-2
    )
    if name == "active_image":
        np.testing.assert_allclose(image, all_pairs(clip), rtol=1e-5, atol=1e-2)


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.0, 1.0))
    with pytest.raises(MerError, match=r"load of this machine is 1\.50, above 0\.3"):
        bench.main(["encode"])


@pytest.mark.usefixtures("tiny")
def test_the_last_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """A real measurement, as small as it gets: its figures mean nothing, its form does."""
    threads = torch.get_num_threads()
    try:
        bench.main(["encode", "--busy"])
    finally:
        torch.set_num_threads(threads)
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["bench"] == "encode"
    assert result["clip"] == "5 frames of 32x40"
    assert {*result["clips_per_s"], *result["pairs_per_s"]} == set(encode.ENCODINGS)
    assert set(result["pairs_per_s"]) == {"apex_flow", "still_frame"}
    assert set(result["sums"]) == set(encode.SUMS)
    figures = [*result["clips_per_s"].values(), *result["pairs_per_s"].values()]
    assert min(*figures, result["decode_ms"], result["decode_one_thread_ms"]) > 0
    assert {"ratio", "ratio_accumulating", "cores", "torch"} < set(result)


def test_the_ratios_are_of_the_medians(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of the encodings' seconds are the known ones, so what is left is the arithmetic."""
    known = {"ours_s": 0.4, "accumulating_s": 0.3, "all_pairs_s": 5.0}
    monkeypatch.setattr(encode, "in_turn", lambda turns, _: {turn: known.get(turn, 0.5) for turn in turns})
    for name, value in {"CLIPS": 2, "FRAMES": 5, "HEIGHT": 40, "WIDTH": 32}.items():
        monkeypatch.setattr(encode, name, value)
    threads = torch.get_num_threads()
    try:
        result = encode.measure()
    finally:
        torch.set_num_threads(threads)
    # Ours took two clips, the references one.
    assert (result["ratio"], result["ratio_accumulating"]) == (25, 1.5)
    assert set(result["clips_per_s"].values()) == set(result["pairs_per_s"].values()) == {4}
    assert result["decode_ms"] == 500


def test_all_encodings_are_there() -> None:
    from mer import encodings

    assert {type(encoding).__name__ for encoding in encode.ENCODINGS.values()} == (
        # Features of the classical rows, no images; and flow, which `mer bench flow` measures.
        set(encodings.__all__) - {"BiWOOF", "LBPTOP", "FramesAndFlow"}
    )
