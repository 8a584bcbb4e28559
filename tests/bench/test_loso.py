import json
import os
from dataclasses import replace
from typing import Any

import pytest

from mer import bench
from mer.bench import loso
from mer.errors import MerError


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 1.0, 1.0))
    with pytest.raises(MerError, match=r"load of this machine is 1\.50, above 0\.3"):
        bench.main(["loso"])


def test_an_unknown_benchmark_lists_those_that_exist() -> None:
    with pytest.raises(MerError, match="no benchmark 'speed'; there are loso"):
        bench.main(["speed"])


def test_the_last_line_is_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real measurement, as small as it gets: its figures mean nothing, its form does."""
    monkeypatch.setattr(loso, "REPETITIONS", 1)
    monkeypatch.setattr(loso, "FOLDS_A_WORKER", 1)
    small: dict[str, Any] = {"epochs": 1, "clips": 12, "subjects": 4, "batch_size": 4}
    cases = {name: replace(loso.CASES[name], **small) for name in ("ststnet", "originet")}
    monkeypatch.setattr(loso, "CASES", cases)
    bench.main(["loso", "--busy"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = result["ststnet"]
    assert result["bench"] == "loso"
    assert result["originet"]["images"] == "9 of 128 px, batches of 4"
    by_threads = figures["reference_s_by_threads"]
    assert figures["reference_s"] == min(by_threads.values())
    assert figures["reference_s"] == by_threads[str(figures["reference_threads"])]
    assert (
        result["ratio"]
        == figures["ratio"]
        == pytest.approx(figures["reference_s"] / figures["ours_s"], rel=1e-3, abs=0.0051)
    )


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_the_plain_loop_is_tried_at_these_threads(cores: int, counts: list[int]) -> None:
    assert loso._thread_counts(cores) == counts
