"""The loader of table files, and the table of LAENet that is shipped."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from mer import metrics, table_file
from mer.errors import MerError
from mer.print_notes import footnote_text
from mer.table_file import Table, load_table, printed_number
from tests.test_table import TABLE

TABLE4 = Path(__file__).parents[1] / "experiments" / "laenet" / "table4.yaml"
LABELS = {"smic": (70, 51, 43), "casme2": (88, 32, 25), "samm": (92, 26, 15)}
# Table 5 of LAENet, in percent: STSTNet by database, rows true, columns predicted.
STSTNET = {
    "smic": [[77.14, 14.29, 8.57], [33.33, 58.82, 7.84], [32.56, 2.33, 65.12]],
    "casme2": [[94.32, 5.68, 0], [37.50, 59.38, 3.13], [8, 0, 92]],
    "samm": [[89.13, 7.61, 3.26], [42.31, 50.00, 7.69], [33.33, 13.33, 53.33]],
}


@pytest.fixture(scope="module")
def table4() -> Table:
    return load_table(TABLE4)


def ststnet(database: str) -> NDArray[np.int64]:
    clips = np.array(STSTNET[database]) * np.array(LABELS[database])[:, None] / 100
    return np.asarray(np.rint(clips), dtype=np.int64)


def test_table4_holds_the_rows_of_the_paper(table4: Table) -> None:
    labels = [row.label for row in table4.rows]
    assert [label.split(" ")[0] for label in labels if label[0].isdigit()] == [str(n) for n in range(1, 13)]
    assert [row.variant for row in table4.rows if row.variant] == ["ststnet/base", "laenet/base"]
    assert {row.label.split(" ")[0] for row in table4.rows if row.quote} == {
        "1",
        "3",
        "8",
        "9",
        "10",
        "11",
    }
    assert labels[0] == "Majority class"


def test_ststnet_row_is_its_confusion_matrix(table4: Table) -> None:
    printed = next(row for row in table4.rows if row.label.startswith("11 STSTNet")).paper
    total = np.array([[219, 22, 9], [40, 62, 7], [21, 3, 59]])
    assert np.sum([ststnet(name) for name in LABELS], axis=0).tolist() == total.tolist()
    assert printed["acc"] == f"{metrics.accuracy(total):.4f}"
    assert printed["f1"] == f"{metrics.f1_score(total):.4f}"
    assert printed["uf1"] == f"{metrics.uf1(total):.4f}"
    assert printed["uar"] == f"{metrics.macro_precision(total):.4f}"
    for name in LABELS:
        assert printed[f"{name}_uf1"] == f"{metrics.uf1(ststnet(name)):.4f}"
        assert printed[f"{name}_uar"] == f"{metrics.macro_precision(ststnet(name)):.4f}"
    text = footnote_text(TABLE4, "matrices", table4.footnotes["matrices"], "11 STSTNet [47]")
    for matrix in (total, *map(ststnet, LABELS)):
        assert f"{matrix.tolist()}; its UAR is {metrics.uar(matrix):.4f}, printed" in text


def test_table7_row_is_a_whole_number_of_clips(table4: Table) -> None:
    printed = next(row for row in table4.rows if row.variant == "laenet/base").paper
    assert printed == {"acc": f"{329 / 442:.2%}"}


def test_majority_class_of_the_442_clips() -> None:
    counts = np.array(list(LABELS.values())).sum(axis=0)
    scores = metrics.scores(np.outer(counts, [1, 0, 0]))
    assert [f"{scores[name]:.3f}" for name in ("accuracy", "uf1", "uar")] == ["0.566", "0.241", "0.333"]


def test_printed_numbers() -> None:
    assert [printed_number(text) for text in ("0.5280", "74.43%", "-")] == [0.528, 0.7443, None]


def test_numbers_keep_their_zeros(tmp_path: Path) -> None:
    path = tmp_path / "table.yaml"
    text = yaml.safe_dump(TABLE, sort_keys=False)
    assert "acc: '0.5280'" in text
    path.write_text(text.replace("acc: '0.5280'", "acc: 0.5280"))
    assert load_table(path).rows[1].paper == {"acc": "0.5280", "uf1": "0.25"}


def put(*keys: str | int, value: Any) -> Callable[[Any], None]:
    """An edit of the document; the value None removes the key."""

    def edit(node: Any) -> None:
        for key in keys[:-1]:
            node = node[key]
        if value is None:
            del node[keys[-1]]
        else:
            node[keys[-1]] = value

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("titel", value="x"), "titel: unknown key"),
        (put("title", value=None), "title: missing"),
        (put("title", value=" "), "title: ' ' does not fit, a text is needed"),
        (put("paper", "table", value=None), r"paper\.table: missing"),
        (put("seeds", value=[0, 0]), "seeds: different"),
        (put("seeds", value=["one"]), "seeds: different whole numbers"),
        (put("columns", "acc", "metric", value="auc"), r"columns\.acc\.metric=auc: choose accuracy"),
        (put("columns", "acc", "sub", value="all"), r"columns\.acc\.sub: unknown key"),
        (put("columns", "acc", "data", value=1), r"columns\.acc\.data: 1 does not fit, a text is needed"),
        (
            put("columns", "acc", "interval", value="yes"),
            r"columns\.acc\.interval: 'yes' does not fit",
        ),
        (put("select", value="best"), "select=best: choose last, best_on_validation"),
        (put("kind", value="counts"), "kind=counts: not a table of scores"),
        (put("rows", 1, "needs", value=[1]), r"rows\[2\] \(Net \[1\]\)\.needs: names of data are needed"),
        (put("columns", value={}), r"rows\[2\] \(Net \[1\]\)\.paper\.acc: no such column"),
        (put("rows", value=[]), r"footnotes\.odd: no row has it"),
        (put("rows", 1, "paper", "wf1", value="0.1"), r"rows\[2\] \(Net \[1\]\)\.paper\.wf1: no such column"),
        (put("rows", 1, "paper", "acc", value="high"), r"paper\.acc: 'high' is no number"),
        (put("rows", 1, "paper", "acc", value=74), r"paper\.acc: 74 is not in 0\.\.1; .*74\.43%"),
        (put("rows", 1, "notes", value=["even"]), r"rows\[2\].*notes: 'even' is no key of footnotes"),
        (put("rows", 1, "notes", value=[{"odd": 1}]), r"rows\[2\].*notes: .* is no key of footnotes"),
        (put("rows", 1, "not_run", value="later"), "exactly one of variant, not_run and kind"),
        (put("rows", 1, "variant", value="base"), "variant=base: <experiment>/<variant> is needed"),
        (put("rows", 0, "kind", value="mean"), "the one kind is majority"),
        (put("rows", 1, "label", value="Narrow"), "the label 'Narrow' stands twice"),
        (put("rows", 1, value="Net"), r"rows\[2\]: a mapping is needed"),
        (put("footnotes", "idle", value="Nobody's."), r"footnotes\.idle: no row has it"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, edit: Callable[[Any], None], message: str) -> None:
    document = deepcopy(TABLE)
    edit(document)
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(MerError, match=message) as caught:
        load_table(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "cannot be read"),
        ("title: " + "9" * 5000, "cannot be read"),
        ("title: &a [*a]", "an alias stands for itself"),
        ("- a", "mapping"),
        ("title: a\ntitle: b", "'title' stands twice"),
    ],
)
def test_files_that_are_no_table(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.yaml"
    path.write_text(text)
    with pytest.raises(MerError, match=message) as caught:
        load_table(path)
    assert "\n" not in str(caught.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="no such table file"):
        load_table(tmp_path / "none.yaml")


def test_a_stand_in_takes_every_column(tmp_path: Path) -> None:
    document = deepcopy(TABLE)
    put("columns", "acc", "data", value="others")(document)
    put("columns", "acc", "protocol", value="lovo")(document)
    path = tmp_path / "table.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    table = load_table(path)
    assert table.homes == (("others", "lovo"), ("faces", "loso"))
    assert table.on("synthetic").homes == (("synthetic", "lovo"), ("synthetic", "loso"))


def test_metrics_are_those_that_we_count() -> None:
    assert list(table_file.METRICS) == list(metrics.scores([[1]]))


def test_a_table_of_our_own_needs_no_paper() -> None:
    table = load_table(Path(__file__).parents[1] / "experiments/demo/table.yaml")
    assert table.paper is None
    assert [row.variant for row in table.rows if row.variant] == [
        "demo/base",
        "demo/ststnet",
        "demo/shuffled_labels",
        "demo/onset_only",
    ]
