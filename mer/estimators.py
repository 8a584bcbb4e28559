"""Classifiers that are fitted in one go, on descriptors, without Lightning: the SVM of the classical rows."""

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mer.data.splits import Split
from mer.errors import MerError

Kernel = Literal["linear", "poly", "rbf"]
Scale = Literal["common", "standard", "none"]
Features = NDArray[np.floating[Any]]


class SVM:
    """Support vector machine with soft margin, one class against one (LIBSVM, through scikit-learn).

    It is built as a network is. No random number is drawn: the same rows give the same bytes. None of the
    papers prints its settings; the defaults are ours.

    Args:
        in_channels: features of a clip, the channels of its image of one pixel.
        num_classes: classes of the label map.
        kernel: ``linear``, ``poly`` (degree 3) or ``rbf``; the last two with gamma = 1 / (features * their
            variance).
        C: price of a training clip on the wrong side of the margin.
        scale: ``common`` divides all features by one number, the root of their mean variance over the
            training rows: C means the same for every descriptor, and each keeps its own weights, which are
            the point of Bi-WOOF. ``standard`` brings each feature to deviation 1; one without spread stays
            0. Both take the mean away first. ``none`` takes features as they are; histograms of thousands
            of bins then want a C of some 10^4.

    Raises:
        MerError: an option is out of range.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        kernel: Kernel = "linear",
        C: float = 1.0,
        scale: Scale = "common",
    ) -> None:
        if kernel not in get_args(Kernel):
            raise MerError(f"network.kernel={kernel!r}: choose one of {', '.join(get_args(Kernel))}")
        if scale not in get_args(Scale):
            raise MerError(f"network.scale={scale!r}: choose one of {', '.join(get_args(Scale))}")
        if not C > 0:
            raise MerError(f"network.C={C}: give a positive number")
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.kernel: Kernel = kernel
        self.C = C
        self.scale: Scale = scale
        self._machine: Any = None
        self._centre: Any = 0.0
        self._deviation: Any = 1.0

    def fit(
        self,
        features: Features,
        targets: NDArray[np.integer[Any]],
        class_weights: Features | None = None,
    ) -> None:
        """Fit scaling and machine to the training rows alone.

        Args:
            features: (N, in_channels), finite.
            targets: (N,) class of each row.
            class_weights: (num_classes,) factor of C for the rows of each class, or None.

        Raises:
            MerError: another number of features; rows of one class only.
        """
        from sklearn.svm import SVC

        rows = self._checked(features)
        if len(classes := np.unique(targets)) < 2:
            raise MerError(
                f"an SVM needs training clips of two classes or more, and all {len(targets)} are of class "
                f"{classes[0]}; choose another protocol or label map"
            )
        self._learn_scale(rows)
        self._machine = SVC(
            kernel=self.kernel,
            C=self.C,
            class_weight=None if class_weights is None else {k: float(class_weights[k]) for k in classes},
            decision_function_shape="ovr",
            break_ties=True,
        ).fit(self._scaled(rows), targets)

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Softmax of the decision values; 0 for a class without a training row.

        The decision value of a class is the number of its wins against the others, plus less than a third
        by how clear they were (scikit-learn's "ovr"); of two classes, it is the signed distance. So the
        largest is the predicted class, and the numbers rank classes, but are no calibrated probabilities.
        SVC's own come from a random cross-validation, and may contradict its prediction.

        Args:
            features: (N, in_channels), finite.

        Returns:
            (N, num_classes), each row of sum 1.

        Raises:
            MerError: it is not fitted; another number of features.
        """
        if self._machine is None:
            raise MerError("this SVM is not fitted; call fit first")
        values = self._machine.decision_function(self._scaled(self._checked(features)))
        if values.ndim == 1:  # two classes: one value, positive for the second
            values = np.stack([-values, values], axis=1)
        exponentials = np.exp(values - values.max(axis=1, keepdims=True))
        probabilities = np.zeros((len(features), self.num_classes))
        probabilities[:, self._machine.classes_] = exponentials / exponentials.sum(axis=1, keepdims=True)
        return probabilities

    def _learn_scale(self, rows: NDArray[np.float64]) -> None:
        if self.scale == "none":
            return
        self._centre = rows.mean(axis=0)
        if self.scale == "common":
            deviation = np.sqrt(rows.var(axis=0).mean())
            self._deviation = deviation if deviation > 0 else 1.0
        else:
            # By their range: rounding leaves equal numbers a deviation, by which new rows would be divided.
            self._deviation = np.where(np.ptp(rows, axis=0) > 0, rows.std(axis=0), 1.0)

    def _scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = (rows - self._centre) / self._deviation
        return scaled

    def _checked(self, features: Features) -> NDArray[np.float64]:
        """Features in double precision, which LIBSVM computes in."""
        if features.ndim != 2 or features.shape[1] != self.in_channels:
            raise MerError(
                f"an SVM for {self.in_channels} features got an array of shape {tuple(features.shape)}"
            )
        return features.astype(np.float64)


def check_descriptors(images: Tensor) -> None:
    """Raise MerError unless encoded images are descriptors: (N, features, 1, 1)."""
    if images.ndim != 4 or images.shape[2:] != (1, 1):
        raise MerError(
            f"network=svm reads descriptors, not images of shape {tuple(images.shape[1:])}: choose "
            "encoding=lbp_top or encoding=bi_woof"
        )


def fit_estimator(
    estimator: SVM,
    images: Tensor,
    targets: Tensor,
    split: Split,
    *,
    class_weights: Tensor | None = None,
) -> NDArray[np.float64]:
    """Fit an estimator to the training rows of a fold and predict its test rows.

    Validation rows are left out: there is no epoch to choose.

    Args:
        estimator: is fitted anew.
        images: (N, features, 1, 1) of the whole clip table.
        targets: (N,) int64.
        split: rows of this fold.
        class_weights: (num_classes,), or None.

    Returns:
        (test rows, num_classes) probabilities, in the order of ``split.test``.

    Raises:
        MerError: images that are no descriptors; naming the fold, what the estimator cannot be fitted to.
    """
    check_descriptors(images)
    train, test = (images[list(rows)].flatten(1).numpy() for rows in (split.train, split.test))
    weights = None if class_weights is None else class_weights.numpy()
    try:
        estimator.fit(train, targets[list(split.train)].numpy(), weights)
    except MerError as error:
        raise MerError(f"fold {split.fold}: {error}") from error
    return estimator.probabilities(test)
