"""(clip table, protocol, fold) -> train, validation and test rows. Pure functions, no torch."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from mer.errors import MerError

HOLDOUT_FOLD = "holdout/all"
Unit = Literal["subject", "clip"]


@dataclass(frozen=True)
class Split:
    """Positions in the clip table. ``fold`` is ``<database>/<subject>`` under leave-one-subject-out.

    ``shared`` names pairs of parts that may share subjects, by the protocol's own definition; every other
    pair is guarded.
    """

    fold: str
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]
    shared: tuple[tuple[str, str], ...] = ()


def loso(
    clips: pd.DataFrame, *, validation: float = 0.0, validation_by: Unit = "subject", seed: int = 0
) -> list[Split]:
    """Leave one subject out: a fold each (database, subject), in the table's order.

    Args:
        clips: a validated, mapped clip table.
        validation: share of the training subjects, or clips, kept for validation, 0..1.
        validation_by: ``subject``: no validation subject is trained on. ``clip``: clips are drawn, as in
            OrigiNet's 80:20 split, so validation knows the faces; the test subject stays apart.
        seed: draws what is validated; each fold draws its own.

    Raises:
        MerError: a share that leaves nothing on one side.
    """
    subject = subject_names(clips)
    if validation_by == "subject":
        return [
            _split(fold, subject, [fold], validation, f"{seed}/{fold}") for fold in dict.fromkeys(subject)
        ]
    if validation_by != "clip":
        raise MerError(f"protocol.validation_by={validation_by!r}: choose subject or clip")
    splits = [_split(fold, subject, [fold], 0.0, "") for fold in dict.fromkeys(subject)]
    return [_hold_clips(split, validation, f"{seed}/{split.fold}/clips") for split in splits]


def lovo(clips: pd.DataFrame) -> list[Split]:
    """Leave one video out: a fold a clip, named ``<database>/<subject>/<clip>``.

    Other clips of the tested subject are trained on, so its face is known: results under it are not
    comparable with leave-one-subject-out.
    """
    rows = range(len(clips))
    names = clips["database"] + "/" + clips["subject"] + "/" + clips["clip"]
    return [
        Split(name, tuple(row for row in rows if row != tested), (), (tested,), shared=(("train", "test"),))
        for tested, name in enumerate(names)
    ]


def cross_dataset(
    clips: pd.DataFrame,
    *,
    train: Sequence[str],
    test: Sequence[str],
    validation: float = 0.0,
    seed: int = 0,
) -> list[Split]:
    """Train on some databases, test on others: one fold, ``<train>-to-<test>/all`` (AffectiveNet's CDE).

    Args:
        clips: a composite's clip table.
        train: databases that are trained on.
        test: databases that are tested; each clip once.
        validation: share of the training subjects kept for validation.
        seed: draws them.

    Raises:
        MerError: a database that is not in the table, or in both lists.
    """
    there = set(clips["database"])
    if lacking := [name for name in (*train, *test) if name not in there]:
        raise MerError(
            f"protocol=cross_dataset: no database {lacking[0]} in the data, "
            f"which has {', '.join(sorted(there))}"
        )
    if both := sorted(set(train) & set(test)):
        raise MerError(f"protocol=cross_dataset: {both[0]} is to be trained on and tested")
    used = clips.index[clips["database"].isin([*train, *test])].tolist()
    subject = subject_names(clips)
    tested = list(dict.fromkeys(subject[row] for row in used if clips["database"].iloc[row] in set(test)))
    fold = f"{'+'.join(train)}-to-{'+'.join(test)}/all"
    split = _split(fold, subject, tested, validation, f"{seed}/validation", rows=used)
    return [split]


def holdout(clips: pd.DataFrame, *, test: float = 0.3, validation: float = 0.0, seed: int = 0) -> list[Split]:
    """One fold: a share ``test`` of the subjects, drawn by ``seed``, is tested once.

    Raises:
        MerError: fewer than two subjects, or a share that leaves no subject on one side.
    """
    subject = subject_names(clips)
    subjects = list(dict.fromkeys(subject))
    drawn = _draw(subjects, test, f"{seed}/test")
    if not drawn or len(drawn) == len(subjects):
        raise MerError(
            f"protocol.test={test} of {len(subjects)} subjects leaves none to train or none to test; "
            "choose another share"
        )
    return [_split(HOLDOUT_FOLD, subject, drawn, validation, f"{seed}/validation")]


def select(splits: Sequence[Split], fold: str) -> list[Split]:
    """The splits that ``fold`` names: ``all``, ``<database>/<subject>``, or ``#n`` (position, from 0).

    Raises:
        MerError: no such fold, with those that exist.
    """
    if fold == "all":
        return list(splits)
    if fold.startswith("#") and fold[1:].isdecimal():
        if int(fold[1:]) < len(splits):
            return [splits[int(fold[1:])]]
        raise MerError(f"fold={fold}: there are {len(splits)} folds, #0 to #{len(splits) - 1}")
    named = [split for split in splits if split.fold == fold]
    if not named:
        raise MerError(f"fold={fold}: no such fold; there are {', '.join(split.fold for split in splits)}")
    return named


def check(clips: pd.DataFrame, splits: Sequence[Split]) -> None:
    """The leak guards: subjects disjoint inside each fold, no clip in two parts of it or tested twice.

    Splits may come from a function of the user's own, so nothing is taken for granted. A protocol may share
    subjects between two parts (``Split.shared``), and never a clip.

    Raises:
        MerError: naming the fold and the subject or clip that leaks; splits that are none, or rows that are
            not of the table.
    """
    _check_form(clips, splits)
    subject = subject_names(clips)
    tested: dict[int, str] = {}
    for split in splits:
        parts = {
            "train": {subject[row] for row in split.train},
            "validation": {subject[row] for row in split.validation},
            "test": {subject[row] for row in split.test},
        }
        for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
            if (one, other) in split.shared:
                if rows := set(getattr(split, one)) & set(getattr(split, other)):
                    name = _clip_name(clips, min(rows))
                    raise MerError(f"leak in fold {split.fold}: clip {name} is in {one} and in {other}")
                continue
            if both := sorted(parts[one] & parts[other]):
                raise MerError(f"leak in fold {split.fold}: subject {both[0]} is in {one} and in {other}")
        if not split.train or not split.test:
            empty = "train" if not split.train else "test"
            raise MerError(
                f"fold {split.fold} has no clip to {empty}; this protocol needs at least two subjects"
            )
        for row in split.test:
            if row in tested:
                raise MerError(
                    f"leak: clip {_clip_name(clips, row)} is tested in fold {tested[row]} "
                    f"and in fold {split.fold}"
                )
            tested[row] = split.fold


def check_complete(clips: pd.DataFrame, splits: Sequence[Split]) -> None:
    """Under LOSO and LOVO each clip is tested exactly once: together with :func:`check`, none is left out.

    Raises:
        MerError: naming the first clip that no fold tests.
    """
    if missing := sorted(set(range(len(clips))) - {row for split in splits for row in split.test}):
        raise MerError(f"clip {_clip_name(clips, missing[0])} is tested in no fold ({len(missing)} such)")


def subject_names(clips: pd.DataFrame) -> list[str]:
    """``<database>/<subject>`` of each clip: one name in two databases is two subjects."""
    return (clips["database"] + "/" + clips["subject"]).tolist()


def _check_form(clips: pd.DataFrame, splits: Sequence[Split]) -> None:
    """Raise MerError unless these are splits of this table; a row of -1 would be the last clip's."""
    if not isinstance(splits, Sequence) or not all(isinstance(split, Split) for split in splits):
        raise MerError("protocol: its function must return a list of mer.data.splits.Split")
    if not splits:
        raise MerError("protocol: there is no fold; it needs clips that it can test")
    for split in splits:
        if not isinstance(split.fold, str) or not split.fold or not split.fold.isprintable():
            raise MerError(
                f"protocol: the fold {split.fold!r} is no name; give <database>/<subject> or another text"
            )
        if not all(
            isinstance(getattr(split, part), tuple) for part in ("train", "validation", "test", "shared")
        ):
            raise MerError(
                f"fold {split.fold}: train, validation, test and shared are tuples; () is for none"
            )
        for row in (*split.train, *split.validation, *split.test):
            if isinstance(row, bool) or not isinstance(row, int | np.integer) or not 0 <= row < len(clips):
                raise MerError(
                    f"fold {split.fold}: row {row} is not in the table of {len(clips)} clips; "
                    "rows are whole numbers from 0"
                )


def _clip_name(clips: pd.DataFrame, row: int) -> str:
    clip = clips.iloc[row]
    return f"{clip['database']}/{clip['subject']}/{clip['clip']}"


def _draw(subjects: Sequence[str], share: float, key: str) -> list[str]:
    if not 0 <= share < 1:
        raise MerError(f"a share of subjects is at least 0 and below 1, not {share}")
    # A generator from text: the draw depends on nothing but its own key.
    generator = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()))
    return [subjects[k] for k in generator.permutation(len(subjects))[: round(share * len(subjects))]]


