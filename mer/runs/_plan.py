"""What a run is: the key that names its folder, and the plan that says what decides its results."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mer.atomic import write_text
from mer.errors import MerError
from mer.runs._fold import YAML_LOADER, fold_folder, state, unreadable

BASE_VARIANT = "base"  # the experiment as its own file has it
# They do not change a result.
NEUTRAL_KEYS = {
    *("workers", "device", "runs_dir", "logger", "data.root", "faces.landmarks", "strict", "save_weights"),
    *("engine", "checkpoint_every"),
    "store",  # the last epoch is the same; other rules say where epochs are missing
}


@dataclass(frozen=True)
class RunKey:
    """What names a run: one (experiment, variant, data, protocol, seed), with all its folds."""

    experiment: str
    variant: str
    data: str
    protocol: str
    seed: int
    tag: str = ""

    def folder(self, runs_dir: Path) -> Path:
        """The run folder, at a fixed depth: a config ``<folder>/<name>`` becomes ``<folder>.<name>``.

        Raises:
            MerError: a name holds what a path or Hydra could not read back, as ``=`` does.
        """
        for key in ("experiment", "variant", "data", "protocol", "tag"):
            name = getattr(self, key)
            if not re.fullmatch(r"\w[\w./+-]*" if key != "tag" else r"(\w[\w.+-]*)?", name):
                raise MerError(f"{key}={name!r} names a folder: letters, digits and . _ + - only")
        variant = f"{self.variant}.{self.tag}" if self.tag else self.variant
        names = (name.replace("/", ".") for name in (self.experiment, variant, self.data, self.protocol))
        return runs_dir.joinpath(*names, f"seed-{self.seed}")


@dataclass(frozen=True)
class Plan:
    """What decides a run's results, and the folds that make it complete."""

    config: dict[str, Any]
    classes: list[str]
    folds: list[str]
    clips: int
    content: str
    synthetic: bool = False  # drawn faces: whatever shows the results says so
    videos: int = 0  # scored frame by frame; 0 where only clips are classified


def start(run: Path, plan: Plan) -> None:
    """Write plan.yaml, unless the folder was made under another config or from other data.

    Raises:
        MerError: naming the first key that differs; nothing is written then.
    """
    if len({fold_folder(run, fold) for fold in plan.folds}) < len(plan.folds):
        raise MerError(f"{run}: two folds have the same folder; rename a database or a subject")
    text = yaml.safe_dump(vars(plan), sort_keys=False, allow_unicode=True)
    path = run / "plan.yaml"
    if path.exists():
        found = read_plan(run)
        if found == plan:
            return
        states = {state(run, fold) for fold in found.folds}
        if "done" in states:
            raise MerError(
                f"{run}: holds folds made with {_difference(found, plan)}; "
                "pass tag=<name> to keep both, or remove the folder"
            )
        if "running" in states:
            raise MerError(
                f"{run}: another process trains here with {_difference(found, plan)}; "
                "pass tag=<name> to keep both, or stop it"
            )
        for fold in found.folds:  # what failed there says nothing of this config
            (fold_folder(run, fold) / "failed.txt").unlink(missing_ok=True)
    run.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        MerError: there is none, or it cannot be read.
    """
    path = run / "plan.yaml"
    try:
        found = yaml.load(path.read_text(encoding="utf-8"), YAML_LOADER)
        plan = Plan(**found)
        if [type(value) for value in vars(plan).values()] != [dict, list, list, int, str, bool, int]:
            raise TypeError("not a plan")
    except FileNotFoundError as error:
        raise MerError(f"{run}: no run here (no plan.yaml)") from error
    except (TypeError, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise unreadable(path, error) from error
    return plan


def find(runs_dir: Path) -> list[Path]:
    """Every run folder under ``runs_dir``, sorted."""
    return sorted(path.parent for path in runs_dir.glob("*/*/*/*/seed-*/plan.yaml"))


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A config with dotted keys, as on the command line."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _difference(found: Plan, plan: Plan) -> str:
    old, new = flat(found.config), flat(plan.config)
    differing = [key for key in old.keys() | new.keys() if old.get(key, ...) != new.get(key, ...)]
    if differing:
        # A null that became a group is told by the group's keys.
        key = min(differing, key=lambda name: (old.get(name) == new.get(name), name))
        return f"{key}={old.get(key, 'absent')}, now {new.get(key, 'absent')}"
    if found.content != plan.content:
        return f"other data (content {found.content[:8]}, now {plan.content[:8]})"
    names = [
        name
        for name in ("classes", "folds", "clips", "videos")
        if getattr(found, name) != getattr(plan, name)
    ]
    return f"other {' and '.join(names)}"
