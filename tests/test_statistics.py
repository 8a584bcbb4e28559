"""Intervals against exhaustive enumeration and the binomial; McNemar's test against SciPy and by hand."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from mer import metrics
from mer.errors import MerError
from mer.scores import pooled_confusion
from mer.statistics import METRICS, bootstrap_interval, grouped_confusions, mcnemar, score_matrices

CLASSES = ["negative", "positive", "surprise"]
STORED = Path(__file__).parents[1] / "experiments/laenet/table4"


def make_predictions(
    label: Sequence[str], guess: Sequence[str], subject: Sequence[str], database: Sequence[str] | str = "samm"
) -> pd.DataFrame:
    predictions = pd.DataFrame({"database": database, "subject": subject, "label": label})
    predictions["clip"] = [f"c{k}" for k in range(len(label))]
    for name in CLASSES:
        predictions[f"p_{name}"] = np.where(np.array(guess) == name, 0.6, 0.2).astype(np.float32)
    return predictions


def random_predictions(seed: int, clips: int = 60, subjects: int = 12) -> pd.DataFrame:
    """Skewed labels; about half of the guesses right; subjects of one name in two databases."""
    random = np.random.default_rng(seed)
    label = random.choice(CLASSES, clips, p=[0.6, 0.3, 0.1])
    guess = np.where(random.random(clips) < 0.4, label, random.choice(CLASSES, clips))
    database = random.choice(["casme2", "samm"], clips)
    subject = [f"s{number}" for number in random.integers(0, subjects, clips)]
    return make_predictions(label.tolist(), guess.tolist(), subject, database.tolist())


def all_or_nothing(subjects: int, clips: int) -> pd.DataFrame:
    """Every other subject has all its clips right, the others none."""
    subject = np.repeat(np.arange(subjects), clips)
    guess = np.where(subject % 2 == 0, "negative", "positive")
    return make_predictions(["negative"] * len(subject), guess.tolist(), [f"s{k}" for k in subject])


def stored(name: str) -> pd.DataFrame:
    return pd.read_parquet(STORED / f"{name}.seed-0.parquet")


@pytest.mark.parametrize("metric", METRICS)
def test_many_matrices_score_as_one_by_one(metric: str) -> None:
    random = np.random.default_rng(0)
    # Small counts: absent classes, classes never predicted and nothing correct all occur.
    matrices = random.poisson(0.7, (20, 50, 4, 4)) * (random.random((20, 50, 4, 1)) < 0.8)
    matrices[0, 0] = 0
    expected = [metrics.scores(matrix)[metric] for matrix in matrices.reshape(-1, 4, 4)]
    scores = score_matrices(matrices, metric)
    assert scores.shape == (20, 50)
    assert math.isnan(scores[0, 0])
    np.testing.assert_allclose(scores.ravel(), expected, rtol=0, atol=1e-12)
    absent = (matrices.sum(axis=-1) == 0) & (matrices.sum(axis=-2) > 0)
    never_predicted = (matrices.sum(axis=-2) == 0) & (matrices.sum(axis=-1) > 0)
    nothing_correct = (matrices.diagonal(axis1=-2, axis2=-1).sum(-1) == 0) & (matrices.sum((-2, -1)) > 0)
    assert min(absent.sum(), never_predicted.sum(), nothing_correct.sum()) > 10


def test_grouped_confusions_are_those_of_the_groups() -> None:
    predictions = random_predictions(0).sample(frac=1, random_state=0)
    groups, matrices = grouped_confusions(predictions, CLASSES, ["database", "subject"])
    parts = dict(iter(predictions.groupby(["database", "subject"])))
    assert list(groups) == sorted(parts)
    for group, matrix in zip(groups, matrices, strict=True):
        np.testing.assert_array_equal(matrix, pooled_confusion(parts[group], CLASSES))


def exact_distribution(
    predictions: pd.DataFrame, metric: str, *, within_database: bool
) -> NDArray[np.float64]:
    """The scores of all equally likely ways to draw the subjects, each with the rows it draws, sorted."""
    target = predictions["label"].map(CLASSES.index).to_numpy()
    guess = predictions[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    strata: dict[str, list[NDArray[np.intp]]] = {}
    for database, subject in predictions[["database", "subject"]].drop_duplicates().itertuples(index=False):
        rows = np.flatnonzero((predictions["database"] == database) & (predictions["subject"] == subject))
        strata.setdefault(database if within_database else "all", []).append(rows)
    ways = itertools.product(*(itertools.product(rows, repeat=len(rows)) for rows in strata.values()))
    drawn = [np.concatenate([*itertools.chain(*way)]) for way in ways]
    return np.sort([metrics.scores(metrics.confusion_matrix(target[k], guess[k], 3))[metric] for k in drawn])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("within_database", [True, False])
def test_interval_is_that_of_every_possible_draw(metric: str, within_database: bool) -> None:
    # Four subjects, surprise with one of them only: in many draws the class is gone.
    draws, level = 20_000, 0.7
    predictions = make_predictions(
        ["negative", "negative", "positive", "surprise", "surprise", "negative", "positive", "positive"],
        ["negative", "positive", "positive", "surprise", "negative", "surprise", "negative", "positive"],
        ["s1", "s1", "s2", "s2", "s2", "s1", "s1", "s3"],
        ["samm"] * 5 + ["smic"] * 2 + ["samm"],
    )
    exact = exact_distribution(predictions, metric, within_database=within_database)
    assert len(exact) == (3**3 * 1 if within_database else 4**4)
    low, high = bootstrap_interval(
        predictions, CLASSES, metric, draws=draws, level=level, within_database=within_database
    )
    # The exact quantiles 5 standard errors of the drawn share further out and in.
    for bound, share in ((low, 0.15), (high, 0.85)):
        slack = 5 * math.sqrt(share * (1 - share) / draws)
        outer, inner = np.quantile(exact, [share - slack, share + slack], method="inverted_cdf")
        assert outer - 1e-12 <= bound <= inner + 1e-12
    assert low < high


def test_subjects_are_drawn_not_clips() -> None:
    # With subjects right or wrong as a whole, a draw's accuracy is a binomial of 20 subjects over 20.
    tails = np.cumsum([math.comb(20, k) for k in range(21)]) / 2**20
    low, high = (int(np.searchsorted(tails, share)) / 20 for share in (0.025, 0.975))
    predictions = all_or_nothing(20, 10)
    interval = bootstrap_interval(predictions, CLASSES, "accuracy", draws=20_000)
    assert interval == pytest.approx((low, high), abs=1e-12)
    # Clips as subjects of their own: 200 of them, an interval narrower by about the root of 10.
    clips = bootstrap_interval(predictions.assign(subject=predictions["clip"]), CLASSES, "accuracy")
    assert clips[1] - clips[0] < (high - low) / 2.5


def test_a_database_is_drawn_from_itself() -> None:
    # All of samm is right and all of smic wrong: only its make-up could move the composite's accuracy.
    predictions = all_or_nothing(20, 3)
    number = predictions["subject"].str[1:].astype(int)
    predictions["database"] = np.where(number % 2 == 0, "samm", "smic")
    assert bootstrap_interval(predictions, CLASSES, "accuracy") == (0.5, 0.5)
    low, high = bootstrap_interval(predictions, CLASSES, "accuracy", within_database=False)
    assert low < 0.5 < high


def test_subjects_of_one_name_in_two_databases_are_two() -> None:
    predictions = all_or_nothing(2, 4).assign(subject="s1", database=["samm"] * 4 + ["smic"] * 4)
    low, high = bootstrap_interval(predictions, CLASSES, "accuracy", within_database=False)
    assert (low, high) == (0.0, 1.0)


@pytest.mark.parametrize("metric", METRICS)
def test_equal_subjects_have_no_width(metric: str) -> None:
    one = random_predictions(1).assign(database="samm")
    same = pd.concat(one.assign(subject=f"s{k}", clip=one["clip"] + f"_{k}") for k in range(7))
    score = metrics.scores(pooled_confusion(one, CLASSES))[metric]
    low, high = bootstrap_interval(same, CLASSES, metric)
    assert low == high == pytest.approx(score, abs=1e-12)


def test_one_subject_gives_its_score() -> None:
    predictions = random_predictions(2).assign(database="samm", subject="s1")
    score = metrics.uf1(pooled_confusion(predictions, CLASSES))
    assert bootstrap_interval(predictions, CLASSES, "uf1") == pytest.approx((score, score), abs=1e-12)


def test_coverage() -> None:
    # 40 subjects of 5 clips, each with a rate of its own, .6 in the mean. Their intraclass correlation is
    # 1 / (.6 + .4 + 1), the variance 1 + 4/2 times that of free clips, whose interval would hold .6 in 74 %.
    random = np.random.default_rng(0)
    template = all_or_nothing(40, 5).assign(p_positive=0.5)
    inside = 0
    for seed in range(100):
        right = random.random((40, 5)) < random.beta(0.6, 0.4, (40, 1))
        predictions = template.assign(p_negative=np.where(right.ravel(), 0.9, 0.0))
        low, high = bootstrap_interval(predictions, CLASSES, "accuracy", draws=400, seed=seed)
        inside += low <= 0.6 <= high
    # A binomial of 100 at .95 has a standard deviation of 2.2; percentile intervals are a little short.
    assert 87 <= inside <= 99


def test_several_tables_have_the_interval_of_their_mean() -> None:
    """Two subjects: a draw holds the first twice, the second twice or both, so the quantiles are known."""
    first = make_predictions(["negative"] * 4, ["negative"] * 4, ["s1", "s1", "s2", "s2"])
    second = make_predictions(["negative"] * 4, ["negative", *["positive"] * 3], ["s1", "s1", "s2", "s2"])
    # Of s1 the mean accuracy is (1 + .5) / 2, of s2 (1 + 0) / 2.
    assert bootstrap_interval([first, second], CLASSES, "accuracy") == (0.5, 0.75)
    assert bootstrap_interval([second], CLASSES, "uf1") == bootstrap_interval(second, CLASSES, "uf1")
    shuffled = second.sample(frac=1, random_state=0)
    assert bootstrap_interval([first, shuffled], CLASSES, "accuracy") == (0.5, 0.75)


def test_tables_of_other_clips_have_no_mean() -> None:
    first = random_predictions(0)
    with pytest.raises(MerError, match=r"have other clips: .* is only in the first"):
        bootstrap_interval([first, first.iloc[1:]], CLASSES, "uf1")
    with pytest.raises(MerError, match=r"have other labels: .* in the first and .* in the second"):
        bootstrap_interval([first, first.assign(label=first["label"].to_numpy()[::-1])], CLASSES, "uf1")
    with pytest.raises(MerError, match="no predictions"):
        bootstrap_interval([], CLASSES, "uf1")


def test_the_seed_decides() -> None:
    predictions = random_predictions(3)
    first = bootstrap_interval(predictions, CLASSES, "uf1", seed=1)
    assert bootstrap_interval(predictions, CLASSES, "uf1", seed=1) == first
    assert bootstrap_interval(predictions, CLASSES, "uf1", seed=2) != first
    # Neither the order of the rows nor that of the classes does.
    assert bootstrap_interval(predictions.iloc[::-1], CLASSES, "uf1", seed=1) == first
    assert bootstrap_interval(predictions, CLASSES[::-1], "uf1", seed=1) == pytest.approx(first, abs=1e-12)


def test_a_higher_level_is_wider() -> None:
    predictions = random_predictions(4)
    narrow = bootstrap_interval(predictions, CLASSES, "uar", level=0.5)
    wide = bootstrap_interval(predictions, CLASSES, "uar", level=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("within_database", [True, False])
def test_interval_of_the_stored_row(metric: str, within_database: bool) -> None:
    predictions = stored("laenet.base")
    classes = [name.removeprefix("p_") for name in predictions.columns if name.startswith("p_")]
    score = metrics.scores(pooled_confusion(predictions, classes))[metric]
    low, high = bootstrap_interval(predictions, classes, metric, within_database=within_database)
    assert low < score < high
    # Independent clips would already give accuracy 2 * 1.96 * sqrt(.74 * .26 / 442) = .08.
    assert 0.02 < high - low < 0.3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws=0: at least 1"),
        ({"level": 95}, "level=95: between 0 and 1"),
        ({"level": 1.0}, "level=1.0: between 0 and 1"),
        ({"metric": "auc"}, "metric='auc': choose accuracy, f1, uf1, uar"),
        ({"classes": ["negative", "positive"]}, "hold the label 'surprise'; the classes are negative, pos"),
        ({"classes": [*CLASSES, "fear"]}, "the predictions have no column p_fear"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], message: str) -> None:
    arguments = {"classes": CLASSES, "metric": "uf1"} | options
    with pytest.raises(MerError, match=message):
        bootstrap_interval(random_predictions(0), **arguments)  # type: ignore[arg-type]


def test_several_epochs_are_no_pool() -> None:
    predictions = random_predictions(0)
    clip = "/".join(str(predictions.loc[0, name]) for name in ("database", "subject", "clip"))
    with pytest.raises(MerError, match=f"clip {clip} stands twice"):
        bootstrap_interval(pd.concat([predictions, predictions]), CLASSES, "uf1")
    with pytest.raises(MerError, match=f"clip {clip} stands twice"):
        mcnemar(predictions, pd.concat([predictions, predictions]))
    with pytest.raises(MerError, match="no predictions to score"):
        bootstrap_interval(predictions[:0], CLASSES, "uf1")


def disagreeing(b: int, c: int, agreeing: int = 4) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two rows: b clips right in the first only, c in the second only, and some in both or in neither."""
    first = [True] * b + [False] * c + [k % 2 == 0 for k in range(agreeing)]
    second = [False] * b + [True] * c + [k % 2 == 0 for k in range(agreeing)]
    label = [CLASSES[k % 3] for k in range(len(first))]
    wrong = [CLASSES[(k + 1) % 3] for k in range(len(first))]
    rows = (
        make_predictions(label, np.where(right, label, wrong).tolist(), ["s1"] * len(label))
        for right in (first, second)
    )
    return next(rows), next(rows)


