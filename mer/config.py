"""What Hydra composed: which run it names, what of it decides a result, and its errors in one line."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import hydra
import yaml
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException

from mer.errors import MerError
from mer.packaged import config_dir
from mer.runs import BASE_VARIANT, NEUTRAL_KEYS, RunKey
from mer.targets import check_function, check_keywords, check_value, locate
from mer.targets import check_target as check_target
from mer.targets import check_targets as check_targets

# What the code reads of a config, whoever wrote it. Ranges and choices are said where they matter.
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("data", "data.clips", "protocol", "network", "task", "optimizer", "faces"), Mapping),
    **dict.fromkeys(("encoding", "augment", "scheduler", "logger"), Mapping | None),
    **dict.fromkeys(("seed", "epochs", "batch_size", "checkpoint_every"), int),
    **dict.fromkeys(("strict", "save_checkpoint", "faces.align"), bool),
    **dict.fromkeys(("order", "class_weights", "apex", "store", "engine", "device", "runs_dir"), str),
    **dict.fromkeys(("data.name", "data.control", "faces.method"), str),
    **dict.fromkeys(("fold", "workers"), str | int),
    **dict.fromkeys(("init", "faces.landmarks"), str | None),
    "tag": str | int | float | None,
    "faces.margins": Sequence[int],
    "data.classes": Sequence[str] | None,
    "data.label_map": Mapping[str, str | None] | None,
}
ORDERS = ("shuffled", "balanced", "release")
# Keys that name the run folder.
PATH_KEYS = {"experiment", "variant", "data", "protocol", "seed", "fold", "tag"}
T = TypeVar("T")

_PACKAGES = (
    "torch",
    "pytorch-lightning",
    "numpy",
    "pandas",
    "kornia",
    "opencv-contrib-python",
    "hydra-core",
    "scikit-learn",
    "scipy",
    "torchvision",
    "pyarrow",
)
_EXTRAS = ("numba",)  # what decides a result where it is installed


def compose(overrides: Sequence[str]) -> DictConfig:
    """The config that `mer train` would run under these overrides.

    Raises:
        MerError: a wrong override, in one line; or as :func:`check`.
    """
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra.compose("train", overrides=with_own_configs(overrides))
    except Exception as error:
        if not is_config_error(error):
            raise
        raise explain(error) from error
    check(cfg)
    return cfg


def check(cfg: DictConfig) -> None:
    """Refuse a config without what every run reads, or with a value of another type.

    Raises:
        MerError: naming the key; an interpolation that leads nowhere, or to itself.
    """
    plain = resolved(cfg)
    for key, hint in _TYPES.items():
        node: Any = plain
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                raise MerError(f"{key}: missing from the config; `mer train --cfg job` prints what there is")
            node = node[part]
        check_value(key, node, hint)
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", plain["device"]):
        raise MerError(f"device={plain['device']!r}: choose auto, cpu, cuda, cuda:<number> or mps")
    if plain["order"] not in ORDERS:
        raise MerError(f"order={plain['order']!r}: choose {', '.join(ORDERS)}")
    if strange := plain["faces"].keys() - {"method", "margins", "align", "landmarks"}:
        raise MerError(f"unknown config key 'faces.{min(map(str, strange))}'")


def with_own_configs(overrides: Sequence[str]) -> list[str]:
    """Add the user's own conf/ to Hydra's search path, where there is one beside their work.

    Python files beside it can then be imported: they are what its YAML names.
    """
    own = Path.cwd() / "conf"
    if not own.is_dir() or own.resolve() == config_dir().resolve():
        return list(overrides)
    if str(own.parent) not in sys.path:
        sys.path.append(str(own.parent))  # last: no file of theirs takes the place of a package
    if any(override.startswith("hydra.searchpath=") for override in overrides):
        return list(overrides)  # the user's own, which a second one would replace
    path = str(own).replace("\\", "\\\\").replace("'", "\\'")
    return [*overrides, f"hydra.searchpath=['file://{path}']"]


def names(group: str) -> list[str]:
    """The configs of a group, ours and those in the user's own conf/: ``<name>`` or ``<folder>/<name>``."""
    folders = {config_dir() / group, Path.cwd() / "conf" / group}
    return sorted(
        {
            path.relative_to(folder).with_suffix("").as_posix()
            for folder in folders
            for path in folder.rglob("*.yaml")
        }
    )


