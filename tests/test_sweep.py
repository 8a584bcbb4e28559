from collections.abc import Sequence

from mer.sweep import expand

FOLDS = {"data=a": ["a/s1", "a/s2"], "data=b": ["b/s1", "b/s2", "b/s3"]}


def list_folds(overrides: Sequence[str]) -> list[str]:
    return FOLDS[next(override for override in overrides if override.startswith("data="))]


def test_a_line_without_each_is_left_alone() -> None:
    assert list(expand(["-m", "data=a,b", "seed=0,1"], list_folds)) == [["-m", "data=a,b", "seed=0,1"]]


def test_each_becomes_the_folds() -> None:
    assert list(expand(["-m", "data=a", "fold=each"], list_folds)) == [["-m", "data=a", "fold=a/s1,a/s2"]]


def test_each_implies_a_multirun() -> None:
    assert next(iter(expand(["data=a", "fold=each"], list_folds)))[0] == "-m"


def test_a_sweep_over_databases_loses_no_fold() -> None:
    lines = list(expand(["-m", "data=a,b", "seed=0,1", "fold=each"], list_folds))
    assert lines == [
        ["-m", "data=a", "seed=0,1", "fold=a/s1,a/s2"],
        ["-m", "data=b", "seed=0,1", "fold=b/s1,b/s2,b/s3"],
    ]


def test_positions_are_quoted_for_hydra() -> None:
    assert list(expand(["fold=#15"], list_folds)) == [["fold='#15'"]]


def test_the_multirun_flag_may_stand_anywhere() -> None:
    assert list(expand(["data=a", "-m", "seed=0,1"], list_folds)) == [["-m", "data=a", "seed=0,1"]]
