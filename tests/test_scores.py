"""Scores of pooled predictions, against scikit-learn, for all clips and for each database."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from mer.errors import MerError
from mer.scores import pooled_confusion, predicted_classes, subset_scores

CLASSES = ["positive", "negative", "surprise"]  # not in alphabetical order


def make_pool(clips: int = 90) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    labels = draw.choice(CLASSES, clips, p=[0.2, 0.5, 0.3])
    probabilities = draw.dirichlet([1, 1, 1], clips).astype(np.float32)
    pool = pd.DataFrame({"database": draw.choice(["smic", "casme2", "samm"], clips), "label": labels})
    # As in files: other columns between, and the classes' columns found by name.
    pool["p_surprise"] = probabilities[:, 2]
    pool["fold"] = "x/1"
    pool["p_positive"], pool["p_negative"] = probabilities[:, 0], probabilities[:, 1]
    return pool


def best_names(pool: pd.DataFrame) -> list[str]:
    columns = pool[["p_positive", "p_negative", "p_surprise"]]
    return [str(name).removeprefix("p_") for name in columns.idxmax(axis=1)]


def test_confusion_is_scikit_learns() -> None:
    pool = make_pool()
    expected = confusion_matrix(pool["label"], best_names(pool), labels=CLASSES)
    np.testing.assert_array_equal(pooled_confusion(pool, CLASSES), expected)


@pytest.mark.parametrize("subset", ["all", "casme2", "samm", "smic"])
def test_scores_are_scikit_learns(subset: str) -> None:
    pool = make_pool()
    part = pool if subset == "all" else pool[pool["database"] == subset]
    true, predicted = part["label"], best_names(part)
    row = subset_scores(pool, CLASSES).loc[subset]
    assert row["clips"] == len(part)
    assert row["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)
    assert row["uf1"] == pytest.approx(f1_score(true, predicted, labels=CLASSES, average="macro"), abs=1e-12)
    assert row["uar"] == pytest.approx(
        recall_score(true, predicted, labels=CLASSES, average="macro"), abs=1e-12
    )


def test_rows_and_columns() -> None:
    pool = make_pool()
    scores = subset_scores(pool, CLASSES)
    assert list(scores.index) == ["all", "casme2", "samm", "smic"]
    assert list(scores.columns) == ["clips", "accuracy", "f1", "uf1", "uar"]
    assert list(subset_scores(pool[pool["database"] == "smic"], CLASSES).index) == ["all"]


def test_scores_are_pooled_not_averaged_over_folds() -> None:
    pool = make_pool()
    shuffled = pool.sample(frac=1, random_state=0)
    shuffled["fold"] = [f"x/{k}" for k in range(len(pool))]
    pd.testing.assert_frame_equal(subset_scores(shuffled, CLASSES), subset_scores(pool, CLASSES))


def test_a_database_without_a_class() -> None:
    pool = make_pool()
    pool.loc[pool["database"] == "smic", "label"] = "negative"
    part = pool[pool["database"] == "smic"]
    row = subset_scores(pool, CLASSES).loc["smic"]
    # Mean over the present classes only: negative.
    assert row["uar"] == pytest.approx(row["accuracy"], abs=1e-12)
    assert row["uf1"] == pytest.approx(
        f1_score(part["label"], best_names(part), labels=["negative"], average="macro"), abs=1e-12
    )


def test_first_of_equals() -> None:
    pool = pd.DataFrame({"p_a": [0.5, 0.2], "p_b": [0.5, 0.8]})
    assert predicted_classes(pool, ["a", "b"]).tolist() == [0, 1]
    assert predicted_classes(pool, ["b", "a"]).tolist() == [0, 0]


def test_unknown_label_is_not_counted_silently() -> None:
    pool = make_pool().assign(label="disgust")
    with pytest.raises(MerError, match="label 'disgust'; the classes are"):
        pooled_confusion(pool, CLASSES)
