"""Reads the .wandb file of an offline run: a LevelDB log of protobuf records.

``wandb.sdk.internal.datastore``, which read it, is gone since wandb 0.31.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

FILE_HEADER = 7  # ":W&B", a magic number, a version
BLOCK = 32 * 1024
HEADER = 7  # checksum (4 bytes), length (2), type (1)
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass
class Logged:
    """What a run logged."""

    id: str = ""
    name: str = ""
    group: str = ""
    job_type: str = ""
    project: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


def read_offline_run(folder: Path) -> Logged:
    """The one .wandb file in ``folder``."""
    (path,) = folder.glob("*.wandb")
    logged = Logged()
    for data in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]  # made at import
        record.ParseFromString(data)
        if record.HasField("run"):
            run = record.run
            logged.id, logged.name, logged.group = run.run_id, run.display_name, run.run_group
            logged.job_type, logged.project, logged.tags = run.job_type, run.project, list(run.tags)
            logged.config |= items(run.config.update)
        elif record.HasField("config"):
            logged.config |= items(record.config.update)
        elif record.HasField("history"):
            logged.history.append(items(record.history.item))
        elif record.HasField("summary"):
            logged.summary |= items(record.summary.update)
    return logged


def records(data: bytes) -> Iterator[bytes]:
    """The records of a log, those that span blocks joined."""
    assert data[:4] == b":W&B"
    parts: list[bytes] = []
    place = FILE_HEADER
    while place + HEADER <= len(data):
        if BLOCK - place % BLOCK < HEADER:  # zeros fill a block's end
            place += BLOCK - place % BLOCK
            continue
        length = int.from_bytes(data[place + 4 : place + 6], "little")
        kind = data[place + 6]
        parts.append(data[place + HEADER : place + HEADER + length])
        place += HEADER + length
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = []
        else:
            assert kind in (FIRST, MIDDLE), kind


def items(update: Any) -> dict[str, Any]:
    """Key -> value of a protobuf update; nested keys are joined with a slash."""
    return {"/".join(item.nested_key) or item.key: value(item) for item in update}


def value(item: Any) -> Any:
    """The value of an item, of which newer fields are typed."""
    which = item.WhichOneof("value_type") if "value_type" in item.DESCRIPTOR.oneofs_by_name else None
    if which in (None, "value_json", "json"):
        text = item.value_json or (item.json if which == "json" else "")
        return json.loads(text)
    return None if which == "none" else getattr(item, which)
