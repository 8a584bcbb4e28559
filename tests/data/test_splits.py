from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from mer.data.clips import validate
from mer.data.megc2019_uvos import read_clips
from mer.data.splits import (
    HOLDOUT_FOLD,
    Split,
    check,
    check_complete,
    cross_dataset,
    holdout,
    loso,
    lovo,
    select,
)
from mer.errors import MerError


def table(subjects: Mapping[str, int]) -> pd.DataFrame:
    """Subject as ``<database>/<subject>`` -> number of clips."""
    return validate(
        pd.DataFrame(
            [
                dict(zip(("database", "subject"), name.split("/"), strict=True))
                | {"clip": f"c{k}", "label": "x", "image": "/i.png"}
                for name, clips in subjects.items()
                for k in range(clips)
            ]
        ).assign(onset=None, apex=None, offset=None, fps=None),
        "t",
    )


@pytest.fixture
def ten() -> pd.DataFrame:
    return table({f"d/s{k}": 1 + k % 3 for k in range(10)})


def test_loso_tests_each_subject_once() -> None:
    clips = table({"a/s2": 1, "a/s1": 2, "b/s1": 2})
    assert loso(clips) == [
        Split("a/s1", train=(2, 3, 4), validation=(), test=(0, 1)),
        Split("a/s2", train=(0, 1, 3, 4), validation=(), test=(2,)),
        Split("b/s1", train=(0, 1, 2), validation=(), test=(3, 4)),
    ]


def test_one_subject_name_in_two_databases_is_two_subjects() -> None:
    clips = table({"a/s1": 2, "b/s1": 2})
    splits = loso(clips)
    assert [split.fold for split in splits] == ["a/s1", "b/s1"]
    check(clips, splits)


def test_loso_of_the_real_clips(megc2019_uvos: Path) -> None:
    clips = read_clips(megc2019_uvos)
    splits = loso(clips)
    check(clips, splits)
    check_complete(clips, splits)
    assert len(splits) == 68
    assert sorted(row for split in splits for row in split.test) == list(range(442))
    assert all(len(split.train) + len(split.test) == 442 for split in splits)


def test_validation_is_a_share_of_the_training_subjects(ten: pd.DataFrame) -> None:
    splits = loso(ten, validation=0.3)
    check(ten, splits)
    check_complete(ten, splits)
    for split in splits:
        assert ten.loc[list(split.validation), "subject"].nunique() == round(0.3 * 9)
        assert len(split.train) + len(split.validation) + len(split.test) == len(ten)


def test_each_fold_draws_its_validation_subjects_by_itself(ten: pd.DataFrame) -> None:
    splits = loso(ten, validation=0.3)
    assert splits == loso(ten, validation=0.3)
    assert splits != loso(ten, validation=0.3, seed=1)
    assert len({frozenset(split.validation) for split in splits}) > 1
    # Another order of folds, as with another subject first, must not change what a fold validates on.
    (alone,) = select(loso(ten, validation=0.3), "d/s4")
    assert alone == splits[4]
    more = table({f"d/s{k}": 1 + k % 3 + (k == 0) for k in range(10)})  # another clip moves all rows by one
    assert names(more, loso(more, validation=0.3)[4]) == names(ten, splits[4])


def names(clips: pd.DataFrame, split: Split) -> set[str]:
    return set(clips.loc[list(split.validation), "subject"])


def test_holdout_is_by_subject(ten: pd.DataFrame) -> None:
    splits = holdout(ten, test=0.3, validation=0.2)
    (split,) = splits
    check(ten, splits)
    assert split.fold == HOLDOUT_FOLD
    assert ten.loc[list(split.test), "subject"].nunique() == 3
    assert ten.loc[list(split.validation), "subject"].nunique() == round(0.2 * 7)
    assert sorted(split.train + split.validation + split.test) == list(range(len(ten)))
    assert splits == holdout(ten, test=0.3, validation=0.2)
    assert len({holdout(ten, test=0.3, seed=seed)[0].test for seed in range(5)}) > 1
    assert holdout(ten, test=0.3)[0].test == split.test, "the share of validation does not move the test"


@pytest.mark.parametrize("test", [0.0, 0.01, 0.99])
def test_a_holdout_with_an_empty_side_is_refused(ten: pd.DataFrame, test: float) -> None:
    with pytest.raises(MerError, match=rf"protocol.test={test} of 10 subjects leaves none"):
        holdout(ten, test=test)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_outside_0_to_1_is_refused(ten: pd.DataFrame, share: float) -> None:
    with pytest.raises(MerError, match="a share of subjects is at least 0 and below 1"):
        loso(ten, validation=share)


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_validation_share_with_an_empty_side_is_refused(ten: pd.DataFrame, share: float) -> None:
    with pytest.raises(MerError, match=rf"protocol.validation={share} of 9 subjects leaves none"):
        loso(ten, validation=share)


def test_select_by_name_position_and_all() -> None:
    splits = loso(table({"a/s1": 1, "a/s2": 1}))
    assert select(splits, "all") == splits
    assert select(splits, "a/s2") == [splits[1]]
    assert select(splits, "#1") == [splits[1]]


