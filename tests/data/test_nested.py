"""The inner folds of a nested search: who is where, and that a group's subjects are nowhere."""

from pathlib import Path

import pandas as pd
import pytest

from mer.data.megc2019_uvos import read_clips
from mer.data.nested import inner
from mer.data.splits import check, subject_names
from mer.errors import MerError


def clip_table(subjects: int = 12) -> pd.DataFrame:
    """Clips of subjects of two databases that share names."""
    rows = [(f"d{s % 2}", f"s{s // 2}", f"c{n}") for s in range(subjects) for n in range(1 + s % 3)]
    return pd.DataFrame(rows, columns=["database", "subject", "clip"])


def parts(clips: pd.DataFrame, outer: int, **options: int) -> tuple[set[str], list[set[str]]]:
    """The subjects of a group, and those that each of its inner folds tests."""
    subject = subject_names(clips)
    splits = inner(clips, outer=outer, **options)
    check(clips, splits)
    for split in splits:
        assert {*split.train, *split.test} == {row for each in splits for row in each.test}
    tested = [{subject[row] for row in split.test} for split in splits]
    return set(subject) - set().union(*tested), tested


def test_every_subject_is_in_one_group_and_in_one_inner_fold_of_the_others() -> None:
    clips = clip_table()
    groups = []
    for outer in range(3):
        group, tested = parts(clips, outer, groups=3, folds=4)
        assert len(tested) == 4
        assert sum(map(len, tested)) == 12 - len(group), "a subject is tested once"
        groups.append(group)
    assert set.union(*groups) == set(subject_names(clips))
    assert sum(map(len, groups)) == 12


def test_databases_are_dealt_evenly() -> None:
    for outer in range(3):
        group, _ = parts(clip_table(), outer, groups=3)
        assert sorted(name.split("/")[0] for name in group) == ["d0", "d0", "d1", "d1"]


def test_the_draw_depends_on_the_seed_alone() -> None:
    clips = clip_table()
    assert inner(clips, outer=1, groups=3) == inner(clips, outer=1, groups=3)
    assert parts(clips, 1, groups=3) != parts(clips, 1, groups=3, seed=1)


def test_the_published_clips(megc2019_uvos: Path) -> None:
    clips = read_clips(megc2019_uvos)
    clips = clips if isinstance(clips, pd.DataFrame) else clips.clips
    groups = [parts(clips, outer)[0] for outer in range(6)]
    assert [len(group) for group in groups] == [12, 12, 11, 11, 11, 11]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outer": 6}, r"protocol\.outer=6: there are 6 groups, 0 to 5"),
        ({"outer": 0, "groups": 1}, "at least 2 of each"),
        ({"outer": 0, "folds": 1}, "at least 2 of each"),
        ({"outer": 0, "groups": 13}, "more than 12 subjects can fill"),
        ({"outer": 0, "groups": 2, "folds": 7}, "more than 12 subjects can fill"),
    ],
)
def test_parts_that_cannot_be_filled(options: dict[str, int], message: str) -> None:
    with pytest.raises(MerError, match=message):
        inner(clip_table(), **options)
