"""The inner folds of a nested search: what chooses a configuration has not seen the subjects that test it."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mer.data.splits import Split, subject_names
from mer.errors import MerError

INNER_TAG = "outer-{}"  # of a run over the inner folds of a group; conf/protocol/inner.yaml sets it


def inner(clips: pd.DataFrame, *, outer: int, groups: int = 6, folds: int = 5, seed: int = 0) -> list[Split]:
    """The folds that compare configurations for one group of test subjects, none of whom is in them.

    Subjects are dealt into ``groups``; those of group ``outer`` are left out altogether, and the others are
    dealt into ``folds``, each tested once by networks that were trained on the rest. What does best here may
    be tested on the subjects of the group, leaving one out at a time (the table kind ``nested``). A group in
    place of each single subject (ours): choosing for 68 subjects one by one would take eleven times as long.

    Args:
        clips: a validated, mapped clip table.
        outer: the group, from 0.
        groups: how many there are.
        folds: inner folds, named ``inner/<number>``.
        seed: deals the subjects; each database's among themselves.

    Raises:
        MerError: no such group, or more parts than subjects.
    """
    if min(groups, folds) < 2:
        raise MerError(f"protocol.groups={groups} protocol.folds={folds}: at least 2 of each")
    if not 0 <= outer < groups:
        raise MerError(f"protocol.outer={outer}: there are {groups} groups, 0 to {groups - 1}")
    subject = subject_names(clips)
    dealt = _deal(list(dict.fromkeys(subject)), groups, f"{seed}/groups")
    rest = [name for name, group in dealt.items() if group != outer]
    if len(dealt) < groups or len(rest) < folds:
        raise MerError(
            f"protocol.groups={groups} protocol.folds={folds}: more than {len(dealt)} subjects can fill"
        )
    tested = _deal(rest, folds, f"{seed}/{outer}/folds")
    part = np.array([tested.get(name, -1) for name in subject])
    return [
        Split(
            f"inner/{fold}",
            train=tuple(np.flatnonzero((part >= 0) & (part != fold)).tolist()),
            validation=(),
            test=tuple(np.flatnonzero(part == fold).tolist()),
        )
        for fold in range(folds)
    ]


def _deal(subjects: Sequence[str], parts: int, key: str) -> dict[str, int]:
    """Subject -> part: each database's in a drawn order, one to a part in turn, going on where it ended."""
    generator = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    drawn = [subjects[k] for k in generator.permutation(len(subjects))]
    drawn.sort(key=lambda name: name.split("/")[0])
    part = {name: number % parts for number, name in enumerate(drawn)}
    return {name: part[name] for name in subjects}
