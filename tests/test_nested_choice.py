"""A nested choice: what it reads, whom it lets choose, and what it refuses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mer import runs, table
from mer.errors import MerError
from mer.nested_choice import (
    TESTED,
    Candidate,
    Choice,
    choose,
    group_subjects,
    nested_predictions,
    read_candidate,
    read_stored_candidate,
    write_candidate,
)
from mer.runs import KEY, RunKey
from mer.scores import subset_scores
from tests.run_folder import make_metrics, make_plan, make_record
from tests.table_kinds.sheets import example, sheet_of, write_table
from tests.test_epoch_counts import RECORD

CLASSES = ["negative", "positive"]
SUBJECTS = ["a/s1", "a/s2", "a/s3", "b/s1"]
GROUPS = [["a/s1", "b/s1"], ["a/s2", "a/s3"]]
LAST = 3


def predictions(subject: str, fold: str, right: float, seed: int, epochs: int) -> pd.DataFrame:
    """Four clips of a subject, told with this probability for the true class; the others before the end."""
    database, name = subject.split("/")
    rows = []
    for epoch in range(LAST - epochs + 1, LAST + 1):
        for clip in range(4):
            label = CLASSES[clip % 2]
            true = right if epoch == LAST else 1 - right
            p = {f"p_{each}": np.float32(true if each == label else 1 - true) for each in CLASSES}
            key = {"database": database, "subject": name, "clip": f"c{clip}"}
            rows.append({**key, "fold": fold, "seed": seed, "epoch": epoch, "label": label, **p})
    return pd.DataFrame(rows)


def write_run(
    runs_dir: Path, key: RunKey, folds: Mapping[str, list[str]], right: float, **changes: Any
) -> None:
    """A finished run whose folds test these subjects."""
    epochs = changes.pop("epochs", 1)
    outer = {"outer": int(key.tag.split("-")[1]), "groups": 2} if key.tag else {}
    config = {"epochs": LAST, "protocol": outer, **changes}
    plan = make_plan(config=config, folds=list(folds), clips=4 * sum(map(len, folds.values())))
    runs.start(key.folder(runs_dir), plan)
    for fold, subjects in folds.items():
        each = [predictions(subject, fold, right, key.seed, epochs) for subject in subjects]
        with runs.claim(key.folder(runs_dir), fold) as folder:
            metrics = make_metrics("smic/s1")
            runs.finish(folder, pd.concat(each, ignore_index=True), metrics, make_record(plan, **RECORD))


def write_choice(
    runs_dir: Path, choice: Choice, tested: float, inner: tuple[float, float], **changes: Any
) -> None:
    """All runs of a candidate: how well it does on the tested subjects, and inside each group."""
    for group, keys in choice.runs().items():
        for key in keys:
            if group == TESTED:
                write_run(runs_dir, key, {name: [name] for name in SUBJECTS}, tested, **changes)
            else:
                others = [name for name in SUBJECTS if name not in GROUPS[group]]
                folds = {f"inner/{number}": [name] for number, name in enumerate(others)}
                write_run(runs_dir, key, folds, inner[group], **changes)


def choice_of(variant: str = "base", seeds: tuple[int, ...] = (0,), epochs: int = 1) -> Choice:
    return Choice(RunKey("shallow", variant, "faces", "loso", seeds[0]), seeds, epochs, "inner", 2)


def read(runs_dir: Path, choice: Choice) -> Candidate:
    found = read_candidate(choice, runs_dir)
    assert found is not None
    return found


def test_each_group_is_tested_by_what_did_best_without_it(tmp_path: Path) -> None:
    one, two = choice_of("one"), choice_of("two")
    write_choice(tmp_path, one, tested=0.9, inner=(0.9, 0.2))
    write_choice(tmp_path, two, tested=0.3, inner=(0.4, 0.8))
    candidates = [read(tmp_path, one), read(tmp_path, two)]
    subjects = group_subjects(candidates, 2)
    assert [{"/".join(subject) for subject in group} for group in subjects] == [
        set(group) for group in GROUPS
    ]
    chosen = choose(candidates, "uf1")
    assert chosen == [0, 1]
    nested = nested_predictions(candidates, chosen, subjects)
    assert len(nested) == len(nested.drop_duplicates(KEY)) == 16
    # Group 0 is tested by the first, which is right; group 1 by the second, which is wrong.
    right = nested["p_negative"].gt(0.5) == nested["label"].eq("negative")
    assert set(nested.loc[right, "subject"] + nested.loc[right, "database"]) == {"s1a", "s1b"}
    assert subset_scores(nested, CLASSES).loc["all", "accuracy"] == 0.5


def test_equals_prefer_the_first(tmp_path: Path) -> None:
    for variant in ("one", "two"):
        write_choice(tmp_path, choice_of(variant), tested=0.9, inner=(0.7, 0.9))
    candidates = [read(tmp_path, choice_of(variant)) for variant in ("one", "two")]
    assert choose(candidates, "uar") == [0, 0]


def test_seeds_and_epochs_are_averaged(tmp_path: Path) -> None:
    choice = choice_of(seeds=(0, 1), epochs=2)
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.9), epochs=3)
    tested = read(tmp_path, choice).of(TESTED)
    assert len(tested) == 16
    # The last epoch is right with .9, the one before it with .1.
    np.testing.assert_allclose(tested["p_negative"], 0.5, atol=1e-6)


def test_a_search_that_has_not_run(tmp_path: Path) -> None:
    choice = choice_of()
    assert read_candidate(choice, tmp_path) is None
    write_run(tmp_path, choice.key, {name: [name] for name in SUBJECTS}, 0.9)
    assert read_candidate(choice, tmp_path) is None


def test_it_is_stored_and_read_again(tmp_path: Path) -> None:
    choice = choice_of(seeds=(0, 1))
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.3))
    candidate = read(tmp_path, choice)
    path = tmp_path / "stored" / f"{choice.name}.parquet"
    assert read_stored_candidate(path, choice) is None
    write_candidate(path, candidate)
    again = read_stored_candidate(path, choice)
    assert again is not None
    assert again.record == candidate.record
    pd.testing.assert_frame_equal(again.predictions, candidate.predictions)
    with pytest.raises(MerError, match=r"stored from .* not from"):
        read_stored_candidate(path, choice_of("other"))


def test_inner_folds_of_another_configuration_are_refused(tmp_path: Path) -> None:
    choice = choice_of()
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.9))
    inner = choice.runs()[1][0]
    folder = inner.folder(tmp_path)
    folder.rename(tmp_path / "gone")
    write_run(tmp_path, inner, {"inner/0": ["a/s1", "b/s1"]}, 0.9, optimizer={"lr": 0.1})
    with pytest.raises(MerError, match=r"trained under optimizer\.lr=0\.1, and what is tested under absent"):
        read_candidate(choice, tmp_path)


def test_inner_folds_of_another_group_are_refused(tmp_path: Path) -> None:
    choice = choice_of()
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.9))
    one, other = (choice.runs()[group][0].folder(tmp_path) for group in (0, 1))
    one.rename(tmp_path / "gone")
    other.rename(one)
    with pytest.raises(MerError, match=r"not group 0 of 2; pass protocol\.outer=0"):
        read_candidate(choice, tmp_path)


def test_a_subject_that_could_choose_for_itself_is_refused(tmp_path: Path) -> None:
    choice = choice_of()
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.9))
    inner = choice.runs()[0][0]
    inner.folder(tmp_path).rename(tmp_path / "gone")
    write_run(tmp_path, inner, {"inner/0": ["a/s2", "a/s3"], "inner/1": ["b/s1"]}, 0.9)
    with pytest.raises(MerError, match="a subject is left out by no group of inner folds, or by two"):
        group_subjects([read(tmp_path, choice)], 2)


def test_epochs_that_were_not_kept(tmp_path: Path) -> None:
    choice = choice_of(epochs=2)
    write_choice(tmp_path, choice, tested=0.9, inner=(0.9, 0.9))
    with pytest.raises(MerError, match="the last 2 epochs were not kept; train with store=every_epoch"):
        read_candidate(choice, tmp_path)


TABLE = """
    kind: nested
    title: A search
    data: faces
    protocol: loso
    inner: {protocol: inner, groups: 2, metric: uf1}
    columns:
      acc: {subset: all, metric: accuracy, header: Acc}
      a_acc: {subset: a, metric: accuracy, header: A}
    rows:
      - {label: One, variant: shallow/one}
      - {label: Two, variant: shallow/two, notes: [two]}
    quotes:
      - {label: A paper, paper: {acc: 0.75}}
    footnotes:
      two: The second.
