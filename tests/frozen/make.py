"""Writes what `tests/test_frozen_scores.py` scores, and the scores: by exact fractions and by scikit-learn.

`python -m tests.frozen.make` writes the files beside it. It imports nothing of the package: what stands in
scores.json was computed by others. A fraction is written "<numerator>/<denominator>".
"""

import itertools
import json
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import metrics as reference

HERE = Path(__file__).parent
CLASSES = ["anger", "fear", "joy", "none"]
DRAWS = 60
TABLES = ("first.csv", "second.csv", "frames.csv")
Score = Callable[[list[str], list[str]], Fraction]


def predictions(seed: int) -> pd.DataFrame:
    """96 clips of three databases. Probabilities are eighths: exact in every format, and often equal.

    No clip of ``samm`` is of class fear, and none of ``smic`` is called joy.
    """
    random = np.random.default_rng(seed)
    clips = []
    for database, subjects, labels in (
        ("casme2", 6, CLASSES),
        ("samm", 4, ["anger", "joy", "none"]),
        ("smic", 2, CLASSES),
    ):
        for subject, clip in itertools.product(range(subjects), range(8)):
            label = str(random.choice(labels))
            weights = random.multinomial(8, [0.25] * 4)
            if random.random() < 0.4:
                weights[CLASSES.index(label)] += 8
            if database == "smic":
                weights[CLASSES.index("joy")] = 0
                weights[0] += weights.sum() == 0
            share = np.floor(8 * weights / weights.sum()) / 8
            clips.append([database, f"s{subject}", f"clip{clip}", label, *share])
    return pd.DataFrame(
        clips, columns=["database", "subject", "clip", "label", *(f"p_{name}" for name in CLASSES)]
    )


def decided(table: pd.DataFrame) -> list[str]:
    """The class of the largest probability, the first of equals."""
    rows = table[[f"p_{name}" for name in CLASSES]].to_numpy().tolist()
    return [CLASSES[row.index(max(row))] for row in rows]


def accuracy(true: list[str], guess: list[str]) -> Fraction:
    return Fraction(sum(map(str.__eq__, true, guess)), len(true))


def uar(true: list[str], guess: list[str]) -> Fraction:
    return _over_present(true, guess, lambda hits, there, _: Fraction(hits, there))


def macro_precision(true: list[str], guess: list[str]) -> Fraction:
    return _over_present(true, guess, lambda hits, _, called: Fraction(hits, called or 1))


def uf1(true: list[str], guess: list[str]) -> Fraction:
    return _over_present(true, guess, lambda hits, there, called: Fraction(2 * hits, there + called))


def f1(true: list[str], guess: list[str]) -> Fraction:
    p, r = macro_precision(true, guess), uar(true, guess)
    return 2 * p * r / (p + r) if p + r else Fraction(0)


def _over_present(true: list[str], guess: list[str], score: Callable[[int, int, int], Fraction]) -> Fraction:
    present = sorted(set(true))
    hits = {name: sum(t == g == name for t, g in zip(true, guess, strict=True)) for name in present}
    each = [score(hits[name], true.count(name), guess.count(name)) for name in present]
    return sum(each, Fraction(0)) / len(each)


SCORES: dict[str, Score] = {"accuracy": accuracy, "f1": f1, "uf1": uf1, "uar": uar}


def by_scikit_learn(true: list[str], guess: list[str]) -> dict[str, float]:
    options: dict[str, Any] = {"labels": sorted(set(true)), "average": "macro", "zero_division": 0}
    p = reference.precision_score(true, guess, **options)
    r = reference.recall_score(true, guess, **options)
    return {
        "accuracy": reference.accuracy_score(true, guess),
        "f1": 2 * p * r / (p + r) if p + r else 0.0,
        "uf1": reference.f1_score(true, guess, **options),
        "uar": r,
        "macro_precision": p,
    }


def clip_scores(table: pd.DataFrame) -> dict[str, Any]:
    """Of all clips, of each database and of each class's clips alone."""
    subsets = {"all": table}
    subsets |= {f"database {name}": part for name, part in table.groupby("database")}
    subsets |= {f"only {name}": part for name, part in table.groupby("label")}
    found: dict[str, Any] = {}
    for name, part in subsets.items():
        true, guess = part["label"].tolist(), decided(part)
        exact = {key: score(true, guess) for key, score in SCORES.items()}
        exact["macro_precision"] = macro_precision(true, guess)
        _agree(name, exact, by_scikit_learn(true, guess))
        confusion = reference.confusion_matrix(true, guess, labels=CLASSES).tolist()
        found[name] = {"confusion": confusion, **{key: str(value) for key, value in exact.items()}}
    return found


def bootstrap(table: pd.DataFrame, seed: int) -> dict[str, list[float]]:
    """Percentile intervals over subjects, drawn among those of their database; scored by scikit-learn."""
    random = np.random.default_rng(seed)
    table = table.assign(guess=decided(table))
    times: dict[tuple[str, str], NDArray[np.int64]] = {}
    for database, part in table.groupby("database"):  # sorted
        subjects = sorted(set(part["subject"]))
        drawn = random.multinomial(len(subjects), [1 / len(subjects)] * len(subjects), size=DRAWS)
        times |= {(str(database), subject): drawn[:, k] for k, subject in enumerate(subjects)}
    keys = list(zip(table["database"], table["subject"], strict=True))
    scores = []
    for draw in range(DRAWS):
        rows = np.repeat(np.arange(len(table)), [times[key][draw] for key in keys])
        part = table.iloc[rows]
        scores.append(by_scikit_learn(part["label"].tolist(), part["guess"].tolist()))
    return {
        name: [float(edge) for edge in np.quantile([score[name] for score in scores], [0.05, 0.95])]
        for name in SCORES
    }