def run_key(cfg: DictConfig, choices: Mapping[str, str | None], overrides: Sequence[str]) -> RunKey:
    """The run that a composed config is.

    Any override outside the path keys and the neutral ones adds a tag: the user's, or 8 hex digits of
    the config's hash, so that two configs never meet in one folder.
    """
    check(cfg)
    other = [override for override in overrides if not _is_known(override)]
    tag = "" if cfg.tag is None else str(cfg.tag)
    if other and not tag:
        try:
            text = json.dumps(deciding(cfg), sort_keys=True)
        except TypeError as error:  # keys of several types, or bytes
            raise MerError(f"config: it holds what no record can ({error}); use texts and numbers") from error
        tag = hashlib.sha256(text.encode()).hexdigest()[:8]
    variant = choices.get("variant") or BASE_VARIANT
    experiment = choices.get("experiment") or "custom"
    if "/" in variant and (owner := variant.split("/")[0]) != experiment:
        raise MerError(f"variant={variant} belongs to experiment={owner}, not to {experiment}")
    return RunKey(
        experiment=experiment,
        variant=variant.split("/")[-1],
        data=str(choices["data"]),
        protocol=str(choices["protocol"]),
        seed=int(cfg.seed),
        tag=tag,
    )


def deciding(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config without the seed, the fold and what does not change a result.

    Raises:
        MerError: as :func:`resolved`.
    """
    plain = resolved(cfg)
    for key in [*NEUTRAL_KEYS, "seed", "fold", "tag"]:
        *path, last = key.split(".")
        node = plain
        for part in path:
            node = node.get(part, {})
        node.pop(last, None)
    if plain.get("duplicates") == "error":
        del plain["duplicates"]  # only a run that was let through is another one
    return plain


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dicts and lists, interpolations resolved.

    Raises:
        MerError: an interpolation that leads nowhere, or to itself; a mandatory key (``???``) without value.
    """
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except Exception as error:
        if not is_config_error(error):
            raise
        raise explain(error) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def factory(cfg: Mapping[str, Any] | DictConfig, base: type | tuple[type, ...], key: str) -> "partial[Any]":
    """``_target_`` with its keywords, as a picklable partial that worker processes can call.

    Raises:
        MerError: no such class, or one that is no ``base``.
    """
    target, keywords = _target(cfg, key)
    found = locate(target, key)
    if not (isinstance(found, type) and issubclass(found, base)):
        bases = base if isinstance(base, tuple) else (base,)
        kinds = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in bases)
        raise MerError(f"{key}._target_={target}: not a {kinds}")
    check_keywords(found, keywords, key)
    return partial(found, **keywords)


