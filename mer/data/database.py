"""A database's data module, for use without Hydra; each database has a thin subclass."""

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
from torch import nn

from mer.augment import Augmentation
from mer.data import splits
from mer.data.encoded import encode
from mer.data.faces import FaceOptions
from mer.data.findings import Reading, as_reading
from mer.data.label_sets import apply_labels, labels_of
from mer.data.module import FoldData, Order
from mer.data.preparation import Apex, make_ready
from mer.data.roots import find_root
from mer.errors import MerError


class DatabaseData(FoldData):
    """One leave-one-subject-out fold of a database, from its folder to batches.

    ``findings`` lists what is not as it should be in its files, and what happened to it.

    Args:
        root: the database's folder; None looks at ``MER_ROOT_<DATABASE>`` and conf/roots.yaml.
        fold: ``<database>/<subject>`` or ``#n``.
        labels: a label set of conf/data/<database>.yaml, such as ``4class``; None is its default.
        encoding: a module of ``mer.encodings``, or None where the database holds encoded images.
        faces: how faces are found in frames that are not cropped; None uses all frames as they are.
        apex: whether a missing apex is spotted: see ``make_ready``.
        validation: share of the training subjects that is kept for validation.
        batch_size, order, augment, seed: see :class:`FoldData`.
        reader: options of the database's ``read_clips``, such as ``frames="original"``.

    Raises:
        MerError: bad input, as the parts say.
    """

    database: ClassVar[str]
    has_root: ClassVar[bool] = True  # False where the reader finds its folders itself

    @staticmethod
    def read_clips(*args: Any, **kwargs: Any) -> Reading | pd.DataFrame:
        """The clip table of the database's folder; a subclass sets it to ``staticmethod(read_clips)``."""
        raise NotImplementedError

    def __init__(
        self,
        *,
        root: str | Path | None = None,
        fold: str = "#0",
        labels: str | None = None,
        encoding: nn.Module | None = None,
        faces: FaceOptions | None = None,
        apex: Apex = "spot_missing",
        validation: float = 0.0,
        batch_size: int = 256,
        order: Order = "shuffled",
        augment: Augmentation | None = None,
        seed: int = 0,
        **reader: Any,
    ) -> None:
        if fold == "all":
            raise MerError("fold=all: a data module holds one fold; name it, or give its position as in #0")
        if root is not None and not self.has_root:
            raise MerError(f"{self.database}: has no folder of its own; name those of its databases")
        folders = [find_root(self.database, root)] if self.has_root else []
        # Of the class, not of self: a plain function in a subclass must not become a method.
        clips, findings, *_ = as_reading(type(self).read_clips(*folders, **reader))
        source = folders[0] if folders else self.database
        clips, classes = apply_labels(clips, *labels_of(self.database, labels), source)
        ready = make_ready(clips, encoding, faces=faces, apex=apex)
        self.findings = [*findings, *ready.findings]
        super().__init__(
            clips=ready.clips,
            classes=classes,
            split=splits.select(splits.loso(ready.clips, validation=validation), fold)[0],
            encoded=encode(ready.clips, encoding, faces=ready.faces),
            batch_size=batch_size,
            order=order,
            augment=augment,
            seed=seed,
        )
