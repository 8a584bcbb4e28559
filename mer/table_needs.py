"""Which databases a data config reads, and which of them this machine lacks. No torch, no Hydra.

The configs are read as plain YAML: a table is rendered in a second, and most of it needs no data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mer.data.roots import find_root
from mer.errors import MerError, shown
from mer.packaged import config_dir
from mer.yaml_file import read_yaml

# As the papers write them.
NAMES = {
    "casme": "CASME",
    "casme2": "CASME II",
    "casme_sq": "CAS(ME)^2",
    "samm": "SAMM",
    "smic": "SMIC",
    "ckplus": "CK+",
    "megc2019_uvos": "the MEGC 2019 flow images",
}


def takes_root(data: str) -> bool:
    """Whether ``data.root=`` names its folder. A config that is not known here is taken to."""
    section = _section(data)
    return section is None or "root" in section


def databases(data: str) -> dict[str, str | None]:
    """The databases that ``conf/data/<data>.yaml`` reads, with the folder that it names for each.

    A config with a key ``root`` reads its own; others list theirs in ``clips.databases``, or have a key in
    ``clips`` for the folder of each.

    Returns:
        name -> folder, None where it names none; empty for drawn faces, and where there is no such config:
        `mer train` says so.

    Raises:
        MerError: a config that is not YAML.
    """
    section = _section(data) or {}
    if "root" in section:
        return {str(section.get("name", data)): _folder(data, section["root"])}
    clips = section.get("clips")
    if not isinstance(clips, Mapping):
        return {}
    roots = clips.get("roots") or {}
    if not isinstance(roots, Mapping):
        raise MerError(f"data={data}: clips.roots is no mapping of databases to folders")
    if isinstance(listed := clips.get("databases"), list):
        return {str(name): _folder(data, roots.get(str(name))) for name in listed}
    return {name: _folder(data, clips[name]) for name in clips if name in NAMES}


def lacking(data: str) -> dict[str, str]:
    """What this machine lacks of a data config.

    Returns:
        database, as the papers write it, such as ``CASME II`` -> why its folder is not found; empty where
        all are there.

    Raises:
        MerError: a config that is not YAML.
    """
    missing = {}
    for name, root in sorted(databases(data).items()):
        try:
            find_root(name, root)
        except MerError as error:
            missing[NAMES.get(name, name)] = str(error)
    return missing


def _folder(data: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise MerError(f"data={data}: {shown(value)} is no folder")
    return value


def _section(data: str, above: tuple[str, ...] = ()) -> dict[str, Any] | None:
    """The config's content below ``data``, over that of the configs that it starts from; None without one.

    ``above`` are the configs that start from it.
    """
    # The user's own conf/ comes last in Hydra's search path.
    paths = [folder / "data" / f"{data}.yaml" for folder in (config_dir(), Path("conf"))]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        return None
    if data in above:
        raise MerError(f"{path}: starts from itself ({' from '.join([*above, data])})")
    content = read_yaml(path) or {}
    if not isinstance(content, dict):
        raise MerError(f"{path}: a mapping is needed")
    own = content.get("data", content)  # with `# @package _global_`, its keys lie below `data`
    defaults = content.get("defaults") or []
    if not isinstance(own, Mapping) or not isinstance(defaults, list):
        raise MerError(f"{path}: {'defaults' if isinstance(own, Mapping) else 'data'}: does not fit")
    section: dict[str, Any] = {}
    for entry in defaults:
        if isinstance(entry, str) and entry != "_self_":
            section = _merged(section, _section(entry.split("@")[0], (*above, data)) or {})
    return _merged(section, {key: value for key, value in own.items() if key != "defaults"})


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(old, value) if both else value  # type: ignore[arg-type]
    return merged
