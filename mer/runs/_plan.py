"""What a run is: the key that names its folder, and the plan that says what decides its results."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mer.errors import MerError
from mer.runs._fold import fold_folder, state, unwritable
from mer.runs._seal import read_sealed, write_sealed

BASE_VARIANT = "base"  # the experiment as its own file has it
# They do not change a result.
NEUTRAL_KEYS = {
    *("workers", "device", "runs_dir", "logger", "data.root", "faces.landmarks", "strict", "save_checkpoint"),
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
        MerError: naming the first key that differs; nothing is written then. Or nothing can be written there.
    """
    if len({fold_folder(run, fold) for fold in plan.folds}) < len(plan.folds):
        raise MerError(f"{run}: two folds have the same folder; rename a database or a subject")
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
    try:
        run.mkdir(parents=True, exist_ok=True)
        write_sealed(path, vars(plan))
    except OSError as error:
        raise unwritable(run, error) from error


def read_plan(run: Path) -> Plan:
    """The plan of a run folder.

    Raises:
        MerError: there is none, or it cannot be read.
    """
    path = run / "plan.yaml"
    try:
        plan = Plan(**read_sealed(path))
        if [type(value) for value in vars(plan).values()] != [dict, list, list, int, str, bool, int]:
            raise TypeError("not a plan")
        _check_names(plan)
    except FileNotFoundError as error:
        raise MerError(f"{run}: no run here (no plan.yaml)") from error
    except PermissionError as error:
        raise MerError(f"{path}: may not be read (permission denied)") from error
    except (TypeError, yaml.YAMLError, ValueError, OSError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        # The folds' own records say what they were made with, and are compared with the new plan.
        raise MerError(
            f"{path}: damaged ({why}); remove this file and run the same command again: "
            "the folds that are finished are kept"
        ) from error
    return plan


def finished_plan(run: Path) -> Plan | None:
    """The plan of a run whose folds are all done; None where there is no run, or a fold is missing.

    Raises:
        MerError: the plan cannot be read.
    """
    if not (run / "plan.yaml").exists():
        return None
    plan = read_plan(run)
    return plan if all(state(run, fold) == "done" for fold in plan.folds) else None


def _check_names(plan: Plan) -> None:
    """Raise ValueError for what cannot name a class or a folder: only a hand writes such a plan."""
    names = [*plan.classes, *plan.folds]
    if not all(isinstance(name, str) and "\0" not in name for name in names) or not all(
        0 < len(name.encode()) <= 200 for name in names
    ):
        raise ValueError("classes and folds are not all names")
    if len(set(plan.classes)) < len(plan.classes) or len(set(plan.folds)) < len(plan.folds):
        raise ValueError("a class or a fold stands twice")
    if not plan.folds or min(plan.clips, plan.videos) < 0:
        raise ValueError("no folds, or fewer than no clips")


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
