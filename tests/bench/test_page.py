import json
from pathlib import Path
from typing import Any

import pytest

from mer import bench
from mer.bench import page
from mer.errors import MerError
from tests.bench.test_cost import RESULT


def store(folder: Path, name: str, **figures: Any) -> None:
    path = folder / "bench/results" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    common = {"bench": name, "busy_cores_before": 0.01, "took_s": 61.2, "machine": page.machine()}
    path.write_text(json.dumps({**common, "ratio": 2.5, **figures}))


def test_the_pages_are_made_from_the_stored_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path, "loso", ststnet={"ours_s": 0.029, "spread_ours_s": [0.02, 0.03]}, workers=2)
    step: dict[str, Any] = {"mflop": 250.5, "mbytes": 90.0, "arithmetic_ms": 5.0, "traffic_ms": 9.0}
    step |= {"bound_by": "memory", "measured_ms": 18.0, "measured_to_floor": 2.0}
    store(tmp_path, "roofline", gemm_gflops=50.0, copy_gb_s=10.0, batch_size=256, ststnet=step)
    store(tmp_path, "cost", **RESULT)
    bench.main(["page", "--stored"])
    text = (tmp_path / "bench/README.md").read_text()
    date = page.machine()["date"]
    assert f"| `mer bench loso` | {bench.BENCHMARKS['loso']} | 2.5 | {date} | 61 s |" in text
    assert "| ststnet.ours_s | 0.029 |" in text
    assert "| ststnet.spread_ours_s | 0.02 to 0.03 |" in text
    assert (
        "ststnet: 250.5 MFLOP (5 ms) and 90 MB (9 ms), so memory is its limit; it takes 18 ms, 2 times"
        in text
    )
    assert f"torch {page.machine()['torch']}" in text
    assert "BUSY" not in text
    assert "10,000 subjects" in (tmp_path / "docs/cost.md").read_text()


def test_what_was_measured_on_a_busy_machine_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path, "flow", busy_cores_before=1.7)
    bench.main(["page", "--stored"])
    assert "BUSY: 1.7 cores at work for others" in (tmp_path / "bench/README.md").read_text()
    assert not (tmp_path / "docs").exists()  # nothing is known of the cost


def test_a_named_benchmark_is_measured_in_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package's own command, as far as the process; what it prints is the benchmark's business."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mer_bench_line.py").write_text("print('progress'); print('{\"ratio\": 4.5}')")
    monkeypatch.setattr(page, "COMMAND", ["mer_bench_line.py"])
    bench.main(["page", "table", "--busy"])
    stored = json.loads((tmp_path / "bench/results/table.json").read_text())
    assert (stored["bench"], stored["ratio"]) == ("table", 4.5)
    assert stored["machine"]["cores"] >= 1
    (tmp_path / "mer_bench_line.py").write_text("raise SystemExit(3)")
    with pytest.raises(MerError, match="table: the benchmark ended with 3"):
        bench.main(["page", "table", "--busy"])
    assert json.loads((tmp_path / "bench/results/table.json").read_text()) == stored


def test_a_busy_machine_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(page, "busy_cores", lambda: 1.25)
    with pytest.raises(MerError, match=r"loso: 1\.25 of the \d+ cores are at work for others, above 0\.3"):
        bench.main(["page"])
    assert not list(tmp_path.iterdir())


def test_bad_input_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store(tmp_path, "cost", **{key: value for key, value in RESULT.items() if key != "folds"})
    with pytest.raises(
        MerError, match=r"cost\.json: 'folds' is not in it.*measure again with mer bench page cost"
    ):
        bench.main(["page", "--stored"])
    (tmp_path / "bench/results/cost.json").unlink()
    with pytest.raises(MerError, match="no benchmark 'speed'; there are loso"):
        bench.main(["page", "speed"])
    with pytest.raises(MerError, match="no figures here"):
        bench.main(["page", "--stored"])
    store(tmp_path, "loso")
    (tmp_path / "bench/results/loso.json").write_text("{")
    with pytest.raises(MerError, match=r"loso\.json: cannot be read .*remove it and measure again"):
        bench.main(["page", "--stored"])


def test_busy_cores_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "LOOK_S", 0.05)
    cores = page.machine()["cores"]
    assert -0.01 <= page.busy_cores() <= cores
    lines = iter(["cpu 10 0 10 100 0 0 0 0 0 0\n", "cpu 20 0 20 180 0 0 0 0 0 0\n"])
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: next(lines))
    assert page.busy_cores() == pytest.approx(cores * 0.2)  # 20 of 100 ticks