def test_mcnemar_by_hand() -> None:
    # Of 6 clips, the first has 1: P(0 or 1 of 6) = (1 + 6) / 64, and as much on the other side.
    assert mcnemar(*disagreeing(1, 5)) == (1, 5, 14 / 64)
    assert mcnemar(*disagreeing(5, 1)) == (5, 1, 14 / 64)
    assert mcnemar(*disagreeing(0, 5)) == (0, 5, 2 / 32)
    # Equal counts: both tails hold the middle, and a probability stays at most 1.
    assert mcnemar(*disagreeing(3, 3)) == (3, 3, 1.0)
    assert mcnemar(*disagreeing(0, 0)) == (0, 0, 1.0)


@pytest.mark.parametrize(("b", "c"), [(0, 1), (2, 7), (10, 25), (40, 41), (0, 400), (300, 420)])
def test_mcnemar_is_the_binomial_test(b: int, c: int) -> None:
    *counts, p = mcnemar(*disagreeing(b, c))
    assert counts == [b, c]
    assert p == pytest.approx(binomtest(b, b + c, 0.5).pvalue, rel=1e-9)


def test_mcnemar_of_more_clips_than_a_float_holds() -> None:
    # 2 ** 4000 is no float.
    assert mcnemar(*disagreeing(1950, 2050))[2] == pytest.approx(binomtest(1950, 4000).pvalue, rel=1e-9)


