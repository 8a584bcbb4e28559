from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.svm import SVC
from torch import Tensor

from mer.data import splits
from mer.data.clips import targets as class_indices
from mer.data.drawn_clip import LABELS
from mer.data.encoded import encode
from mer.data.module import FoldData
from mer.data.splits import Split
from mer.data.synthetic import write_and_read
from mer.encodings import LBPTOP
from mer.errors import MerError
from mer.estimators import SVM, Kernel, Scale, check_descriptors, fit_estimator

Rows = tuple[NDArray[np.float64], NDArray[np.int64]]


def blurred_classes(
    *, rows: int = 120, features: int = 6, classes: int = 3, distance: float = 1.0, seed: int = 0
) -> Rows:
    """Normal clouds whose centres lie ``distance`` deviations from 0."""
    generator = np.random.default_rng(seed)
    target = np.arange(rows) % classes
    centres = generator.normal(size=(classes, features))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    return generator.normal(size=(rows, features)) + centres[target], target


def fitted(rows: Rows, *, num_classes: int = 3, **options: Any) -> SVM:
    svm = SVM(in_channels=rows[0].shape[1], num_classes=num_classes, **options)
    svm.fit(*rows)
    return svm


# The machine.


@pytest.mark.parametrize("kernel", ["linear", "poly", "rbf"])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_largest_probability_is_what_scikit_learn_predicts(kernel: Kernel, classes: int) -> None:
    train = blurred_classes(classes=classes, distance=0.3)
    # So blurred that votes of three and more classes tie, and many of them.
    test, _ = blurred_classes(rows=2000, classes=classes, distance=0.3, seed=1)
    probabilities = fitted(train, num_classes=classes, kernel=kernel, scale="none").probabilities(test)
    machine = SVC(kernel=kernel, break_ties=classes > 2).fit(*train)
    assert np.array_equal(probabilities.argmax(1), machine.predict(test))
    assert probabilities.shape == (2000, classes)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-12)
    if classes > 2:
        votes = SVC(kernel=kernel).fit(*train).predict(test)
        assert (votes != probabilities.argmax(1)).any()  # a tie, which the first class wins there


def test_two_classes_meet_at_one_half_on_the_border() -> None:
    # The border lies half-way between the nearest rows: at 1.
    rows = np.array([[-1.0], [0.0], [2.0], [5.0]])
    svm = fitted((rows, np.array([0, 0, 1, 1])), num_classes=2, scale="none", C=100)
    probabilities = svm.probabilities(np.array([[1.0], [2.0], [-8.0], [99.0]]))
    np.testing.assert_allclose(probabilities[0], 0.5, atol=1e-3)
    # On the margin the decision value is 1: softmax of (-1, 1).
    np.testing.assert_allclose(probabilities[1, 1], 1 / (1 + np.exp(-2)), atol=1e-3)
    assert probabilities[2, 0] > 0.999
    assert probabilities[3, 1] > 0.999


def test_clear_classes_are_told_apart() -> None:
    svm = fitted(blurred_classes(distance=8))
    test, target = blurred_classes(rows=300, distance=8)
    assert (svm.probabilities(test).argmax(1) == target).mean() > 0.99


def test_the_same_rows_give_the_same_bytes() -> None:
    train, (test, _) = blurred_classes(distance=0.3), blurred_classes(seed=1)
    one, other = (fitted(train).probabilities(test).tobytes() for _ in range(2))
    assert one == other


def test_a_class_without_training_rows_has_probability_0() -> None:
    features, target = blurred_classes(classes=2)
    probabilities = fitted((features, target * 2), num_classes=4).probabilities(features)
    assert probabilities.shape == (120, 4)
    assert not probabilities[:, [1, 3]].any()
    np.testing.assert_allclose(probabilities[:, [0, 2]].sum(1), 1)


