"""Label maps of a database, as its data config has them: the one place where they are written."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.data import clips as clip_table
from mer.errors import MerError
from mer.packaged import config_dir


def labels_of(
    database: str, labels: str | None = None
) -> tuple[list[str] | None, dict[str, str | None] | None]:
    """Classes and label map of ``conf/data/<database>.yaml``, for use without Hydra.

    Args:
        database: name of the data config.
        labels: one of its ``label_sets``; None is its default.

    Returns:
        The classes in the order of their index, and label -> class or None; both None where every label
        of the data is its own class.

    Raises:
        MerError: no such set, naming those that there are.
    """
    loaded = OmegaConf.to_container(OmegaConf.load(config_dir() / "data" / f"{database}.yaml"))
    assert isinstance(loaded, dict)
    data: dict[str, Any] = loaded.get("data", loaded)
    if labels is not None:
        check_labels(database, labels, data.get("label_sets"))
        data["labels"] = labels
    plain = OmegaConf.to_container(OmegaConf.create(data), resolve=True)
    assert isinstance(plain, dict)
    return plain["classes"], plain["label_map"]


def check_labels(database: str, labels: object, sets: Mapping[str, Any] | None) -> None:
    """Raise MerError unless ``labels`` is one of the sets of a data config."""
    if not sets:
        raise MerError(f"data.labels={labels}: {database} has one label map only")
    if labels not in sets:
        raise MerError(f"data.labels={labels}: {database} has {', '.join(sets)}")


def apply_labels(
    clips: pd.DataFrame,
    classes: Sequence[str] | None,
    label_map: Mapping[str, str | None] | None,
    source: object,
) -> tuple[pd.DataFrame, list[str]]:
    """The mapped clip table and its classes; with no map each label is a class, in sorted order.

    Raises:
        MerError: as `mer.data.clips.map_labels`; with no map, two labels that are spelt alike.
    """
    own = sorted(set(clips["label"]))
    if label_map is None and (alike := clip_table.spelt_alike(own)):
        raise MerError(
            f"{source}: the labels {alike[0]!a} and {alike[1]!a} are spelt alike, and each would be a class; "
            "write one of them, or give data.label_map"
        )
    label_map = dict(zip(own, own, strict=True)) if label_map is None else label_map
    if classes is None:
        classes = sorted({name for name in label_map.values() if name is not None})
    return clip_table.map_labels(clips, label_map, classes, str(source)), list(classes)