def function(cfg: Mapping[str, Any] | DictConfig, key: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that ``_target_`` names, and the keywords beside it.

    Raises:
        MerError: no such function.
    """
    target, keywords = _target(cfg, key)
    found = locate(target, key)
    check_function(target, found, key)
    check_keywords(found, keywords, key)
    return found, keywords


def call(made: Callable[..., T], key: str, *arguments: Any, **keywords: Any) -> T:
    """Call what :func:`function` or :func:`factory` gave.

    Raises:
        MerError: a keyword that it does not have, naming the config key.
    """
    try:
        return made(*arguments, **keywords)
    except TypeError as error:
        if "unexpected keyword" not in str(error):
            raise
        raise MerError(f"{key}: {error}") from error


def provenance() -> dict[str, Any]:
    """Versions and commit of the code that runs, and the machine, for the record.

    ``diff`` is the sha256 of what a dirty checkout changes of its commit, else empty.
    """
    home = Path(__file__).parents[1]
    # An installed package may lie inside somebody else's repository.
    ours = _git(home, "rev-parse", "--show-toplevel") == str(home.resolve())
    commit = _git(home, "rev-parse", "HEAD") if ours else ""
    dirty = ours and _git(home, "status", "--porcelain", "--untracked-files=no")
    diff = (
        hashlib.sha256(_git(home, "diff", "--no-color", "--no-ext-diff", "HEAD").encode()).hexdigest()
        if dirty
        else ""
    )
    return {
        "mer": version("mer-lab"),
        "commit": commit or "unknown",
        "dirty": bool(dirty),
        "diff": diff,
        "versions": {name: version(name) for name in (*_PACKAGES, *filter(find_spec, _EXTRAS))},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
    }


def explain(error: BaseException) -> MerError:
    """An error of Hydra or OmegaConf as one line that says which key and what to do."""
    if isinstance(error, OverrideParseException):
        return MerError(
            f"cannot read the override {error.override!r}: quote a value with special characters twice, "
            "as in 'data.root=\"/data/CAS(ME)^2\"'"
        )
    text = " ".join(str(error).split())
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        top = group.split("/")[0] or "conf"
        wanted = f"{group}/{name}".removeprefix(f"{top}/")
        if group == "hydra/launcher":
            own = ", ".join(names(group))
            return MerError(
                f"{group}={name}: no such launcher; there are {own}, which need Hydra's plugins: "
                "pip install -c constraints.txt -e '.[cluster]'"
            )
        folder = f"{wanted.rpartition('/')[0]}/"  # of variant=demo/x those of demo
        there = [name for name in names(top) if name.startswith(folder)] or names(top)
        return MerError(f"{top}={wanted}: no such config; there are {', '.join(there)}")
    if isinstance(error, InterpolationResolutionError):
        why = (str(error).splitlines() or ["${...} cannot be resolved"])[0]
        return MerError(f"config: {error.full_key or '${...}'}: {why}")
    if isinstance(error, RecursionError):
        return MerError("config: an interpolation ${...} leads back to itself, or lists lie too deep")
    if "Config group override must be" in text:
        return MerError(
            "config: a group such as data, network or encoding takes the name of a config; null is for "
            "experiment, variant and logger, and encoding=none and augment=none turn these off"
        )
    if ambiguous := re.search(r"Ambiguous value for argument '(.*)' 1\. To use it as a list", text):
        key, _, value = ambiguous[1].partition("=")
        return MerError(f"{ambiguous[1]}: -m makes it a sweep; {key}=[{value}] is one list")
    if unknown := re.search(r"Could not override '([^']+)'|full_key: (\S+)", text):
        key = unknown[1] or unknown[2]
        return MerError(f"unknown config key {key!r}; `mer train --cfg job` prints those that there are")
    return MerError(f"config: {text}")


def is_config_error(error: BaseException) -> bool:
    """Whether :func:`explain` can say more than a traceback."""
    if isinstance(error, ValueError) and "Config group override" in str(error):
        return True
    return isinstance(
        error, HydraException | OmegaConfBaseException | yaml.YAMLError | UnicodeDecodeError | RecursionError
    )


def _target(cfg: object, key: str) -> tuple[str, dict[str, Any]]:
    """``_target_`` and the keywords beside it, plain."""
    plain = OmegaConf.to_container(cfg, resolve=True) if isinstance(cfg, DictConfig) else cfg
    if not isinstance(plain, Mapping) or "_target_" not in plain:
        where = f"conf/{key.split('.')[0]}/*.yaml"
        raise MerError(f"{key} has no _target_, which names the class or function as in {where}")
    target = str(plain["_target_"])
    return target, {
        str(name): value for name, value in plain.items() if name not in ("_target_", "_partial_")
    }


def _is_known(override: str) -> bool:
    key = override.lstrip("+~").split("=")[0].split("@")[0]
    return key in PATH_KEYS | NEUTRAL_KEYS or key.split(".")[0] in ("logger", "hydra")


def _cpu() -> str:
    """The processor's name: another one may round another way."""
    try:
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor()


def _git(folder: Path, *command: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
