import json
import os
import subprocess
import sys
import time

import pytest

from mer.bench import memory
from mer.errors import MerError


def test_a_family_is_a_process_and_all_that_it_started() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        ends = time.monotonic() + 30
        while len(found := memory.family(child.pid)) < 2 and time.monotonic() < ends:
            time.sleep(0.02)
        assert found[0] == child.pid
        assert len(found) == 2
        assert set(found) < set(memory.family(os.getpid()))
        assert memory.proportional(child.pid) > 1  # MiB
        assert child.stdin
        child.stdin.close()
    assert memory.proportional(child.pid) == 0


def test_growth_is_what_is_there_after_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """From 100 to 110 MiB after the warm-up; what the first folds take does not count."""
    for name, value in {"FOLDS": 11, "WARM_UP": 3}.items():
        monkeypatch.setattr(memory, name, value)
    said = {"resident": [50, 70, 90, 100, 100, 102, 104, 106, 108, 110, 110], "peak": 120, "imported": 40}
    monkeypatch.setattr(memory, "_in_child", lambda _: (said | {"workers": 2}, 300.0))
    result = json.loads(json.dumps(memory.measure()))
    assert result["ratio"] == 1.1
    assert result["resident_mib"] == {"1": 50, "10": 110}
    assert result["growth_kib_a_fold"] == round(10 / 6 * 1024, 2)  # 11 folds, 3 warm up, medians of 2
    assert (result["peak_mib"], result["one_process_peak_mib"]) == (300, 120)


@pytest.mark.timeout(600)  # two processes that import everything
def test_a_measurement_as_small_as_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = {"FOLDS": 3, "WARM_UP": 1, "EPOCHS": 1, "WORKER_FOLDS": 1, "WORKER_EPOCHS": 1, "WORKERS": 1}
    for name, value in tiny.items():
        monkeypatch.setattr(memory, name, value)
    result = memory.measure()
    assert result["folds"] == 3
    assert 0.5 < result["ratio"] < 2
    assert 50 < result["after_imports_mib"] < result["one_process_peak_mib"]
    assert result["peak_mib"] > 50


def test_a_run_that_fails_is_an_error() -> None:
    with pytest.raises(MerError, match="the run that was to be measured ended with 1"):
        memory._in_child({})
