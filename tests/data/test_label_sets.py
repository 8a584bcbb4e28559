"""The label maps in conf/data, used without Hydra."""

import pandas as pd
import pytest

from mer.data.label_sets import apply_labels, labels_of
from mer.errors import MerError


def test_default_and_named_sets() -> None:
    classes, label_map = labels_of("casme2")
    assert classes == ["happiness", "disgust", "surprise", "repression", "others"]
    assert label_map is not None
    assert label_map["fear"] is None
    assert labels_of("casme2", "3class")[0] == ["negative", "positive", "surprise"]
    assert labels_of("megc2019_uvos")[0] == [
        "negative",
        "positive",
        "surprise",
    ]  # encoded data: another package


def test_unknown_sets_name_those_that_there_are() -> None:
    with pytest.raises(MerError, match=r"data.labels=9class: casme2 has original, 5class, 4class, 3class"):
        labels_of("casme2", "9class")
    with pytest.raises(MerError, match=r"data.labels=3class: synthetic has one label map only"):
        labels_of("synthetic", "3class")


def test_without_a_map_every_label_is_a_class_in_sorted_order() -> None:
    clips = pd.DataFrame({"database": "d", "subject": "s", "clip": ["1", "2", "3"], "label": ["b", "a", "b"]})
    mapped, classes = apply_labels(clips, None, None, "table.csv")
    assert classes == ["a", "b"]
    assert mapped["label"].tolist() == ["b", "a", "b"]