def mcnemar(first: pd.DataFrame, second: pd.DataFrame) -> dict[str, Any]:
    right = [
        [label == guess for label, guess in zip(table["label"], decided(table), strict=True)]
        for table in (first, second)
    ]
    b = sum(one and not other for one, other in zip(*right, strict=True))
    c = sum(other and not one for one, other in zip(*right, strict=True))
    tail = sum(math.comb(b + c, k) for k in range(min(b, c) + 1))
    return {"b": b, "c": c, "p": str(min(Fraction(1), Fraction(2 * tail, 2 ** (b + c))))}


def videos(seed: int) -> tuple[pd.DataFrame, dict[str, dict[str, list[list[int]]]]]:
    """Frames of six videos with scores in sixteenths; true and found intervals of each video."""
    random = np.random.default_rng(seed)
    frames, intervals = [], {}
    for number in range(6):
        video, database = f"v{number}", ("casme_sq", "samm")[number % 2]
        true = sorted(
            [int(start), int(start + random.integers(8, 20))] for start in (20, 60, 100)[: number % 4]
        )
        found = [[a + int(random.integers(-6, 7)), b + int(random.integers(-6, 7))] for a, b in true]
        found += [[150, 150 + int(random.integers(1, 9))]] * (number % 3 == 0)
        intervals[video] = {"true": true, "found": found}
        for frame in range(1, 181):
            inside = any(a <= frame <= b for a, b in true)
            score = float(np.round(16 * np.clip(random.normal(0.3 + 0.3 * inside, 0.2), 0, 1)) / 16)
            frames.append([database, "s0", video, frame, inside, score])
    return pd.DataFrame(
        frames, columns=["database", "subject", "video", "frame", "inside", "score"]
    ), intervals


def frame_scores(frames: pd.DataFrame) -> dict[str, Any]:
    """AUC as the share of pairs in the right order, ties half; the ROC curve's points."""
    subsets = {"all": frames} | {str(name): part for name, part in frames.groupby("database")}
    found: dict[str, Any] = {}
    for name, part in subsets.items():
        inside, score = part["inside"].to_numpy(), part["score"].to_numpy()
        pairs = score[inside][:, None] - score[~inside][None]
        auc = Fraction(int(2 * (pairs > 0).sum() + (pairs == 0).sum()), 2 * pairs.size)
        _agree(name, {"auc": auc}, {"auc": reference.roc_auc_score(inside, score)})
        points = [
            [
                float(level),
                *(str(Fraction(int((score[side] >= level).sum()), int(side.sum()))) for side in sides),
            ]
            for sides in [(~inside, inside)]
            for level in sorted(set(score.tolist()), reverse=True)
        ]
        found[name] = {"auc": str(auc), "roc": points}
    return found


def interval_scores(intervals: dict[str, dict[str, list[list[int]]]]) -> dict[str, Any]:
    """IoU from sets of frames; hits from all pairings; pooled over the videos."""
    shares, counts = {}, [0, 0, 0]
    for video, pair in intervals.items():
        true, found = ([set(range(a, b + 1)) for a, b in pair[key]] for key in ("true", "found"))
        iou = [[Fraction(len(one & other), len(one | other)) for other in found] for one in true]
        shares[video] = [[str(share) for share in row] for row in iou]
        few, many = sorted([range(len(true)), range(len(found))], key=len)
        hits = 0
        for chosen in itertools.permutations(many, len(few)):
            pairs = zip(few, chosen, strict=True) if len(few) == len(true) else zip(chosen, few, strict=True)
            hits = max(hits, sum(iou[row][column] >= Fraction(1, 2) for row, column in pairs))
        counts = [counts[0] + hits, counts[1] + len(found) - hits, counts[2] + len(true) - hits]
    tp, fp, fn = counts
    return {
        "iou": shares,
        "counts": counts,
        "precision": str(Fraction(tp, tp + fp)),
        "recall": str(Fraction(tp, tp + fn)),
        "f1": str(Fraction(2 * tp, 2 * tp + fp + fn)),
    }


def _agree(where: str, exact: dict[str, Fraction], theirs: dict[str, float]) -> None:
    for name, value in exact.items():
        assert abs(float(value) - theirs[name]) < 1e-14, (
            f"{where} {name}: {value}, scikit-learn {theirs[name]}"
        )


def references(
    first: pd.DataFrame,
    second: pd.DataFrame,
    frames: pd.DataFrame,
    intervals: dict[str, dict[str, list[list[int]]]],
) -> dict[str, Any]:
    """What scores.json holds of the other files."""
    return {
        "clips": clip_scores(first),
        "bootstrap": bootstrap(first, seed=4),
        "mcnemar": mcnemar(first, second),
        "frames": frame_scores(frames),
        "intervals": interval_scores(intervals),
    }


def read() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame, dict[str, dict[str, list[list[int]]]]]:
    """The drawn files: two rows of a table, frames, and intervals by video."""
    # "none" is a class here, not a missing value.
    tables = [pd.read_csv(HERE / name, keep_default_na=False) for name in TABLES]
    return tables[0], tables[1], tables[2], json.loads((HERE / "intervals.json").read_text(encoding="utf-8"))


def main() -> None:
    """Draw the files anew and score them."""
    first, second = predictions(1), predictions(2)
    second["label"] = first["label"]  # rows of one table are of the same clips
    frames, intervals = videos(3)
    for name, table in zip(TABLES, (first, second, frames), strict=True):
        table.to_csv(HERE / name, index=False, lineterminator="\n")
    scores = references(first, second, frames, intervals)
    for name, content in (("intervals.json", intervals), ("scores.json", scores)):
        (HERE / name).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