def test_class_weights_are_scikit_learns_balanced() -> None:
    features, target = blurred_classes(distance=0.5)
    target[5:100] = 0
    counts = np.bincount(target, minlength=4)
    weights = np.where(counts > 0, len(target) / (3 * np.maximum(counts, 1)), 0)
    svm = SVM(in_channels=6, num_classes=4, scale="none")
    svm.fit(features, target, weights)
    test, _ = blurred_classes(rows=500, seed=2)
    machine = SVC(kernel="linear", class_weight="balanced", break_ties=True).fit(features, target)
    assert np.array_equal(svm.probabilities(test).argmax(1), machine.predict(test))
    plain = fitted((features, target), num_classes=4, scale="none").probabilities(test).argmax(1)
    assert (plain == 0).mean() > (svm.probabilities(test).argmax(1) == 0).mean()


# Scaling.


def predictions(train: Rows, test: NDArray[np.float64], **options: Any) -> NDArray[np.float64]:
    return fitted(train, **options).probabilities(test)


@pytest.mark.parametrize(("scale", "same"), [("common", True), ("standard", True), ("none", False)])
def test_one_factor_for_all_features(scale: Scale, same: bool) -> None:
    (train, target), (test, _) = blurred_classes(), blurred_classes(seed=1)
    one = predictions((train, target), test, scale=scale)
    # A power of two, and no shift: no digit is lost.
    other = predictions((train / 1024, target), test / 1024, scale=scale)
    assert np.array_equal(one, other) is same


@pytest.mark.parametrize(("scale", "same"), [("common", False), ("standard", True)])
def test_a_factor_for_each_feature(scale: Scale, same: bool) -> None:
    (train, target), (test, _) = blurred_classes(), blurred_classes(seed=1)
    factors = 2.0 ** np.arange(6)
    one = predictions((train, target), test, scale=scale)
    other = predictions((train * factors, target), test * factors, scale=scale)
    assert np.array_equal(one, other) is same


@pytest.mark.parametrize("scale", ["common", "standard"])
def test_scales_are_those_of_the_training_rows(scale: Scale) -> None:
    (train, target), (test, _) = blurred_classes(), blurred_classes(seed=1)
    deviation = train.std(0) if scale == "standard" else train.var(0).mean() ** 0.5
    scaled = [(rows - train.mean(0)) / deviation for rows in (train, test)]
    expected = predictions((scaled[0], target), scaled[1], scale="none")
    np.testing.assert_allclose(predictions((train, target), test, scale=scale), expected, rtol=1e-6)


@pytest.mark.parametrize("scale", ["common", "standard"])
def test_a_feature_that_training_rows_share_does_not_blow_up(scale: Scale) -> None:
    (train, target), (test, _) = blurred_classes(rows=90), blurred_classes(rows=90, seed=1)
    train[:, 0] = 0.1
    assert 0 < train[:, 0].std() < 1e-15  # rounding, not spread
    expected = predictions((train, target), test, scale=scale)
    test[:, 0] = 1e3
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(predictions((train, target), test, scale=scale), expected, atol=1e-6)
    train[:] = 0.1
    assert np.isfinite(predictions((train, target), test, scale=scale)).all()


# Folds.


def drawn(tmp_path: Path) -> tuple[Tensor, Tensor, list[Split]]:
    clips = write_and_read(tmp_path, subjects=3, clips_per_class=2, size=24)
    encoded = encode(clips, LBPTOP(blocks=3, radius_t=2), progress=False)
    return encoded.images, torch.tensor(class_indices(clips, LABELS)), splits.loso(clips)


def test_drawn_clips_go_through_from_frames_to_probabilities(tmp_path: Path) -> None:
    images, targets, folds = drawn(tmp_path)
    for fold in folds:
        svm = SVM(in_channels=images.shape[1], num_classes=3)
        probabilities = fit_estimator(svm, images, targets, fold)
        assert probabilities.shape == (6, 3)
        np.testing.assert_allclose(probabilities.sum(1), 1)
        # 12 clips in 1593 dimensions: those that it has seen are told apart.
        seen = svm.probabilities(images[list(fold.train)].flatten(1).numpy())
        assert np.array_equal(seen.argmax(1), targets[list(fold.train)].numpy())