"""


def test_the_table_shows_all_and_what_was_chosen(tmp_path: Path) -> None:
    write_choice(tmp_path / "runs", choice_of("one"), tested=0.9, inner=(0.9, 0.2))
    write_choice(tmp_path / "runs", choice_of("two"), tested=0.3, inner=(0.4, 0.8))
    path = write_table(tmp_path, TABLE)
    overrides = [f"runs_dir={tmp_path / 'runs'}"]
    one, two, nested, quote = sheet_of(path, overrides).grid.lines
    assert one == ["One", "1 of 2", "0.5000 ± 0.7071", "1.0000", "1.0000"]
    assert two == ["Two (a)", "1 of 2", "0.5000 ± 0.7071", "0.0000", "0.0000"]
    assert nested[:2] == ["Chosen inside each group", ""]
    assert nested[3].startswith("0.5000 [")
    assert nested[4].startswith("0.3333 [")
    assert quote == ["A paper, quoted", "", "", "0.75", ""]
    assert "Chosen for the groups in turn: One; Two." in sheet_of(path, overrides).how

    table.main([str(path), *overrides])
    first = path.with_suffix(".md").read_text()
    (tmp_path / "runs").rename(tmp_path / "gone")
    table.main([str(path), *overrides])
    assert path.with_suffix(".md").read_text() == first


def test_a_candidate_that_has_not_run_leaves_nothing_chosen(tmp_path: Path) -> None:
    write_choice(tmp_path / "runs", choice_of("one"), tested=0.9, inner=(0.9, 0.2))
    sheet = sheet_of(write_table(tmp_path, TABLE), [f"runs_dir={tmp_path / 'runs'}"])
    assert sheet.grid.lines[1][3] == sheet.grid.lines[2][3] == "not run"
    assert "protocol=inner protocol.outer=0,1" in dict(sheet.footnotes)["b"]


def test_the_example_is_read(tmp_path: Path) -> None:
    sheet = sheet_of(write_table(tmp_path, example("nested")), [f"runs_dir={tmp_path}"])
    assert [line[3] for line in sheet.grid.lines] == ["not run"] * 4 + [".7568"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("metric: uf1}", "metric: auc}", r"inner\.metric=auc: choose accuracy, f1, uf1, uar"),
        ("shallow/two", "two", r"rows\[2\] \(Two\)\.variant=two: <experiment>/<variant>"),
        ("shallow/two,", "shallow/two, seeds: [0, 0],", "seeds are different whole numbers"),
        ("shallow/two,", "shallow/two, epochs: 0,", "epochs at least 1"),
        ("acc: 0.75", "uar: 0.75", r"quotes\[1\]\.uar: no such column"),
    ],
)
def test_bad_files(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write_table(tmp_path, TABLE.replace(old, new))
    with pytest.raises(MerError, match=message):
        sheet_of(path, [f"runs_dir={tmp_path}"])


def test_a_column_of_a_database_that_is_not_there(tmp_path: Path) -> None:
    write_choice(tmp_path / "runs", choice_of("one"), tested=0.9, inner=(0.9, 0.2))
    path = write_table(tmp_path, TABLE.replace("subset: a,", "subset: smic,"))
    with pytest.raises(MerError, match=r"no database smic, as columns\.a_acc of .* asks for; it holds a, b"):
        sheet_of(path, [f"runs_dir={tmp_path / 'runs'}"])
