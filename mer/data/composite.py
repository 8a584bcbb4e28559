"""Several databases as one clip table: for training on some and testing on others, or on all together."""

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

import pandas as pd

from mer.data.clips import validate
from mer.data.database import DatabaseData
from mer.data.findings import Finding, Reading, as_reading
from mer.data.label_sets import apply_labels, labels_of
from mer.data.roots import find_root
from mer.errors import MerError


def read_clips(
    *,
    databases: Sequence[str],
    labels: str | Mapping[str, str],
    roots: Mapping[str, str | None] | None = None,
    frames: str | None = None,
) -> Reading:
    """The clip table of several databases, labelled by class.

    Args:
        databases: names of data configs, each with a reader ``mer.data.<name>.read_clips``.
        labels: the label set of all, such as ``4class``, or of each by its name.
        roots: their folders; a missing one is looked for as ``MER_ROOT_<DATABASE>`` and in conf/roots.yaml.
        frames: layout of all; None is each reader's default.

    Raises:
        MerError: an unknown database or label set, or whatever a reader says.
    """
    if not databases or len(set(databases)) < len(databases):
        raise MerError(f"data.clips.databases={list(databases)}: name each database once")
    tables: list[pd.DataFrame] = []
    findings: list[Finding] = []
    for name in databases:
        wanted = labels if isinstance(labels, str) else labels.get(name)
        reader = _reader(name)
        options = {} if frames is None else {"frames": frames}
        root = find_root(name, (roots or {}).get(name), key=f"+data.clips.roots.{name}")
        reading = as_reading(reader(root, **options))
        tables.append(apply_labels(reading.clips, *labels_of(name, wanted), name)[0])
        findings += reading.findings
    return Reading(validate(pd.concat(tables, ignore_index=True), "composite"), findings, {})


def _reader(name: str) -> Callable[..., Reading | pd.DataFrame]:
    try:
        found: Callable[..., Reading | pd.DataFrame] = import_module(f"mer.data.{name}").read_clips
    except (ImportError, AttributeError) as error:
        raise MerError(f"data.clips.databases: no reader mer.data.{name}.read_clips") from error
    return found


class CompositeDataModule(DatabaseData):
    """One leave-one-subject-out fold of several databases; see ``read_clips`` and ``DatabaseData``."""

    database = "composite"
    has_root = False
    read_clips = staticmethod(read_clips)