def test_a_fold_depends_on_its_training_rows_alone(tmp_path: Path) -> None:
    images, targets, folds = drawn(tmp_path)
    fold = Split(folds[0].fold, folds[0].train[2:], folds[0].train[:2], folds[0].test)
    svm = SVM(in_channels=images.shape[1], num_classes=3)
    first = fit_estimator(svm, images, targets, fold)
    others = list(fold.validation + fold.test[1:])
    changed, wrong = images.clone(), targets.clone()
    changed[others] *= 7
    wrong[others] = (wrong[others] + 1) % 3
    again = fit_estimator(svm, changed, wrong, fold)  # fitted anew, too
    assert np.array_equal(again[0], first[0])
    backwards = Split(fold.fold, fold.train, fold.validation, fold.test[::-1])
    assert np.array_equal(fit_estimator(svm, images, targets, backwards), first[::-1])


def test_class_weights_of_the_data_module_are_taken(tmp_path: Path) -> None:
    clips = write_and_read(tmp_path, subjects=3, clips_per_class=2, size=24)
    encoded = encode(clips, LBPTOP(blocks=3, radius_t=2), progress=False)
    fold = splits.loso(clips)[0]
    few = Split(fold.fold, fold.train[:-3], (), fold.test)
    data = FoldData(clips=clips, classes=LABELS, split=few, encoded=encoded)
    # So soft a margin that the weights tell.
    svm = SVM(in_channels=data.in_channels, num_classes=data.num_classes, C=1e-4)
    plain = fit_estimator(svm, data.images, data.targets, few)
    weighted = fit_estimator(svm, data.images, data.targets, few, class_weights=data.class_weights())
    assert not np.allclose(plain, weighted)


# Errors.


def test_images_are_no_descriptors() -> None:
    split = Split("a/b", (0, 1), (), (2,))
    with pytest.raises(MerError, match=r"network=svm reads descriptors, not images of shape \(3, 28, 28\)"):
        fit_estimator(
            SVM(in_channels=3, num_classes=2), torch.zeros(3, 3, 28, 28), torch.tensor([0, 1, 0]), split
        )
    check_descriptors(torch.zeros(2, 59, 1, 1))


def test_one_class_is_refused_with_the_fold() -> None:
    split = Split("smic/s1", (0, 1), (), (2,))
    with pytest.raises(MerError, match=r"fold smic/s1: an SVM needs .* all 2 are of class 1"):
        fit_estimator(
            SVM(in_channels=4, num_classes=2), torch.zeros(3, 4, 1, 1), torch.tensor([1, 1, 0]), split
        )


def test_bad_options_and_features_are_refused() -> None:
    with pytest.raises(MerError, match=r"network\.kernel='sigmoid': choose one of linear, poly, rbf"):
        SVM(in_channels=4, num_classes=2, kernel="sigmoid")  # type: ignore[arg-type]
    with pytest.raises(MerError, match=r"network\.scale='minmax': choose one of common, standard, none"):
        SVM(in_channels=4, num_classes=2, scale="minmax")  # type: ignore[arg-type]
    for price in (0, -1, float("nan")):
        with pytest.raises(MerError, match=r"network\.C=.*: give a positive number"):
            SVM(in_channels=4, num_classes=2, C=price)
    svm = fitted(blurred_classes())
    with pytest.raises(MerError, match=r"an SVM for 6 features got an array of shape \(2, 5\)"):
        svm.probabilities(np.zeros((2, 5)))
    with pytest.raises(MerError, match="not fitted"):
        SVM(in_channels=4, num_classes=2).probabilities(np.zeros((1, 4)))