def _hold_clips(split: Split, validation: float, key: str) -> Split:
    """The split with a share of its training clips kept for validation."""
    drawn = set(_draw([str(row) for row in split.train], validation, key))
    held = tuple(row for row in split.train if str(row) in drawn)
    if validation > 0 and not 0 < len(held) < len(split.train):
        raise MerError(
            f"protocol.validation={validation} of {len(split.train)} clips leaves none to train or none to "
            f"validate in fold {split.fold}; choose another share"
        )
    rest = tuple(row for row in split.train if str(row) not in drawn)
    return Split(split.fold, rest, held, split.test, shared=(("train", "validation"),))


def _split(
    fold: str,
    subject: Sequence[str],
    tested: Sequence[str],
    validation: float,
    key: str,
    rows: Sequence[int] | None = None,
) -> Split:
    rows = range(len(subject)) if rows is None else rows
    rest = [name for name in dict.fromkeys(subject[row] for row in rows) if name not in set(tested)]
    held = set(_draw(rest, validation, key))
    if rest and validation > 0 and not 0 < len(held) < len(rest):
        raise MerError(
            f"protocol.validation={validation} of {len(rest)} subjects leaves none to train or none to "
            f"validate in fold {fold}; choose another share"
        )
    return Split(
        fold,
        train=tuple(row for row in rows if subject[row] not in held and subject[row] not in set(tested)),
        validation=tuple(row for row in rows if subject[row] in held),
        test=tuple(row for row in rows if subject[row] in set(tested)),
    )
