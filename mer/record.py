"""The record of a run, to be run again: its config made safe, and what has changed since. No torch.

The record's resolved config is what counts, not the configs of today: a default that was edited since changes
nothing, and is told. A record may come from somebody else, so it is data: it names readers, protocols and
networks of ours, or of a package that is trusted by name, and does not say where anything is written.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from mer import config, runs
from mer.errors import MerError
from mer.packaged import config_dir
from mer.targets import TRUSTED, check_targets

COLLECTED = ("mer", "commit", "diff", "python", "platform", "cpu")


def recorded_config(
    record: Mapping[str, Any], where: str, *, trusted: Sequence[str] = TRUSTED
) -> tuple[DictConfig, list[str]]:
    """The config of a record, safe to run here, and what is to be said of it.

    Args:
        record: a fold's run.yaml.
        where: the file, for messages.
        trusted: packages whose classes and functions it may name.

    Raises:
        MerError: it has no config, or one that names what a record may not.
    """
    found = record.get("config")
    if not isinstance(found, dict):
        raise MerError(f"{where}: holds no config; it was written by another version, and cannot be run")
    check_targets(found, where, trusted=trusted)
    _check_places(found, where, trusted)
    cfg = OmegaConf.create(found)
    for key, value in runs.flat(found).items():
        # Of the machine of then: this one's own settings say where its data lie.
        if key == "faces.landmarks" or key.startswith("data."):
            place = Path(value).expanduser() if isinstance(value, str) else Path()
            if place.is_absolute() and not place.exists():
                OmegaConf.update(cfg, key, None)
    cfg.logger = None  # a repetition is no new result
    cfg.tag = None
    # Which engine `auto` was then: the device says it.
    cfg.engine = "ensemble" if "together" in str(record.get("device")) else "processes"
    cfg.device = "auto"
    return cfg, _config_notes(record, cfg)


def environment_notes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """What differs from the code and the machine that made the records."""
    code = config.provenance()
    now = _environment(code)
    notes: dict[str, None] = {}  # in order, each once
    for record in records:
        then = _environment(record)
        commit = then.get("commit", "unknown")[:12]
        if then.get("diff", "") != now.get("diff", "") or (record.get("dirty") and "diff" not in then):
            if record.get("dirty"):
                what = f"the record's code was changed from commit {commit}, which alone does not hold it"
                notes[what] = None
            if code["dirty"]:
                notes["the code that runs now has changes that are not committed"] = None
        if commit != (ours := now["commit"][:12]):
            notes[f"commit {commit} then, {ours} now; `git checkout {commit}` brings that code back"] = None
        for name in sorted(then.keys() & now.keys() - {"diff", "commit"}):
            if then[name] != now[name]:
                notes[f"{name} {then[name]} then, {now[name]} now"] = None
    return list(notes)


def _check_places(found: Mapping[str, Any], where: str, trusted: Sequence[str]) -> None:
    """Refuse a function that is no reader or protocol: they are called with whatever stands beside them."""
    nodes = {"data": (found.get("data") or {}).get("clips"), "protocol": found.get("protocol")}
    for group, node in nodes.items():
        if not isinstance(node, Mapping):
            raise MerError(f"{where}: holds no config of a {group}; another version wrote it")
        target = str(node.get("_target_"))
        own = [name for name in trusted if name not in TRUSTED]
        if any(target.startswith(f"{name.rstrip('.')}.") for name in own):
            continue
        key = "data.clips" if group == "data" else group
        if target not in _shipped_targets(group):
            raise MerError(
                f"{where}: {key}._target_={target}: no {'reader' if group == 'data' else 'protocol'} of conf/"
                f"{group}/*.yaml; pass --trust <package> if it is your own"
            )
        if target.endswith(".write_and_read") and "root" in node:
            raise MerError(f"{where}: data.clips.root: a record may not say where drawn data are written")


def _shipped_targets(group: str) -> set[str]:
    """What the shipped configs of a group name."""
    texts = [path.read_text(encoding="utf-8") for path in (config_dir() / group).glob("*.yaml")]
    return {target for text in texts for target in re.findall(r"_target_: (\S+)", text)}


def _config_notes(record: Mapping[str, Any], cfg: DictConfig) -> list[str]:
    """How the configs of today differ from the record's; fills in what the record does not know."""
    overrides = [
        str(override)
        for override in record.get("overrides") or []
        if not str(override).lstrip("+~").startswith(("hydra", "logger"))
    ]
    notes = []
    try:
        today = config.compose(overrides)
        old, new = runs.flat(config.deciding(cfg)), runs.flat(config.deciding(today))
    except MerError as error:
        notes.append(
            f"the configs of today do not compose its command line ({error}); its own config is used"
        )
        today, old, new = config.compose([]), {}, {}
    notes += [
        f"{key}={old.get(key, 'absent')} in the record, {new.get(key, 'absent')} by the configs of today; "
        "the record's is used"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, ...) != new.get(key, ...)
        and key.split(".")[0] in cfg
        and not key.startswith("data.clips.")
    ]
    # The code reads keys that came later.
    for name in map(str, today):
        if name not in cfg:
            cfg[name] = today[name]
            if name not in runs.NEUTRAL_KEYS:
                notes.append(
                    f"{name}={today[name]} by the configs of today; the record does not have this key"
                )
    return notes


def _environment(record: Mapping[str, Any]) -> dict[str, str]:
    """What of a record, or of `mer.config.provenance`, says which code ran where."""
    found = {name: str(record[name]) for name in COLLECTED if record.get(name)}
    found |= {str(name): str(version) for name, version in (record.get("versions") or {}).items()}
    return found
