import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mer import bench
from mer.bench import spotting
from mer.errors import MerError
from mer.tasks.spotting import score_videos

TINY: dict[str, Any] = {"SIZE": 16, "FRAMES": 6, "WINDOW": 4, "STRETCH": 2, "REPETITIONS": 1}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    narrow = {name: {**options, "width": 0.01} for name, options in spotting.NETWORKS.items()}
    for name, value in {**TINY, "LENGTHS": (10, 30, 110), "NETWORKS": narrow}.items():
        monkeypatch.setattr(spotting, name, value)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.0, 1.0))
    with pytest.raises(MerError, match=r"load of this machine is 1\.50, above 0\.3"):
        bench.main(["spotting"])


def test_a_machine_without_proc_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda *_: False)
    with pytest.raises(MerError, match="run it on Linux"):
        spotting.measure()


@pytest.mark.parametrize("together", [1, 3, 100])
def test_the_reference_scores_each_frame_as_its_stretch_alone(together: int) -> None:
    """Frame t is the last but one of a video that starts at t - 3."""
    frames = torch.from_numpy(spotting.draw_frames(8, 16)).permute(0, 3, 1, 2)
    network = sensitive(memory="gru")
    anew = spotting.score_anew(network, frames, stretch=4, together=together)
    assert anew.std() > 0.01  # the frames are told apart
    for t in range(3, 7):
        alone = score_videos(network, frames, torch.tensor([t - 3]), torch.tensor([5])).intensity[0, 3]
        assert float(anew[t]) == pytest.approx(float(alone), abs=1e-5)
    # What lies before the stretch is not known; where that is nothing, the curves meet.
    carried = score_videos(network, frames, torch.tensor([0]), torch.tensor([8])).intensity[0]
    assert float(anew[3]) == pytest.approx(float(carried[3]), abs=1e-5)
    assert float((anew - carried)[4:].abs().min()) > 1e-3


def test_without_memory_the_reference_is_the_curve_to_both_ends() -> None:
    frames = torch.from_numpy(spotting.draw_frames(8, 16)).permute(0, 3, 1, 2)
    network = sensitive(memory="none")
    carried = score_videos(network, frames, torch.tensor([0]), torch.tensor([8])).intensity[0]
    assert carried.std() > 0.01
    anew = spotting.score_anew(network, frames, stretch=4, together=3)
    torch.testing.assert_close(anew, carried, atol=1e-5, rtol=0)


def sensitive(**options: Any) -> nn.Module:
    """A network of random weights whose scores differ between frames: an untrained one's hardly do."""
    torch.manual_seed(0)
    network = spotting.make_network(size=16, width=0.05, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.7)
    return network


@pytest.mark.usefixtures("tiny")
def test_the_last_line_is_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real measurement of times, as small as it gets: its figures mean nothing, its form does."""
    monkeypatch.setattr(spotting, "peak", lambda _, frames, **__: 20 + frames / 10)
    bench.main(["spotting", "--busy"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    methods = {*spotting.NETWORKS, *spotting.DIFFERENCES}
    assert result["bench"] == "spotting"
    assert set(result["one_thread_ms"]) == set(result["all_cores_ms"]) == methods
    assert min(*result["one_thread_ms"].values(), *result["all_cores_ms"].values(), result["anew_ms"]) > 0
    assert result["carried_ms"] == result["one_thread_ms"]["time_contrast_small"]
    assert result["ratio"] == pytest.approx(result["anew_ms"] / result["carried_ms"], abs=0.006)
    assert (result["cuda_ms"] is None) == (not torch.cuda.is_available())
    # 110 frames of 16x16x5 halves, and the file's header of 128 bytes.
    assert result["memory"] == {
        "ratio": round(31 / 21, 3),
        "kib_a_frame": round(10 / 100 * 1024, 3),
        "peak_mib": {"10": 21, "30": 23, "110": 31},
        "mapped_mib": round((110 * 16 * 16 * 5 * 2 + 128) / 2**20, 1),
    }


@pytest.mark.usefixtures("tiny")
def test_times_are_of_a_frame_and_with_the_threads_that_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six frames: 3 s anew and .6 s carried on are 500 and 100 ms a frame."""
    known = {"anew one_thread": 3.0, "time_contrast_small one_thread": 0.6}
    threads: dict[str, int] = {}

    def in_turn(turns: Any, _: int) -> dict[str, float]:
        for name, call in turns.items():
            call()
            threads[name] = torch.get_num_threads()
        return {name: known.get(name, 0.006) for name in turns}

    monkeypatch.setattr(spotting, "in_turn", in_turn)
    monkeypatch.setattr(spotting, "peak", lambda *_, **__: 20.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    result = spotting.measure()
    assert (result["ratio"], result["anew_ms"], result["carried_ms"]) == (5, 500, 100)
    assert result["one_thread_ms"]["time_contrast"] == result["all_cores_ms"]["lbp_difference"] == 1
    assert {threads[name] for name in threads if name.endswith("one_thread")} == {1}
    assert {threads[name] for name in threads if name.endswith("all_cores")} == {2}
    assert result["memory"]["ratio"] == 1


def test_the_file_of_frames_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    spotting.write_frames(tmp_path / "images.npy", 230, 16)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    drawn = spotting.draw_frames(100, 16)
    assert images.dtype == np.float16
    np.testing.assert_array_equal(images, np.concatenate([drawn, drawn, drawn[:30]]))


@pytest.mark.timeout(300)  # three processes that import torch
def test_memory_is_that_of_a_window_and_not_of_the_video_or_its_map(tmp_path: Path) -> None:
    path = tmp_path / "images.npy"
    spotting.write_frames(path, 2000, 32)
    short, long = (spotting.peak(path, frames, window=16) for frames in (100, 2000))
    assert short > 1  # MiB
    assert abs(long - short) < path.stat().st_size / 2**20 / 4  # 20 MiB are mapped
    # One piece of 256 frames has at least one map of 8 channels more than a window, in float32.
    assert spotting.peak(path, 256, window=256) > short + 240 * 8 * 32 * 32 * 4 / 2**20


@pytest.mark.timeout(300)
def test_a_process_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"scoring 5 frames of .*images\.npy ended with 1"):
        spotting.peak(tmp_path / "images.npy", 5, window=4)
