"""The presets of hydra/launcher: a sweep as jobs of other processes, each job one (variant, seed)."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import hydra
import pytest

from mer import config, runs
from mer.packaged import config_dir
from tests.trees import write_megc2019_uvos

PLUGINS = {"processes": "joblib", "local": "submitit", "slurm": "submitit"}
MER = [sys.executable, "-c", "from mer.cli import main; main()"]
needs = {
    plugin: pytest.mark.skipif(
        find_spec("hydra_plugins") is None or find_spec(f"hydra_plugins.hydra_{plugin}_launcher") is None,
        reason=f"hydra-{plugin}-launcher is not here: pip install -e '.[cluster]'",
    )
    for plugin in ("joblib", "submitit")
}


def test_these_are_all_presets() -> None:
    assert set(config.names("hydra/launcher")) == set(PLUGINS)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=needs[plugin]) for name, plugin in PLUGINS.items()]
)
def test_a_preset_composes_over_its_plugin(name: str) -> None:
    """The plugin's own schema checks the keys, so one that it does not have fails here."""
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        launcher = hydra.compose("train", [f"hydra/launcher={name}"], return_hydra_config=True).hydra.launcher
    assert launcher._target_.startswith(f"hydra_plugins.hydra_{PLUGINS[name]}_launcher.")
    assert launcher.get("timeout_min", 1440) == 1440


def test_an_unknown_launcher_is_one_line_that_names_ours_and_the_extra(tmp_path: Path) -> None:
    """So is one whose plugin is not installed: its base is then no config."""
    done = subprocess.run(
        [*MER, "train", "-m", "hydra/launcher=lsf", "seed=0,1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith(
        "mer: hydra/launcher=lsf: no such launcher; there are local, processes, slurm"
    )
    assert done.stderr.count("\n") == 1
    assert "[cluster]" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)  # each launches processes that import everything
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=needs[PLUGINS[name]]) for name in ("local", "processes")],
)
def test_two_jobs_of_a_sweep_leave_two_complete_runs(tmp_path: Path, name: str) -> None:
    root = write_megc2019_uvos(tmp_path / "images", {"sub01": ("0", "1", "2"), "sub02": ("0", "1", "2")})
    line = [f"hydra/launcher={name}", "data=megc2019_uvos", f"data.root={root}", "epochs=1", "workers=1"]
    done = subprocess.run(
        [*MER, "train", "-m", "seed=0,7", "tag=two", *line],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for seed in (0, 7):
        run = tmp_path / f"runs/custom/base.two/megc2019_uvos/loso/seed-{seed}"
        assert runs.read_predictions(run)["seed"].unique().tolist() == [seed]
        assert len(runs.read_predictions(run)) == 6
    assert not list(tmp_path.rglob(".hydra")), "Hydra writes no folder"
    logs = list((tmp_path / "runs/.sweeps/.submitit").glob("[0-9]*"))
    assert len(logs) == (2 if PLUGINS[name] == "submitit" else 0), "each job is a process of its own"


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs["submitit"]
def test_a_job_that_fails_is_told_and_its_sibling_is_kept(tmp_path: Path) -> None:
    root = write_megc2019_uvos(tmp_path / "images", {"sub01": ("0", "1", "2"), "sub02": ("0", "1", "2")})
    done = subprocess.run(
        [
            *(*MER, "train", "-m", "epochs=0,1", "tag=${epochs}", "hydra/launcher=local", "seed=0"),
            *("data=megc2019_uvos", f"data.root={root}", "workers=1"),
        ],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert "mer: epochs=0: give a whole number, at least 1" in done.stderr
    assert len(runs.read_predictions(tmp_path / "runs/custom/base.1/megc2019_uvos/loso/seed-0")) == 6
