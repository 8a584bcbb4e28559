"""`mer.bench.gpu_check` on the CPU with tiny sizes, as if the machine had none of what it may lack."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mer.bench import gpu_check, gpu_loops
from tests.conftest import REPOSITORY

LACKING = ("hydra", "omegaconf", "kornia", "wandb", "cv2", "python_calamine", "openpyxl", "safetensors")
BLOCKED = f"""
import sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {LACKING!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Lacking())
sys.path.insert(0, {str(REPOSITORY)!r})
"""
TINY = """
from mer.bench import gpu_check, gpu_engine, gpu_loops
sizes = {
    gpu_loops: {"CLIPS": 24, "SUBJECTS": 4, "LOOP_EPOCHS": 12, "ENGINE_EPOCHS": 2, "REPETITIONS": 1},
    gpu_engine: {"AGREEMENT_FOLDS": 1, "AGREEMENT_EPOCHS": 2, "SEEDS": (0,), "SCORE_EPOCHS": 1},
    gpu_check: {"FRAMES": 5, "HEIGHT": 24, "WIDTH": 20, "ENCODED_CLIPS": 2, "FLOW_PAIRS": 2, "FLOW_SIDE": 48},
}
for module, values in sizes.items():
    for name, value in values.items():
        assert hasattr(module, name)
        setattr(module, name, value)
"""


@pytest.mark.timeout(400)  # it starts worker processes, which import everything
def test_it_runs_where_hydra_kornia_wandb_and_opencv_are_not(tmp_path: Path) -> None:
    code = f"{BLOCKED}\n{TINY}\nraise SystemExit(gpu_check.main([]))"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning:mer", "-c", code],
        cwd=tmp_path,
        env=os.environ | {"OUT": str(tmp_path / "out"), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads((tmp_path / "out/gpu_check.json").read_text())
    assert list(results) == ["machine", *(check.__name__ for check in gpu_check.CHECKS)]
    assert results["machine"]["device"] == "cpu"
    for network in gpu_loops.NETWORKS:
        figures = results["sequential_loops"][network]
        assert figures["loss"][1] < figures["loss"][0]
        assert figures["bare_loso_s"] == pytest.approx(figures["bare_epoch_ms"] / 1000 * 4 * 2, abs=0.06)
    loso, agreement, scores = (
        results[name] for name in ("ensemble_engine", "engine_agreement", "engine_scores")
    )
    assert (loso["folds"], loso["epochs"]) == (4, 2)
    assert loso["ratio"] == pytest.approx(loso["bare_loso_s"] / loso["loso_s"], abs=0.2, rel=0.2)
    assert agreement["largest_difference"] < 1e-4
    assert len(scores["ensemble_uf1"]) == len(scores["processes_uf1"]) == 1
    assert "clips_per_s" in results["encodings_on_device"]["dynamic_image"]
    assert results["torch_tvl1"]["endpoint_error_px"] < 0.3 * results["torch_tvl1"]["no_flow_error_px"]
    assert "not_measured" in results["torch_tvl1"]["opencv"]


def test_a_check_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: torch.device) -> gpu_check.Figures:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_check, "CHECKS", (broken, gpu_check.metrics_on_device))
    assert gpu_check.main([str(tmp_path)]) == 1
    results = json.loads((tmp_path / "gpu_check.json").read_text())
    assert results["broken"]["failed"] == "RuntimeError: out of memory"
    assert results["metrics_on_device"]["UF1"] > 0


def test_a_shift_is_the_flow_that_tvl1_is_asked_for() -> None:
    """second(x + 1, y + 0.5) = first(x, y), looked up between the pixels where the shift is half of one."""
    first, second = gpu_check.shifted_pairs(2, 40, torch.device("cpu"))
    between = (second[..., :-1, 1:] + second[..., 1:, 1:]) / 2
    moved, still = (between - first[..., :-1, :-1]).abs().mean(), (second - first).abs().mean()
    assert moved < 0.05 * still
