from typing import Any

import pandas as pd
import pytest

from mer.data.clips import class_counts, map_labels, targets, validate
from mer.errors import MerError

CLASSES = ["negative", "positive"]


def table(*rows: dict[str, Any]) -> pd.DataFrame:
    default = {
        "database": "d",
        "subject": "s1",
        "clip": "c1",
        "label": "happy",
        "onset": 1,
        "apex": 5,
        "offset": 9,
        "fps": 200,
        "frames": "/frames",
    }
    return pd.DataFrame([default | row for row in rows or ({},)])


def test_rows_are_sorted_and_columns_have_the_contract_s_types() -> None:
    given = table({"subject": "s2"}, {"clip": "c2"}, {"subject": 1, "onset": None, "fps": 29.97})
    got = validate(given.assign(note="other columns are dropped"), "table.csv")
    assert got[["subject", "clip"]].to_numpy().tolist() == [["1", "c1"], ["s1", "c2"], ["s2", "c1"]]
    assert [str(got[column].dtype) for column in ("onset", "apex", "offset", "fps")] == ["Int64"] * 3 + [
        "Float64"
    ]
    assert pd.isna(got["onset"][0])
    assert got["fps"][0] == 29.97
    assert list(got.index) == [0, 1, 2]
    assert "note" not in got.columns


def test_the_given_table_is_not_changed() -> None:
    given = table({"subject": " s1 "})
    before = given.copy()
    validate(given, "table.csv")
    pd.testing.assert_frame_equal(given, before)


def test_a_name_with_blanks_around_it_is_the_same_name() -> None:
    # As two subjects, one person would be trained on and tested.
    got = validate(table({"subject": "s1"}, {"subject": "s1 ", "clip": "c2", "label": " happy"}), "table.csv")
    assert got["subject"].tolist() == ["s1", "s1"]
    assert got["label"].tolist() == ["happy", "happy"]


@pytest.mark.parametrize("missing", [None, pd.NA, float("nan")])
def test_frame_numbers_may_be_missing(missing: Any) -> None:
    given = table().astype({"apex": object})
    given.at[0, "apex"] = missing
    assert pd.isna(validate(given, "table.csv")["apex"][0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"subject": None}, r"table.csv: clip d/.*/c1 has no subject; fill it in"),
        ({"label": "  "}, r"d/s1/c1 has no label; fill it in"),
        ({"frames": ""}, r"d/s1/c1 has no frames"),
        ({"apex": "/"}, r"d/s1/c1 has the apex '/', which is no frame number; correct it or leave it empty"),
        ({"onset": 1.5}, r"d/s1/c1 has the onset '1.5', which is no frame number"),
        ({"offset": float("inf")}, r"d/s1/c1 has the offset 'inf', which is no frame number"),
        ({"fps": "fast"}, r"d/s1/c1 has the fps 'fast', which is no number"),
        ({"onset": 6}, r"d/s1/c1 has onset 6, apex 5, offset 9; they must not decrease"),
        ({"apex": 10}, r"onset 1, apex 10, offset 9; they must not decrease"),
        ({"onset": 10, "apex": None}, r"onset 10, apex <NA>, offset 9; they must not decrease"),
    ],
)
def test_a_bad_row_is_named(row: dict[str, Any], message: str) -> None:
    with pytest.raises(MerError, match=message):
        validate(table({"clip": "c0"}, row), "table.csv")


def test_a_bad_table_is_named() -> None:
    with pytest.raises(MerError, match=r"table.csv: no clip found; check that the root"):
        validate(table().iloc[:0], "table.csv")
    with pytest.raises(MerError, match=r"table.csv: the clip table lacks the column\(s\) label, fps"):
        validate(table().drop(columns=["label", "fps"]), "table.csv")
    with pytest.raises(MerError, match=r"exactly one of the columns frames and image, not \[\]"):
        validate(table().drop(columns="frames"), "table.csv")
    with pytest.raises(MerError, match=r"exactly one of the columns frames and image"):
        validate(table().assign(image="/image.png"), "table.csv")
    with pytest.raises(MerError, match=r"table.csv: clip d/s1/c1 has 2 rows; a clip has one"):
        validate(table({}, {"label": "sad"}, {"clip": "c2"}, {"clip": "c2"}), "table.csv")
    assert len(validate(table({}, {"database": "e"}), "table.csv")) == 2, "one name in two databases"


