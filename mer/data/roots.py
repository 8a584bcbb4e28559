"""Where a database lies on this machine: ``data.root``, ``MER_ROOT_<DATABASE>`` or conf/roots.yaml."""

import os
from pathlib import Path

import yaml

from mer.errors import MerError
from mer.yaml_file import parse_yaml

ROOTS_FILE = Path("conf/roots.yaml")


def find_root(database: str, root: str | Path | None = None, *, key: str = "data.root") -> Path:
    """The folder of a database: ``root`` if given, else the environment, else conf/roots.yaml.

    ``~`` is expanded. ``key`` is the config key that gives ``root``, for the messages.

    Raises:
        MerError: nothing names the folder, or it does not exist.
    """
    variable = f"MER_ROOT_{database.upper()}"
    # An empty text names no folder: Path("") would be the current one.
    named_by, value = key, str(root or "")
    if not value:
        named_by, value = variable, os.environ.get(variable, "")
    if not value:
        named_by, value = f"{ROOTS_FILE}, key {database}", _from_file(database)
    if not value:
        raise MerError(
            f"{database}: its folder is not known; pass {key}=/path/to/{database}, "
            f"or set {variable}, or write '{database}: /path' into {ROOTS_FILE}"
        )
    try:
        path = Path(value).expanduser()
    except RuntimeError as error:
        raise MerError(f"{value}: no such user ({named_by}); write the path in full") from error
    try:
        there = path.is_dir()
    except OSError:  # a name may be too long for the disk
        there = False
    if not there:
        raise MerError(f"{path}: no such folder ({named_by}); it should be the folder of {database}")
    return path


def cache_dir() -> Path:
    """``MER_CACHE``, else ``~/.cache/mer``: encoded sets and the synthetic database, safe to delete."""
    return Path(os.environ.get("MER_CACHE") or "~/.cache/mer").expanduser()


def _from_file(database: str) -> str:
    if not ROOTS_FILE.is_file():
        return ""
    try:
        roots = parse_yaml(ROOTS_FILE.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, ValueError, OSError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MerError(f"{ROOTS_FILE}: not YAML ({reason}); write '{database}: /path'") from error
    if not isinstance(roots, dict):
        raise MerError(f"{ROOTS_FILE}: expected lines such as '{database}: /path/to/{database}'")
    return str(roots.get(database) or "")
