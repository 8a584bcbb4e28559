"""Which epoch of each fold counts. Predictions of all epochs -> predictions of one epoch a fold. No torch.

The rules in `LEAKY` look at the test clips. They exist to measure how much that is worth: whatever shows
scores under them says so with `describe`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mer.errors import MerError
from mer.runs import KEY
from mer.statistics import check_columns, class_names, clip_name, grouped_confusions, score_matrices

LAST = "last"
BEST_ON_VALIDATION = "best_on_validation"
BEST_ON_TEST_PER_FOLD = "best_on_test_per_fold"
BEST_ON_TEST_EPOCH = "best_on_test_epoch"
LEAKY = frozenset({BEST_ON_TEST_PER_FOLD, BEST_ON_TEST_EPOCH})
# As `mer.tasks.Classification` logs it. A few validation subjects give accuracy few values, and many ties.
VALIDATION = "val_loss"

_LEAK = "the test clips chose the epoch, so these scores are too high"
_WORDS = {
    LAST: "at the last epoch",
    BEST_ON_VALIDATION: "at each fold's epoch with the lowest loss on its validation subjects "
    "(the earliest of equals)",
    BEST_ON_TEST_PER_FOLD: "LEAK: at each fold's epoch with the best accuracy on its own test clips "
    f"(the earliest of equals); {_LEAK}",
    BEST_ON_TEST_EPOCH: "LEAK: at the one epoch with the best pooled UF1 on the test clips of all folds "
    f"(the earliest of equals); {_LEAK}",
}
RULES = tuple(_WORDS)


def select(predictions: pd.DataFrame, rule: str, metrics: pd.DataFrame | None = None) -> pd.DataFrame:
    """Keep one epoch of each fold.

    Of equally good epochs the earliest counts, under every rule.

    Args:
        predictions: of one run, one row a clip and epoch: database, subject, clip, fold, epoch, label,
            p_<class>... (`mer.runs.read_predictions`).
        rule: ``last``; ``best_on_validation``: each fold's lowest ``val_loss``; or, leaky,
            ``best_on_test_per_fold``: each fold's best accuracy on its test clips, or
            ``best_on_test_epoch``: the best UF1 over the pooled test clips, one epoch for all folds.
        metrics: for ``best_on_validation``: columns fold, epoch and val_loss, a row for every fold and
            epoch of the predictions (the folds' metrics.csv under each other). Others are not read.

    Returns:
        The rows of the chosen epochs, in their order, with a new index.

    Raises:
        MerError: an unknown rule; a clip without an epoch that others have, or with one twice; only one
            epoch was kept, and not the first, where a rule compares epochs; a validation loss that is
            missing or not finite.
    """
    describe(rule)
    _check_epochs(predictions, rule)
    if rule == LAST:
        kept = predictions["epoch"] == predictions["epoch"].max()
    elif rule == BEST_ON_TEST_EPOCH:
        epochs, matrices = grouped_confusions(predictions, class_names(predictions), ["epoch"])
        # Rounded: sums of the same terms in another order are equals.
        best_position = int(score_matrices(matrices, "uf1").round(12).argmax())
        kept = predictions["epoch"] == epochs[best_position]
    else:
        # Rows are folds, columns epochs in order: idxmax and idxmin take the earliest of equals.
        if rule == BEST_ON_TEST_PER_FOLD:
            best = _correct_clips(predictions).idxmax(axis=1)
        else:
            best = _validation_losses(predictions, metrics).idxmin(axis=1)
        kept = predictions["epoch"] == predictions["fold"].map(best)
    chosen: pd.DataFrame = predictions[kept].reset_index(drop=True)
    return chosen


def describe(rule: str) -> str:
    """A rule in words, to end a caption's "Scores are counted ..."; that of a leaky one begins with LEAK.

    Raises:
        MerError: an unknown rule.
    """
    if rule not in _WORDS:
        raise MerError(f"select={rule!r}: choose {', '.join(RULES)}")
    return _WORDS[rule]


def leak(predictions: pd.DataFrame, classes: Sequence[str], metric: str) -> pd.DataFrame:
    """How much choosing the epoch on the test clips is worth.

    Args:
        predictions: of one run, all epochs, as for `select`.
        classes: the label map's classes.
        metric: ``accuracy``, ``f1``, ``uf1`` or ``uar``, over the pooled predictions.

    Returns:
        Rows ``last``, ``best_on_test_per_fold``, ``best_on_test_epoch`` (index ``rule``); columns ``score``,
        0..1, and ``points``: 100 times the score less that of ``last``. They can be negative in a metric
        that the rule does not choose by.

    Raises:
        MerError: as `select`, and for an unknown metric or label.
    """
    rules = [LAST, BEST_ON_TEST_PER_FOLD, BEST_ON_TEST_EPOCH]
    chosen = pd.concat(select(predictions, rule).assign(rule=rule) for rule in rules)
    found, matrices = grouped_confusions(chosen, classes, ["rule"])
    score = pd.Series(score_matrices(matrices, metric), index=found)[rules]
    return pd.DataFrame({"score": score, "points": 100 * (score - score[LAST])}).rename_axis("rule")


def _check_epochs(predictions: pd.DataFrame, rule: str) -> None:
    """Every clip has every epoch once."""
    keys = [*KEY, "fold", "epoch"]
    check_columns(predictions, keys)
    if predictions.empty:
        raise MerError(
            "no predictions to select from; a run that only spots belongs in a table of kind: spotting"
        )
    if (empty := predictions[keys].isna().any()).any():
        raise MerError(f"the predictions have an empty {empty.idxmax()}")
    if (twice := predictions.duplicated([*KEY, "epoch"])).any():
        row = predictions[twice].iloc[0]
        raise MerError(f"clip {clip_name(row)} stands twice at epoch {row['epoch']}: give one seed's run")
    epochs = np.unique(predictions["epoch"])
    seen = predictions.groupby([*KEY, "fold"])["epoch"].transform("size")
    if (short := seen < len(epochs)).any():
        row = predictions[short].iloc[0]
        same = (predictions[[*KEY, "fold"]] == row[[*KEY, "fold"]]).all(axis=1)
        epoch = np.setdiff1d(epochs, predictions.loc[same, "epoch"])[0]
        raise MerError(
            f"fold {row['fold']} has no epoch {epoch} of clip {clip_name(row)}, which others have; "
            "remove the fold's folder and run again"
        )
    if rule != LAST and len(epochs) == 1 and epochs[0] > 1:
        raise MerError(
            f"select={rule} compares epochs, but only epoch {epochs[0]} was kept; train again with it set"
        )


def _correct_clips(predictions: pd.DataFrame) -> pd.DataFrame:
    """(folds, epochs): counts, whose equals are exact. A fold tests the same clips at every epoch."""
    groups, matrices = grouped_confusions(predictions, class_names(predictions), ["fold", "epoch"])
    return pd.Series(np.trace(matrices, axis1=1, axis2=2), index=groups).unstack("epoch")


def _validation_losses(predictions: pd.DataFrame, metrics: pd.DataFrame | None) -> pd.DataFrame:
    """(folds, epochs) validation losses, all finite."""
    if metrics is None:
        raise MerError(f"select={BEST_ON_VALIDATION} needs the folds' metrics")
    if missing := [name for name in ("fold", "epoch", VALIDATION) if name not in metrics.columns]:
        raise MerError(
            f"select={BEST_ON_VALIDATION}: the metrics have no column {', '.join(missing)}; "
            "keep validation subjects (protocol.validation=0.2)"
        )
    if (twice := metrics.duplicated(["fold", "epoch"])).any():
        row = metrics[twice].iloc[0]
        raise MerError(f"fold {row['fold']}: epoch {row['epoch']} stands twice in the metrics")
    losses = metrics.set_index(["fold", "epoch"])[VALIDATION]
    wanted = predictions.groupby(["fold", "epoch"]).size().index
    found = losses.reindex(wanted)
    if (bad := ~np.isfinite(found.to_numpy(dtype=np.float64))).any():
        fold, epoch = wanted[int(bad.argmax())]
        raise MerError(
            f"fold {fold}: no finite {VALIDATION} at epoch {epoch} ({int(bad.sum())} such); "
            "keep validation subjects (protocol.validation=0.2), and validate after every epoch"
        )
    return found.unstack("epoch")
