"""Run folders that were edited: an error that names the file, or the same scores. Never others."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mer import runs, status, table
from mer.errors import MerError
from mer.runs._seal import read_sealed, write_sealed
from mer.scores import subset_scores
from mer.selection import RULES, select
from mer.statistics import METRICS, bootstrap_interval, mcnemar
from tests import trust
from tests.fuzz.config_mutations import HALF, damaged, mutated
from tests.run_folder import FOLDS, make_plan, make_predictions, make_run, seal_again
from tests.test_table import TABLE

STATUS = "mer status of a damaged or edited run folder"  # it reads no prediction
FILES = ("predictions.parquet", "metrics.csv", "run.yaml")


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fresh_run() -> Path:
    shutil.rmtree("runs", ignore_errors=True)
    run = make_run(Path("runs"))
    for fold in FOLDS:  # what a table shows of a run
        folder = runs.fold_folder(run, fold)
        record = read_sealed(folder / "run.yaml")
        more = {"seconds": 1.0, "mer": "0", "versions": {"torch": "0"}, "date": "2026-01-01"}
        write_sealed(folder / "run.yaml", record | more)
    return run


def scores(run: Path) -> pd.DataFrame:
    """All that is read of a run, on the way to its scores."""
    plan = runs.read_plan(run)
    predictions = select(runs.read_predictions(run), "last")
    for fold in plan.folds:
        runs.read_metrics(run, fold)
        runs.read_record(run, fold)
    return subset_scores(predictions, plan.classes)


@pytest.fixture(scope="module")
def true_scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return scores(make_run(tmp_path_factory.mktemp("true")))


def same_or_refused(kind: str, run: Path, expected: pd.DataFrame) -> object:
    found = trust.attempt("input", kind, lambda: scores(run))
    if isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    trust.attempt("input", STATUS, lambda: status.main(["runs", "--missing"]))
    return found


@given(data=st.data())
def test_a_damaged_file_never_gives_other_scores(data: st.DataObject, true_scores: pd.DataFrame) -> None:
    run = fresh_run()
    fold = runs.fold_folder(run, data.draw(st.sampled_from(FOLDS)))
    path = data.draw(st.sampled_from([run / "plan.yaml", *(fold / name for name in FILES)]))
    content = path.read_bytes()
    path.write_bytes(data.draw(damaged(content)))
    found = same_or_refused("run folder, damaged", run, true_scores)
    assert isinstance(found, MerError) or path.read_bytes() == content or path.parent == run


@given(data=st.data())
def test_an_edited_plan_or_record_never_gives_other_scores(
    data: st.DataObject, true_scores: pd.DataFrame
) -> None:
    """Without the seal, as a person edits it."""
    run = fresh_run()
    path = data.draw(st.sampled_from([run / "plan.yaml", runs.fold_folder(run, FOLDS[0]) / "run.yaml"]))
    document = data.draw(mutated(yaml.safe_load(path.read_text(encoding="utf-8"))))
    text = yaml.safe_dump(document, allow_unicode=True)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = trust.attempt("input", "plan.yaml or run.yaml, edited", lambda: scores(run))
    if isinstance(found, pd.DataFrame):
        # Another order or set of classes in the plan is other columns, which the predictions have not.
        pd.testing.assert_frame_equal(found, true_scores)
    trust.attempt("input", STATUS, lambda: status.main(["runs", "--missing"]))


Edit = Callable[[pd.DataFrame], pd.DataFrame]


def put(column: str, value: Any, row: int = 0) -> Edit:
    def edit(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[row, column] = value
        return table

    return edit


# Each makes the predictions of a fold say something else, with a seal that fits.
EDITS: dict[str, Edit] = {
    "a clip is missing": lambda table: table.iloc[1:],
    "no clip is left": lambda table: table.iloc[:0],
    "a clip stands twice": lambda table: pd.concat([table, table.iloc[:1]]),
    "a clip stands twice under another epoch": lambda table: pd.concat(
        [table, table.iloc[:1].assign(epoch=2)]
    ),
    "a clip of another name": put("clip", "other", 1),
    "a clip without a name": put("clip", None),
    "clips that are numbers": lambda table: table.assign(clip=range(len(table))),
    "another fold": put("fold", "casme2/s2"),
    "a fold without a name": put("fold", None),
    "another subject": lambda table: table.assign(subject="s9"),
    "another database": lambda table: table.assign(database="smic"),
    "a label unknown": put("label", "joy"),
    "no label": put("label", None),
    "labels that are numbers": lambda table: table.assign(label=1),
    "another seed": lambda table: table.assign(seed=1),
    "a seed of text": lambda table: table.assign(seed="0"),
    "no seed": lambda table: table.assign(seed=np.nan),
    "a negative epoch": lambda table: table.assign(epoch=-3),
    "epoch 0": lambda table: table.assign(epoch=0),
    "a later epoch": lambda table: table.assign(epoch=4),
    "an epoch of text": lambda table: table.assign(epoch="3"),
    "an epoch and a half": lambda table: table.assign(epoch=1.5),
    "no epoch": lambda table: table.assign(epoch=np.nan),
    "a probability that is none": put("p_negative", np.nan),
    "an infinite probability": put("p_negative", np.inf),
    "a negative probability": put("p_negative", -0.5),
    "a probability above 1": put("p_negative", 7.0),
    "probabilities of text": lambda table: table.assign(p_negative=table["p_negative"].astype(str)),
    "probabilities of lists": lambda table: table.assign(
        p_negative=pd.Series([[0.5]] * len(table), dtype=object)
    ),
    "probabilities that do not add up": lambda table: table.assign(p_negative=0.9, p_positive=0.9),
    "a column more": lambda table: table.assign(p_joy=0.5),
    "a column less": lambda table: table.drop(columns="p_positive"),
    "columns in another order": lambda table: table[table.columns[::-1]],
    "a column of another name": lambda table: table.rename(columns={"p_negative": "p_Negative"}),
    "columns that are numbers": lambda table: table.set_axis(range(table.shape[1]), axis=1).rename(
        columns=str
    ),
    "no column": lambda table: table[[]],
}
# What these change is not what is scored. With its seal made anew, nothing else tells of it.
SAME_SCORES = {"a clip of another name", "another subject", "epoch 0"}


@pytest.mark.parametrize("name", EDITS)
def test_edited_predictions_never_give_other_scores(name: str, true_scores: pd.DataFrame) -> None:
    run = fresh_run()
    folder = runs.fold_folder(run, FOLDS[0])
    path = folder / "predictions.parquet"
    EDITS[name](pd.read_parquet(path)).to_parquet(path, index=False)
    seal_again(folder)
    found = same_or_refused(f"predictions: {name}", run, true_scores)
    assert isinstance(found, MerError) or name in SAME_SCORES


@pytest.mark.parametrize("file", FILES)
def test_files_of_two_folds_that_change_places_are_noticed(file: str, true_scores: pd.DataFrame) -> None:
    run = fresh_run()
    one, other = (runs.fold_folder(run, fold) / file for fold in FOLDS[:2])
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    assert isinstance(same_or_refused("files of two folds swapped", run, true_scores), MerError)
    for fold in FOLDS[:2]:
        if file != "run.yaml":
            seal_again(runs.fold_folder(run, fold))
    if file == "predictions.parquet":  # metrics name no fold
        assert isinstance(same_or_refused("files of two folds swapped", run, true_scores), MerError)


METRICS_CSV = [
    *(
        "",
        "\n",
        "epoch\n",
        "epoch,train_loss\n1\n",
        "train_loss\n1\n",
        "epoch,train_loss\nx,y\n",
        "\x00",
        "a\n\x00\n",
    ),
    *(
        "epoch,train_loss\n1,2,3\n",
        '"epoch\n',
        "epoch,epoch\n1,1\n",
        "epoch,train_loss\n-1,nan\n",
        "epoch;val_loss\n1;2\n",
    ),
    *(
        "epoch,val_loss\n1,inf\n3,\n",
        "\ufeffepoch,val_loss\n3,0.5\n",
        "epoch,val_loss\n3,0.5\n3,0.5\n",
        "epoch,val_loss\n3,x\n",
    ),
]


@HALF
@given(text=st.sampled_from(METRICS_CSV) | st.text(max_size=40), rule=st.sampled_from(RULES))
def test_metrics_are_read_or_refused(text: str, rule: str) -> None:
    run = fresh_run()
    folder = runs.fold_folder(run, FOLDS[0])
    (folder / "metrics.csv").write_text(text, encoding="utf-8", errors="replace")
    seal_again(folder)

    def read() -> object:
        metrics = pd.concat(runs.read_metrics(run, fold).assign(fold=fold) for fold in FOLDS)
        return select(runs.read_predictions(run), rule, metrics)

    trust.attempt("input", "metrics.csv", read)


@st.composite
def predictions(draw: st.DrawFn) -> pd.DataFrame:
    """Predictions with several edits, as a notebook may hand them over."""
    found = pd.concat([make_predictions(fold) for fold in FOLDS], ignore_index=True)
    for name in draw(st.lists(st.sampled_from(sorted(EDITS)), min_size=1, max_size=2)):
        try:
            found = EDITS[name](found).reset_index(drop=True)
        except (KeyError, ValueError):  # the first edit has taken its column away
            continue
    return found


@HALF
@given(frame=predictions(), rule=st.sampled_from(RULES), metric=st.sampled_from([*METRICS, "auc"]))
def test_functions_of_predictions_score_or_refuse(frame: pd.DataFrame, rule: str, metric: str) -> None:
    classes = ["negative", "positive"]
    calls: list[Callable[[], object]] = [
        lambda: select(frame, rule),
        lambda: bootstrap_interval(frame, classes, metric, draws=5),
        lambda: mcnemar(frame, frame),
        lambda: subset_scores(frame, classes),
    ]
    for call in calls:
        trust.attempt("input", "predictions handed over", call)


TRICKS = {
    "billion laughs": "&a0 [x, x]\n"
    + "".join(f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40)),
    "config in itself": "config: &a {x: *a}\nclasses: [a]\nfolds: [b/c]\nclips: 1\ncontent: ab\n",
    "lists in lists": "[" * 100_000,
    "tag": "config: !!python/object/apply:os.system ['touch fuzz-marker']\n",
    "numbers as names": "config: {}\nclasses: [1, 2]\nfolds: [1]\nclips: 1\ncontent: ab\n",
    "names that climb": "config: {}\nclasses: [a, b]\nfolds: [../../x, /etc/passwd]\nclips: 1\ncontent: ab\n",
    "lists as names": "config: {}\nclasses: [[a]]\nfolds: [[a]]\nclips: 1\ncontent: ab\n",
    "zero byte": 'config: {}\nclasses: [a, b]\nfolds: ["a\\0/b"]\nclips: 1\ncontent: ab\n',
    "long name": f"config: {{}}\nclasses: [a, b]\nfolds: [a/{'b' * 5000}]\nclips: 1\ncontent: ab\n",
    "long number": f"config: {{}}\nclasses: [a, b]\nfolds: [a/b]\nclips: {'9' * 5000}\ncontent: ab\n",
}
TRICKS["billion laughs"] = (
    "config:\n  b0: "
    + TRICKS["billion laughs"].replace("\n", "\n  ").rstrip()
    + ("\nclasses: [a, b]\nfolds: [c/d]\nclips: 1\ncontent: ab\n")
)


@pytest.mark.parametrize("name", TRICKS)
def test_a_trick_in_plan_yaml_is_refused(name: str) -> None:
    run = fresh_run()
    (run / "plan.yaml").write_text(TRICKS[name])
    plan = make_plan()
    assert isinstance(trust.attempt("input", "YAML trick", lambda: scores(run)), MerError)
    trust.attempt("input", "YAML trick, and the run started again", lambda: runs.start(run, plan))
    trust.attempt("input", STATUS, lambda: status.main(["runs", "--missing"]))
    assert not Path("fuzz-marker").exists()


@HALF
@given(data=st.data())
def test_a_table_of_an_edited_run_is_rendered_or_refused(
    data: st.DataObject, capsys: pytest.CaptureFixture[str]
) -> None:
    run = fresh_run()
    Path("table.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    table.main(["table.yaml", "--partial"])
    before = capsys.readouterr().out
    fold = runs.fold_folder(run, data.draw(st.sampled_from(FOLDS)))
    path = data.draw(st.sampled_from([run / "plan.yaml", fold / "run.yaml"]))
    document = data.draw(mutated(yaml.safe_load(path.read_text(encoding="utf-8")), most=1))
    path.write_bytes(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogateescape"))
    found = trust.attempt("input", "table of an edited run", lambda: table.main(["table.yaml", "--partial"]))
    if not isinstance(found, MerError):
        # Cells of the same scores, or none: what an edited record says of itself is shown below them.
        ours = [line for line in capsys.readouterr().out.splitlines() if "ours" in line]
        assert ours == [line for line in before.splitlines() if "ours" in line] or "PARTIAL" in " ".join(ours)


SMALL = {key: TABLE[key] for key in ("title", "seeds", "protocol")} | {
    "data": "synthetic",
    "columns": {"uf1": {"subset": "all", "metric": "uf1", "header": "UF1"}},
    "rows": [{"label": "LAENet", "variant": "laenet/base"}],
}


def test_the_small_table_shows_the_score(
    true_scores: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the test above compares nothing."""
    fresh_run()
    Path("table.yaml").write_text(yaml.safe_dump(SMALL, sort_keys=False))
    table.main(["table.yaml", "--partial"])
    assert f"{true_scores['uf1'].iloc[0]:.4f}" in capsys.readouterr().out