@pytest.mark.parametrize("fold", ["a/s3", "s1", "1", "#", "#-1", "#²", ""])
def test_select_lists_the_folds_that_exist(fold: str) -> None:
    with pytest.raises(MerError, match=rf"fold={fold}: no such fold; there are a/s1, a/s2$"):
        select(loso(table({"a/s1": 1, "a/s2": 1})), fold)


def test_select_says_how_many_positions_there_are() -> None:
    with pytest.raises(MerError, match="fold=#2: there are 2 folds, #0 to #1"):
        select(loso(table({"a/s1": 1, "a/s2": 1})), "#2")


# The leak guards: each test makes the leak on purpose.

THREE = {"d/s1": 2, "d/s2": 2, "d/s3": 2}
SOUND = Split("d/s1", train=(2, 3), validation=(4, 5), test=(0, 1))


@pytest.mark.parametrize(
    ("split", "message"),
    [
        (replace(SOUND, train=(1, 2, 3), test=(0,)), "subject d/s1 is in train and in test"),
        (replace(SOUND, train=(2, 3, 4), validation=(5,)), "subject d/s3 is in train and in validation"),
        (replace(SOUND, validation=(1, 4, 5), test=(0,)), "subject d/s1 is in validation and in test"),
        (replace(SOUND, train=()), "fold d/s1 has no clip to train"),
        (replace(SOUND, test=()), "fold d/s1 has no clip to test"),
    ],
)
def test_a_leak_inside_a_fold_is_named(split: Split, message: str) -> None:
    check(table(THREE), [SOUND])
    with pytest.raises(MerError, match=message):
        check(table(THREE), [split])


def test_a_clip_tested_in_two_folds_is_named() -> None:
    clips = table(THREE)
    splits = loso(clips)
    splits[1] = replace(splits[0], fold="again")
    with pytest.raises(MerError, match="leak: clip d/s1/c0 is tested in fold d/s1 and in fold again"):
        check(clips, splits)


def test_a_clip_tested_in_no_fold_is_named() -> None:
    clips = table(THREE)
    with pytest.raises(MerError, match=r"clip d/s2/c0 is tested in no fold \(2 such\)"):
        check_complete(clips, [split for split in loso(clips) if split.fold != "d/s2"])


def test_a_database_of_one_subject_is_refused() -> None:
    clips = table({"d/s1": 3})
    with pytest.raises(MerError, match="needs at least two subjects"):
        check(clips, loso(clips, validation=0.5))


def test_clips_may_be_validated_that_share_subjects_with_training(ten: pd.DataFrame) -> None:
    splits = loso(ten, validation=0.2, validation_by="clip", seed=3)
    check(ten, splits)
    check_complete(ten, splits)
    for split in splits:
        assert sorted(split.train + split.validation + split.test) == list(range(len(ten)))
        assert len(split.validation) == round(0.2 * (len(ten) - len(split.test)))
    by_subject = ten["subject"].to_numpy()
    assert any(set(by_subject[list(s.train)]) & set(by_subject[list(s.validation)]) for s in splits)
    # The test subject is apart all the same.
    assert not any(
        set(by_subject[list(s.train + s.validation)]) & set(by_subject[list(s.test)]) for s in splits
    )
    assert splits == loso(ten, validation=0.2, validation_by="clip", seed=3)
    assert splits != loso(ten, validation=0.2, validation_by="clip", seed=4)
    with pytest.raises(
        MerError, match=r"protocol.validation=0.001 of \d+ clips leaves none to train or none"
    ):
        loso(ten, validation=0.001, validation_by="clip")
    with pytest.raises(MerError, match="validation_by='frame': choose subject or clip"):
        loso(ten, validation_by="frame")  # type: ignore[arg-type]


def test_what_a_protocol_does_not_share_is_still_guarded(ten: pd.DataFrame) -> None:
    split = loso(ten, validation=0.2, validation_by="clip")[0]
    with pytest.raises(MerError, match="leak in fold d/s0: subject d/s0 is in train and in test"):
        check(ten, [replace(split, train=(*split.train, split.test[0]), test=split.test)])


def test_lovo_tests_each_clip_alone(ten: pd.DataFrame) -> None:
    splits = lovo(ten)
    check(ten, splits)
    check_complete(ten, splits)
    assert [split.test for split in splits] == [(row,) for row in range(len(ten))]
    assert all(len(split.train) == len(ten) - 1 for split in splits)
    assert splits[0].fold == "d/s0/c0"


def test_cross_dataset_trains_on_one_and_tests_the_other() -> None:
    clips = table({"a/s1": 2, "a/s2": 1, "b/s1": 2, "c/s1": 3})
    [split] = cross_dataset(clips, train=["a"], test=["b"])
    check(clips, [split])
    assert split == Split("a-to-b/all", train=(0, 1, 2), validation=(), test=(3, 4))
    [both] = cross_dataset(clips, train=["a", "c"], test=["b"], validation=0.4)
    assert len(both.validation) > 0
    assert set(both.train) | set(both.validation) == {0, 1, 2, 5, 6, 7}
    check(clips, [both])
    with pytest.raises(MerError, match="no database d in the data, which has a, b, c"):
        cross_dataset(clips, train=["a"], test=["d"])
    with pytest.raises(MerError, match="a is to be trained on and tested"):
        cross_dataset(clips, train=["a", "b"], test=["a"])
