"""What Hydra composed: which run it names, what of it decides a result, and its errors in one line."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import hydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mer.errors import MerError
from mer.packaged import config_dir
from mer.runs import BASE_VARIANT, NEUTRAL_KEYS, RunKey

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
)


def compose(overrides: Sequence[str]) -> DictConfig:
    """The config that `mer train` would run under these overrides.

    Raises:
        MerError: a wrong override, in one line.
    """
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            return hydra.compose("train", overrides=with_own_configs(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise explain(error) from error


def with_own_configs(overrides: Sequence[str]) -> list[str]:
    """Add the user's own conf/ to Hydra's search path, where there is one beside their work."""
    own = Path.cwd() / "conf"
    if not own.is_dir() or own.resolve() == config_dir().resolve():
        return list(overrides)
    return [*overrides, f"hydra.searchpath=['file://{own}']"]


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
    other = [override for override in overrides if not _is_known(override)]
    tag = cfg.tag or ""
    if other and not tag:
        text = json.dumps(deciding(cfg), sort_keys=True)
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
        tag=str(tag),
    )


def deciding(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config without the seed, the fold and what does not change a result."""
    plain = resolved(cfg)
    for key in [*NEUTRAL_KEYS, "seed", "fold", "tag"]:
        *path, last = key.split(".")
        node = plain
        for part in path:
            node = node.get(part, {})
        node.pop(last, None)
    return plain


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config as plain dicts and lists, interpolations resolved."""
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def factory(cfg: Mapping[str, Any] | DictConfig, base: type | tuple[type, ...], key: str) -> "partial[Any]":
    """``_target_`` with its keywords, as a picklable partial that worker processes can call.

    Raises:
        MerError: no such class, or one that is no ``base``.
    """
    target, found, keywords = _locate(cfg, key)
    if not (isinstance(found, type) and issubclass(found, base)):
        bases = base if isinstance(base, tuple) else (base,)
        kinds = " or ".join(f"{kind.__module__}.{kind.__name__}" for kind in bases)
        raise MerError(f"{key}._target_={target}: not a {kinds}")
    return partial(found, **keywords)


def function(cfg: Mapping[str, Any] | DictConfig, key: str) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that ``_target_`` names, and the keywords beside it.

    Raises:
        MerError: no such function.
    """
    target, found, keywords = _locate(cfg, key)
    if not callable(found):
        raise MerError(f"{key}._target_={target}: not a function")
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
    """Versions and commit of the code that runs, for the record."""
    home = Path(__file__).parents[1]
    # An installed package may lie inside somebody else's repository.
    ours = _git(home, "rev-parse", "--show-toplevel") == str(home.resolve())
    commit = _git(home, "rev-parse", "HEAD") if ours else ""
    dirty = ours and _git(home, "status", "--porcelain", "--untracked-files=no")
    return {
        "mer": version("mer-lab"),
        "commit": commit or "unknown",
        "dirty": bool(dirty),
        "versions": {name: version(name) for name in _PACKAGES},
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
        return MerError(f"{top}={wanted}: no such config; there are {', '.join(names(top))}")
    if unknown := re.search(r"Could not override '([^']+)'|full_key: (\S+)", text):
        key = unknown[1] or unknown[2]
        return MerError(f"unknown config key {key!r}; `mer train --cfg job` prints those that there are")
    return MerError(f"config: {text}")


def is_config_error(error: BaseException) -> bool:
    """Whether :func:`explain` can say more than a traceback."""
    return isinstance(error, HydraException | OmegaConfBaseException)


def _locate(cfg: Mapping[str, Any] | DictConfig, key: str) -> tuple[str, Any, dict[str, Any]]:
    if "_target_" not in cfg:
        where = f"conf/{key.split('.')[0]}/*.yaml"
        raise MerError(f"{key} has no _target_, which names the class or function as in {where}")
    target = str(cfg["_target_"])
    module, _, name = target.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise MerError(f"{key}._target_={target}: cannot be imported ({error})") from error
    keywords = {str(name): value for name, value in cfg.items() if name not in ("_target_", "_partial_")}
    return target, found, keywords


def _is_known(override: str) -> bool:
    key = override.lstrip("+~").split("=")[0].split("@")[0]
    return key in PATH_KEYS | NEUTRAL_KEYS or key.split(".")[0] in ("logger", "hydra")


def _git(folder: Path, *command: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *command], capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
