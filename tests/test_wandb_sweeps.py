"""W&B sweep files: every command that an agent could be told to run composes."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from mer import config, selection

SWEEPS = sorted((Path(__file__).parents[1] / "experiments").glob("*/sweeps/*.yaml"))
PLACE = "${args_no_hyphens}"


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


def values(parameter: dict[str, Any]) -> list[Any]:
    return parameter["values"] if "values" in parameter else [parameter["min"], parameter["max"]]


def commands(sweep: dict[str, Any]) -> list[list[str]]:
    """The overrides of `mer train` under every combination of values, or of the ends of their ranges."""
    program, verb, *rest = sweep["command"]
    assert (program, verb, rest[-1]) == ("${program}", "train", PLACE)
    named = [[f"{key}={value}" for value in values(given)] for key, given in sweep["parameters"].items()]
    return [[*rest[:-1], *chosen] for chosen in itertools.product(*named)]


def test_there_is_one_a_paper() -> None:
    papers = {path.parents[1].name for path in SWEEPS}
    assert papers == {"affectivenet", "originet", "learnet", "laenet", "timecontrast"}


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_every_command_composes(path: Path) -> None:
    sweep = read(path)
    assert sweep["program"] == "mer"
    given = commands(sweep)
    assert len({tuple(each) for each in given}) == len(given)
    # Each value once with the first of the others: the groups are independent, and a compose takes .2 s.
    seen: set[str] = set()
    for overrides in given:
        if new := set(overrides) - seen:
            cfg = config.compose(overrides)
            assert cfg.logger.name == "wandb"
            for key, _, value in (word.partition("=") for word in new):
                if key in ("seed", "batch_size", "optimizer.lr"):
                    node: Any = cfg
                    for part in key.split("."):
                        node = node[part]
                    assert node == float(value)
            seen |= new


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_what_chooses_looks_at_validation_subjects_only(path: Path) -> None:
    sweep = read(path)
    if sweep["method"] == "grid":
        assert "metric" not in sweep
        return
    assert sweep["metric"] == {"name": f"{selection.VALIDATION}/mean", "goal": "minimize"}
    assert all(config.compose(overrides).protocol.validation > 0 for overrides in commands(sweep)[:1])