def test_labels_become_classes_and_null_leaves_clips_out() -> None:
    given = validate(
        table({"clip": "c1", "label": "sad"}, {"clip": "c2", "label": "others"}, {"clip": "c3"}), "t"
    )
    got = map_labels(given, {"happy": "positive", "sad": "negative", "others": None}, CLASSES, "t")
    assert got["clip"].tolist() == ["c1", "c3"]
    assert got["label"].tolist() == ["negative", "positive"]
    assert list(got.index) == [0, 1], "positions in the table are what splits name"
    assert targets(got, CLASSES) == [0, 1]
    assert targets(got, CLASSES[::-1]) == [1, 0]


def test_a_label_map_with_numbers_for_keys() -> None:
    given = validate(table({"label": 1}), "t")
    assert map_labels(given, {1: "positive"}, CLASSES, "t")["label"].tolist() == ["positive"]  # type: ignore[dict-item]
    with pytest.raises(MerError, match=r"has the label '1', which is not in the label map \(2\)"):
        map_labels(given, {2: "positive"}, CLASSES, "t")  # type: ignore[dict-item]


def test_a_bad_label_map_is_named() -> None:
    given = validate(table(), "table.csv")
    with pytest.raises(
        MerError, match=r"table.csv: clip d/s1/c1 has the label 'happy'.*\(sad\): add it to data.label_map"
    ):
        map_labels(given, {"sad": "negative"}, CLASSES, "table.csv")
    with pytest.raises(MerError, match=r"data.label_map names the class 'joy', which is not in data.classes"):
        map_labels(given, {"happy": "joy"}, CLASSES, "table.csv")
    with pytest.raises(MerError, match=r"data.label_map leaves out all 1 clips"):
        map_labels(given, {"happy": None}, CLASSES, "table.csv")


def test_counts_are_a_database_a_label() -> None:
    given = validate(table({}, {"clip": "c2", "label": "sad"}, {"database": "e", "subject": "s9"}), "t")
    counts = class_counts(given)
    assert counts.loc["d"].to_dict() == {"happy": 1, "sad": 1, "subjects": 1}
    assert counts.loc["e"].to_dict() == {"happy": 1, "sad": 0, "subjects": 1}


@pytest.mark.parametrize("number", [-5, 10**30, 2**63, 1e19, 1 + 2j, [1], float("inf")])
def test_a_number_that_no_frame_has_is_refused_and_not_another_one(number: object) -> None:
    row = {"database": "d", "subject": "s", "clip": "c", "label": "joy", "frames": "f", "fps": None}
    table = pd.DataFrame([row | {"onset": None, "apex": None, "offset": number}], dtype=object)
    with pytest.raises(MerError, match=r"sheet: clip d/s/c has the offset '.*', which is no frame number"):
        validate(table, "sheet")


@pytest.mark.parametrize("other", ["S1", "s1\u200b", "\uff531", "s 1", "s1\u00ad"])
def test_subjects_that_are_spelt_alike_are_not_two(other: str) -> None:
    """One would be trained on and the other tested."""
    with pytest.raises(MerError, match=r"t\.csv: the subjects 'd/.*' and 'd/.*' are spelt alike"):
        validate(table({"subject": "s1"}, {"subject": other}), "t.csv")


def test_a_database_that_is_spelt_alike_is_not_two() -> None:
    with pytest.raises(MerError, match=r"the subjects 'd/s1' and 'D/s1' are spelt alike"):
        validate(table({"subject": "s1"}, {"subject": "s1", "database": "D"}), "t.csv")


def test_names_that_differ_are_left_alone() -> None:
    names = ["s1", "s01", "s11", "s1b", "sub1", "é", "e", "1", "s-1"]
    assert validate(table(*({"subject": name} for name in names)), "t")["subject"].tolist() == sorted(names)
