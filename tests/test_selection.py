"""Each rule on a table where it picks another epoch, and against loops over folds and epochs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mer import metrics, runs
from mer.errors import MerError
from mer.scores import pooled_confusion
from mer.selection import LEAKY, RULES, describe, leak, select
from tests.run_folder import FOLDS, make_plan, make_predictions, make_record

CLASSES = ["negative", "positive"]
# One character a clip, right or wrong, an epoch a row. Both folds: clips negative, negative, positive.
RIGHT = {
    "samm/s1": {1: "110", 2: "001", 3: "111", 4: "100"},
    "smic/s1": {1: "110", 2: "101", 3: "000", 4: "010"},
}
LOSS = {
    "samm/s1": {1: 0.9, 2: 0.4, 3: 0.8, 4: 0.4},  # 2 and 4 are equal: 2 counts
    "smic/s1": {1: 0.3, 2: 0.7, 3: 0.2, 4: 0.5},
}
LABELS = ["negative", "negative", "positive"]


def hand_made() -> pd.DataFrame:
    rows = []
    for fold, epochs in RIGHT.items():
        for epoch, right in epochs.items():
            for clip, (label, hit) in enumerate(zip(LABELS, right, strict=True)):
                negative = (label == "negative") == (hit == "1")
                rows.append((*fold.split("/"), f"c{clip}", fold, 0, epoch, label, negative, not negative))
    columns = ["database", "subject", "clip", "fold", "seed", "epoch", "label", "p_negative", "p_positive"]
    return pd.DataFrame(rows, columns=columns).astype({"p_negative": np.float32, "p_positive": np.float32})


def hand_made_metrics() -> pd.DataFrame:
    rows = [(fold, epoch, loss) for fold, losses in LOSS.items() for epoch, loss in losses.items()]
    return pd.DataFrame(rows, columns=["fold", "epoch", "val_loss"])


def random_predictions(seed: int, epochs: int = 6, folds: int = 8) -> pd.DataFrame:
    """Folds of 1 to 6 clips, many of one class; the clips' order differs from epoch to epoch."""
    random = np.random.default_rng(seed)
    clips = pd.DataFrame({"subject": np.repeat(np.arange(folds), random.integers(1, 7, folds)).astype(str)})
    clips["database"] = np.where(clips["subject"].astype(int) % 2 == 0, "samm", "smic")
    clips["clip"] = [f"c{k}" for k in range(len(clips))]
    clips["fold"] = clips["database"] + "/" + clips["subject"]
    clips["label"] = random.choice(CLASSES, len(clips), p=[0.7, 0.3])
    every = pd.concat(clips.assign(epoch=epoch) for epoch in range(1, epochs + 1))
    every["p_negative"] = random.random(len(every), dtype=np.float32)
    every["p_positive"] = 1 - every["p_negative"]
    return every.sample(frac=1, random_state=seed)


def epochs_of(chosen: pd.DataFrame) -> dict[str, int]:
    """The epoch of each fold, after checking that it is one and that no clip is lost."""
    assert not chosen.duplicated(["database", "subject", "clip"]).any()
    assert chosen.groupby("fold")["epoch"].nunique().eq(1).all()
    assert chosen.index.equals(pd.RangeIndex(len(chosen)))
    return {str(fold): int(epoch) for fold, epoch in chosen.groupby("fold")["epoch"].first().items()}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("last", {"samm/s1": 4, "smic/s1": 4}),
        ("best_on_validation", {"samm/s1": 2, "smic/s1": 3}),
        # 3 of 3 right; 2 of 3 at epochs 1 and 2, of which 1 counts.
        ("best_on_test_per_fold", {"samm/s1": 3, "smic/s1": 1}),
        # Pooled [[true negative, missed], [missed, true positive]]: epoch 1 [[4, 0], [2, 0]] 4/10,
        # epoch 2 [[1, 3], [0, 2]] (2/5 + 4/7)/2 = .486, epoch 3 [[2, 2], [1, 1]] (4/7 + 2/5)/2,
        # the same mean in the other order: 2 counts. Epoch 4 [[2, 2], [2, 0]] 1/4.
        ("best_on_test_epoch", {"samm/s1": 2, "smic/s1": 2}),
    ],
)
def test_each_rule_picks_its_epochs(rule: str, expected: dict[str, int]) -> None:
    chosen = select(hand_made(), rule, hand_made_metrics())
    assert epochs_of(chosen) == expected
    kept = [epoch == expected[fold] for fold, epoch in hand_made()[["fold", "epoch"]].itertuples(index=False)]
    pd.testing.assert_frame_equal(chosen, hand_made()[kept].reset_index(drop=True))