def test_clips_are_joined_by_name() -> None:
    first, second = stored("laenet.base"), stored("ststnet.base")
    b, c, p = mcnemar(first, second)
    shuffled = second.sample(frac=1, random_state=0)[second.columns[::-1]]
    assert mcnemar(first, shuffled) == (b, c, p)
    assert mcnemar(shuffled, first) == (c, b, p)
    # b - c is the difference of the correct clips.
    classes = ["negative", "positive", "surprise"]
    correct = [pooled_confusion(row, classes).trace() for row in (first, second)]
    assert b - c == correct[0] - correct[1]
    assert min(b, c) > 0
    assert 0 < p <= 1
    assert mcnemar(first, first) == (0, 0, 1.0)


def test_rows_that_cannot_be_compared() -> None:
    first, second = disagreeing(2, 3)
    with pytest.raises(MerError, match=r"samm/s1/c0 is only in the second \(1 such\)"):
        mcnemar(first[1:], second)
    with pytest.raises(MerError, match=r"samm/s1/c0 is only in the first \(18 such\)"):
        mcnemar(first, second.assign(database="smic"))
    with pytest.raises(MerError, match="samm/s1/c0 is negative in the first and surprise in the second"):
        mcnemar(first, second.assign(label=["surprise", *second["label"][1:]]))
    with pytest.raises(MerError, match="other classes"):
        mcnemar(first, second.rename(columns={"p_surprise": "p_fear"}))
    with pytest.raises(MerError, match="no column p_<class>"):
        mcnemar(first[["database", "subject", "clip", "label"]], second)
    with pytest.raises(MerError, match="no column clip"):
        mcnemar(first.drop(columns="clip"), second)