def test_the_tie_of_the_hand_made_table_is_one() -> None:
    uf1 = {
        epoch: metrics.uf1(pooled_confusion(part, CLASSES)) for epoch, part in hand_made().groupby("epoch")
    }
    assert uf1 == pytest.approx({1: 4 / 10, 2: 17 / 35, 3: 17 / 35, 4: 1 / 4}, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_leaky_rules_are_loops_over_folds_and_epochs(seed: int) -> None:
    predictions = random_predictions(seed)
    per_fold = {}
    for fold, part in predictions.groupby("fold"):
        accuracies = [
            metrics.accuracy(pooled_confusion(part[part["epoch"] == epoch], CLASSES)) for epoch in range(1, 7)
        ]
        per_fold[fold] = 1 + accuracies.index(max(accuracies))
    assert epochs_of(select(predictions, "best_on_test_per_fold")) == per_fold
    uf1 = [
        metrics.uf1(pooled_confusion(predictions[predictions["epoch"] == epoch], CLASSES))
        for epoch in range(1, 7)
    ]
    best = 1 + [round(score, 12) for score in uf1].index(round(max(uf1), 12))
    assert set(epochs_of(select(predictions, "best_on_test_epoch")).values()) == {best}


@pytest.mark.parametrize("seed", range(10))
def test_leaks_are_never_negative_in_their_own_metric(seed: int) -> None:
    predictions = random_predictions(seed)
    uf1, accuracy = (leak(predictions, CLASSES, metric)["score"] for metric in ("uf1", "accuracy"))
    each = {epoch: pooled_confusion(part, CLASSES) for epoch, part in predictions.groupby("epoch")}
    assert uf1["last"] == pytest.approx(metrics.uf1(each[6]), abs=1e-12)
    assert uf1["best_on_test_epoch"] == pytest.approx(max(map(metrics.uf1, each.values())), abs=1e-12)
    # Each fold at its best has at least as many clips right as any one epoch has.
    assert accuracy["best_on_test_per_fold"] >= max(map(metrics.accuracy, each.values())) - 1e-12
    assert accuracy["best_on_test_per_fold"] >= accuracy["best_on_test_epoch"]


def test_leak_by_hand() -> None:
    # Right of 6 clips: last 1 + 1; per fold 3 + 2; epoch 2 1 + 2.
    table = leak(hand_made(), CLASSES, "accuracy")
    expected = pd.DataFrame(
        {"score": [2 / 6, 5 / 6, 3 / 6], "points": [0.0, 50.0, 100 / 6]},
        index=pd.Index(["last", "best_on_test_per_fold", "best_on_test_epoch"], name="rule"),
    )
    pd.testing.assert_frame_equal(table, expected)
    # Each rule's UF1: [[2, 2], [2, 0]]; [[4, 0], [1, 1]]; 17/35.
    uf1 = leak(hand_made(), CLASSES, "uf1")["score"]
    assert uf1.to_list() == pytest.approx([1 / 4, (8 / 9 + 2 / 3) / 2, 17 / 35], abs=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_neither_order_nor_index_matters(rule: str) -> None:
    shuffled = hand_made().sample(frac=1, random_state=0)
    keys = ["fold", "clip"]
    pd.testing.assert_frame_equal(
        select(shuffled, rule, hand_made_metrics()[::-1]).sort_values(keys, ignore_index=True),
        select(hand_made(), rule, hand_made_metrics()).sort_values(keys, ignore_index=True),
    )


@pytest.mark.parametrize("rule", RULES)
def test_one_trained_epoch_is_every_rules(rule: str) -> None:
    first = hand_made().query("epoch == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(select(first, rule, hand_made_metrics()), first)


@pytest.mark.parametrize("rule", RULES)
def test_equal_epochs_give_the_earliest_unless_the_last_is_asked_for(rule: str) -> None:
    first = hand_made().query("epoch == 1")
    same = pd.concat([first.assign(epoch=epoch) for epoch in (11, 3, 7)])
    losses = pd.DataFrame({"fold": [*RIGHT] * 3, "epoch": [3, 3, 7, 7, 11, 11], "val_loss": 0.5})
    expected = 11 if rule == "last" else 3
    assert set(epochs_of(select(same, rule, losses)).values()) == {expected}


def test_a_rounding_error_breaks_no_tie() -> None:
    # F1 of 3/5, 4/7, 4/7 and the same backwards: one mean, which floats sum to two numbers.
    cm = np.array([[3, 0, 1], [2, 2, 0], [1, 1, 2]])
    one, other = metrics.uf1(cm), metrics.uf1(cm[::-1, ::-1])
    assert one < other == pytest.approx(one, abs=1e-12)
    cells = np.argwhere(cm >= 0).repeat(cm.ravel(), axis=0)
    epochs = []
    for epoch, pairs in enumerate((cells, 2 - cells), start=1):
        pairs = pairs[pairs[:, 0].argsort(kind="stable")]
        epochs.append(pd.DataFrame(np.eye(3)[pairs[:, 1]], columns=["p_a", "p_b", "p_c"]))
        epochs[-1] = epochs[-1].assign(label=np.array(["a", "b", "c"])[pairs[:, 0]], epoch=epoch)
    predictions = pd.concat(epochs, ignore_index=True).assign(database="samm", subject="s1", fold="samm/s1")
    predictions["clip"] = [f"c{k % 12}" for k in range(24)]
    assert epochs_of(select(predictions, "best_on_test_epoch")) == {"samm/s1": 1}


def test_a_run_folder_is_selected_from(tmp_path: Path) -> None:
    plan, run = make_plan(), tmp_path / "run"
    runs.start(run, plan)
    for fold in FOLDS:
        last = make_predictions(fold)
        # At epoch 2 every clip is right.
        sure = {f"p_{name}": (last["label"] == name).astype(np.float32) for name in CLASSES}
        # Fold casme2/s2 validates best at epoch 1.
        losses = [0.3 if fold == "casme2/s2" else 0.9, 0.7, 0.4]
        table = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": 1.0, "val_loss": losses})
        with runs.claim(run, fold) as folder:
            epochs = [last.assign(epoch=1), last.assign(epoch=2, **sure), last]
            runs.finish(folder, pd.concat(epochs), table, make_record(plan))
    predictions = runs.read_predictions(run)
    table = pd.concat(runs.read_metrics(run, fold).assign(fold=fold) for fold in FOLDS)
    assert epochs_of(select(predictions, "best_on_validation", table)) == dict(
        zip(FOLDS, [3, 1, 3], strict=True)
    )
    assert leak(predictions, CLASSES, "uf1")["score"].to_list()[1:] == [1.0, 1.0]


def test_rules_in_words() -> None:
    assert {rule for rule in RULES if describe(rule).startswith("LEAK")} == LEAKY
    assert len({describe(rule) for rule in RULES}) == len(RULES)
    assert "loss on its validation subjects" in describe("best_on_validation")
    for use in (describe, lambda rule: select(hand_made(), rule)):
        with pytest.raises(
            MerError, match="select='best': choose last, best_on_validation, best_on_test_per"
        ):
            use("best")


def without(fold: str, epoch: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table[(table["fold"] != fold) | (table["epoch"] != epoch)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("smic/s1", 3), "fold smic/s1 has no epoch 3 of clip smic/s1/c0, which others have"),
        (without("samm/s1", 4), "fold samm/s1 has no epoch 4 of clip samm/s1/c0"),
        (lambda table: table.drop(index=4), "fold samm/s1 has no epoch 2 of clip samm/s1/c1"),
        (lambda table: pd.concat([table, table[:1]]), "clip samm/s1/c0 stands twice at epoch 1"),
        (lambda table: table.drop(columns="fold"), "the predictions have no column fold"),
        (lambda table: table.assign(fold=table["fold"].where(table["epoch"] > 1)), "have an empty fold"),
        (lambda table: table[:0], "no predictions to select from"),
    ],
)
def test_incomplete_predictions_are_refused(
    rule: str, damage: Callable[[pd.DataFrame], pd.DataFrame], message: str
) -> None:
    with pytest.raises(MerError, match=message):
        select(damage(hand_made()), rule, hand_made_metrics())


@pytest.mark.parametrize("rule", sorted(set(RULES) - {"last"}))
def test_no_rule_chooses_where_only_the_last_epoch_was_kept(rule: str) -> None:
    last = hand_made().query("epoch == 4")
    with pytest.raises(MerError, match=f"select={rule} compares epochs, but only epoch 4 was kept"):
        select(last, rule, hand_made_metrics())
    assert len(select(last, "last")) == len(last)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda _: None, "needs the folds' metrics"),
        (
            lambda table: table.rename(columns={"val_loss": "train_loss"}),
            "have no column val_loss; keep validation subjects",
        ),
        (without("smic/s1", 2), r"fold smic/s1: no finite val_loss at epoch 2 \(1 such\)"),
        (
            lambda table: table.assign(val_loss=table["val_loss"].where(table["epoch"] != 1)),
            r"fold samm/s1: no finite val_loss at epoch 1 \(2 such\)",
        ),
        (lambda table: pd.concat([table, table[5:6]]), "fold smic/s1: epoch 2 stands twice in the metrics"),
    ],
)
def test_missing_validation_is_refused(
    damage: Callable[[pd.DataFrame], pd.DataFrame | None], message: str
) -> None:
    with pytest.raises(MerError, match=message):
        select(hand_made(), "best_on_validation", damage(hand_made_metrics()))


def test_metrics_of_other_folds_do_not_matter() -> None:
    other = hand_made_metrics()[:4].assign(fold="casme2/s1", val_loss=float("nan"))
    chosen = select(hand_made(), "best_on_validation", pd.concat([other, hand_made_metrics()]))
    assert epochs_of(chosen) == {"samm/s1": 2, "smic/s1": 3}
