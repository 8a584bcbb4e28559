"""`mer table` on tiny run folders, written through `mer.runs`."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, precision_score

from mer import runs, table
from mer.errors import MerError
from mer.runs import Plan, RunKey
from mer.runs._seal import read_sealed, write_sealed
from tests.run_folder import seal_again

CLASSES = ["negative", "positive", "surprise"]
SUBJECTS = [("smic", "s1"), ("smic", "s2"), ("samm", "006"), ("samm", "007")]
TABLE: dict[str, Any] = {
    "title": "A small table",
    "paper": {"name": "Paper", "table": 4, "caption": "What it shows"},
    "data": "faces",
    "protocol": "loso",
    "seeds": [0],
    "columns": {
        "acc": {"subset": "all", "metric": "accuracy", "header": "Acc"},
        "f1": {"subset": "all", "metric": "f1", "header": "F1"},
        "uf1": {"subset": "all", "metric": "uf1", "header": "UF1"},
        "uar": {"subset": "all", "metric": "uar", "header": "UAR"},
        "smic": {"subset": "smic", "metric": "uf1", "header": "SMIC UF1"},
    },
    "rows": [
        {"label": "Majority", "kind": "majority"},
        {
            "label": "Net [1]",
            "variant": "net/base",
            "paper": {"acc": "0.5280", "uf1": 0.25},
            "notes": ["odd"],
        },
        {"label": "Narrow", "variant": "net/narrow"},
        {
            "label": "Other",
            "not_run": "not implemented yet",
            "quote": True,
            "paper": {"acc": "74.43%", "f1": "-"},
        },
    ],
    "footnotes": {"odd": "Printed oddly."},
}


def write_table(folder: Path, **changes: Any) -> Path:
    path = folder / "experiments" / "paper" / "table4.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(TABLE | changes, sort_keys=False))
    return path


def write_run(
    folder: Path,
    variant: str = "base",
    *,
    seed: int = 0,
    folds: int = 4,
    classes: list[str] = CLASSES,
    content: str = "c0ffee00" * 8,
    data: str = "faces",
    databases: tuple[str, ...] = ("smic", "samm"),
    config: dict[str, Any] | None = None,
    tag: str = "",
) -> pd.DataFrame:
    """A run folder with ``folds`` of its four folds done; gives the predictions of those."""
    run = RunKey("net", variant, data, "loso", seed, tag).folder(folder / "runs")
    subjects = [(databases[number // 2], subject) for number, (_, subject) in enumerate(SUBJECTS)]
    names = [f"{database}/{subject}" for database, subject in subjects]
    settings = config or {"epochs": 3, "data": {"name": data, "index": str(folder / "index.csv")}}
    runs.start(run, Plan(settings, classes, names, clips=9 * 4, content=content))
    random = np.random.default_rng([seed, len(variant), len(data)])
    parts = []
    for (database, subject), name in list(zip(subjects, names, strict=True))[:folds]:
        chances = random.dirichlet(np.ones(3), size=9).astype(np.float32)
        part = pd.DataFrame({"database": database, "subject": subject, "clip": [f"c{n}" for n in range(9)]})
        part = part.assign(
            fold=name, seed=seed, epoch=3, label=[classes[n] for n in (0, 0, 0, 0, 1, 1, 1, 2, 2)]
        )
        part[[f"p_{label}" for label in classes]] = chances
        record = {
            "overrides": [f"data.root={folder}"], "config": settings | {"runs_dir": str(folder)},
            "content": content,
            "commit": "0123456789abcdef", "dirty": False, "mer": "0.1.0", "versions": {"torch": "2.9.0"},
            "date": "2026-01-02", "seconds": 1.5,
        }  # fmt: skip
        with runs.claim(run, name) as place:
            runs.finish(place, part, pd.DataFrame({"epoch": [3]}), record)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def render(path: Path, *arguments: str) -> str:
    """The Markdown that the table wrote."""
    table.main([str(path), f"runs_dir={path.parents[2] / 'runs'}", *arguments])
    return path.with_suffix(".md").read_text(encoding="utf-8")


def lines_of(markdown: str) -> list[list[str]]:
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for row in rows]


def expected_scores(predictions: pd.DataFrame) -> list[float]:
    truth = predictions["label"]
    guess = np.array(CLASSES)[predictions[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)]
    precision = precision_score(truth, guess, labels=CLASSES, average="macro", zero_division=0)
    recall = balanced_accuracy_score(truth, guess)
    smic = predictions["database"] == "smic"
    return [
        accuracy_score(truth, guess),
        2 * precision * recall / (precision + recall),
        f1_score(truth, guess, labels=CLASSES, average="macro"),
        recall,
        f1_score(truth[smic], guess[smic], labels=CLASSES, average="macro"),
    ]


def test_cells_are_those_of_scikit_learn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, narrow = write_run(tmp_path), write_run(tmp_path, "narrow")
    markdown = render(write_table(tmp_path))
    assert capsys.readouterr().out == markdown
    grid = lines_of(markdown)[:8]
    ours = expected_scores(base)
    label = "Net [1] (b)"
    assert grid[0] == ["method", "line", "Acc", "F1", "UF1", "UAR", "SMIC UF1"]
    assert grid[2] == ["Majority (a)", "ours", "0.4444", "0.2051", "0.2051", "0.3333", "0.2051"]
    assert grid[3] == [label, "paper", "0.5280", "", "0.25", "", ""]
    assert grid[4] == ["", "ours", *(f"{score:.4f}" for score in ours)]
    assert grid[5] == ["", "difference", f"{ours[0] - 0.528:+.4f}", "", f"{ours[2] - 0.25:+.4f}", "", ""]
    # A paper that prints nothing of a row has no line in it.
    assert grid[6] == ["Narrow", "ours", *(f"{score:.4f}" for score in expected_scores(narrow))]
    assert grid[7] == ["Other (c)", "paper, quoted", "74.43%", "-", "", "", ""]
    assert "- (b) Printed oddly.\n- (c) No run of ours: not implemented yet." in markdown
    assert "| all      |    36 |        4 |     4 |       16 |       12 |        8 |" in markdown
    assert [
        "net/base",
        "0",
        "4/4",
        "3",
        "6",
        "c0ffee00",
        "2026-01-02",
        "01234567",
        "no",
        "0.1.0",
        "2.9.0",
    ] in lines_of(markdown)
    assert "mer table experiments/paper/table4.yaml data.root=/path/to/faces" in markdown


def test_columns_are_aligned_in_the_source(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    first = render(write_table(tmp_path)).split("\n\n")[2].splitlines()
    assert {tuple(match.start() for match in re.finditer(r"\|", line)) for line in first} == {
        tuple(match.start() for match in re.finditer(r"\|", first[0]))
    }


def test_seeds_give_mean_and_sample_deviation(tmp_path: Path) -> None:
    both = [expected_scores(write_run(tmp_path, seed=seed)) for seed in (0, 1)]
    path = write_table(tmp_path, rows=TABLE["rows"][1:2], seeds=[0, 1])
    grid = lines_of(render(path))
    mean, spread = np.mean(both, axis=0), np.std(both, axis=0, ddof=1)
    assert grid[3][2:] == [f"{m:.4f} ± {s:.4f}" for m, s in zip(mean, spread, strict=True)]
    assert grid[4][2] == f"{mean[0] - 0.528:+.4f}"
    one = render(path, "seeds=1")
    assert lines_of(one)[3][2:] == [f"{score:.4f}" for score in both[1]]
    assert "seeds=1 data.root" in one


def test_same_bytes_again_and_from_what_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    first = render(path)
    stored = {file.name: file.read_bytes() for file in (path.parent / "table4").iterdir()}
    assert sorted(stored) == [
        f"net.{name}.seed-0.{end}" for name in ("base", "narrow") for end in ("parquet", "yaml")
    ]
    assert render(path) == first
    (tmp_path / "runs").rename(tmp_path / "gone")
    path.with_suffix(".md").unlink()
    assert render(path) == first
    assert {file.name: file.read_bytes() for file in (path.parent / "table4").iterdir()} == stored
    capsys.readouterr()
    table.main([str(path), "--partial", "--fresh", f"runs_dir={tmp_path / 'runs'}"])
    assert "not run" in capsys.readouterr().out


def test_nothing_stored_holds_a_path(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    markdown = render(path)
    record = yaml.safe_load((path.parent / "table4" / "net.base.seed-0.yaml").read_text())
    assert record["config"] == {"epochs": 3, "data": {"name": "faces"}}
    assert (record["folds"], record["clips"], record["seconds"], record["epochs"]) == (4, 36, 6.0, 3)
    assert str(tmp_path) not in markdown
    for file in (path.parent / "table4").iterdir():
        assert str(tmp_path).encode() not in file.read_bytes()


def test_partial_is_marked_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = write_run(tmp_path, folds=3)
    path = write_table(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    table.main([str(path), "--partial", f"runs_dir={tmp_path / 'runs'}"])
    markdown = capsys.readouterr().out
    assert sorted(tmp_path.rglob("*")) == before
    assert markdown.startswith(
        "# PARTIAL (3 of 8 folds): A small table\n\nPARTIAL (3 of 8 folds). Paper, table 4:"
    )
    grid = lines_of(markdown)
    assert grid[4][1:3] == ["ours, PARTIAL (3 of 4 folds)", f"{expected_scores(done)[0]:.4f}"]
    assert grid[5] == ["Narrow", "ours", *["not run"] * 5]
    assert not [line for line in grid if line[1] == "difference"]


def test_partial_with_everything_there_is_not_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    table.main([str(path), f"runs_dir={tmp_path / 'runs'}", "--partial"])
    assert capsys.readouterr().out.startswith("# A small table\n")
    assert not path.with_suffix(".md").exists()


def test_another_data_is_written_among_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for variant in ("base", "narrow"):
        write_run(tmp_path, variant, data="synthetic", databases=("drawn", "drawn"))
    path = write_table(tmp_path)
    table.main([str(path), "data=synthetic", f"runs_dir={tmp_path / 'runs'}"])
    markdown = capsys.readouterr().out
    assert (tmp_path / "runs" / "tables" / "paper-table4-synthetic.md").read_text() == markdown
    assert markdown.startswith("# SYNTHETIC DATA: A small table\n")
    assert lines_of(markdown)[4][-1] == "no clips"
    assert "table4.yaml data=synthetic\n" in markdown
    assert [file.name for file in path.parent.iterdir()] == ["table4.yaml"]


def test_tagged_runs_are_not_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for variant in ("base", "narrow"):
        write_run(tmp_path, variant, tag="mine")
    path = write_table(tmp_path)
    table.main([str(path), "tag=mine", f"runs_dir={tmp_path / 'runs'}"])
    assert "tagged `mine`" in capsys.readouterr().out
    assert (tmp_path / "runs" / "tables" / "paper-table4-faces-mine.md").exists()
    assert [file.name for file in path.parent.iterdir()] == ["table4.yaml"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"content": "deadbeef" * 8}, r"base.*narrow.*other data \(content c0ffee00 and deadbeef\)"),
        ({"classes": ["negative", "positive", "other"]}, r"base.*narrow.*classes"),
        ({"databases": ("smic", "casme2")}, r"base.*narrow.*other clips or labels"),
    ],
)
def test_runs_that_do_not_fit_together(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow", **second)
    path = write_table(tmp_path)
    with pytest.raises(MerError, match=message):
        render(path)
    assert [file.name for file in path.parent.iterdir()] == ["table4.yaml"]


def test_seeds_under_other_configs(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, seed=1, config={"epochs": 5})
    with pytest.raises(MerError, match=r"seed-0.*seed-1.*seeds of net/base under other configs"):
        render(write_table(tmp_path, rows=TABLE["rows"][1:2], seeds=[0, 1]))


def test_missing_database(tmp_path: Path) -> None:
    (
        write_run(tmp_path, databases=("casme2", "samm")),
        write_run(tmp_path, "narrow", databases=("casme2", "samm")),
    )
    with pytest.raises(MerError, match=r"no database smic, as columns\.smic.* it holds casme2, samm"):
        render(write_table(tmp_path))


def change_fold(folder: Path, **columns: Any) -> None:
    run = RunKey("net", "base", "faces", "loso", 0).folder(folder / "runs")
    file = runs.fold_folder(run, "smic/s1") / "predictions.parquet"
    pd.read_parquet(file).assign(**columns).to_parquet(file, index=False)
    seal_again(file.parent)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": "angry"}, "angry"),
        ({"p_negative": float("nan")}, "number|probabilit"),
        ({"seed": 5}, "seed"),
        ({"epoch": 2}, "epoch"),
        ({"fold": "smic/s2"}, "fold"),
        ({"extra": 1}, "columns"),
    ],
)
def test_predictions_that_are_not_those_of_the_run(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    change_fold(tmp_path, **columns)
    with pytest.raises(MerError, match=message) as caught:
        render(write_table(tmp_path))
    assert "net/base/faces/loso/seed-0" in str(caught.value)


@pytest.mark.parametrize("damage", ["parquet", "record", "missing", "other run", "fewer clips"])
def test_damaged_stored_predictions(tmp_path: Path, damage: str) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    render(path)
    (tmp_path / "runs").rename(tmp_path / "gone")
    stored = path.parent / "table4" / "net.base.seed-0.parquet"
    record = stored.with_suffix(".yaml")
    fields = yaml.safe_load(record.read_text())
    if damage == "parquet":
        stored.write_bytes(stored.read_bytes()[:-9])
    elif damage == "record":
        record.write_text("a: [")
    elif damage == "missing":
        stored.unlink()
    else:
        fields |= {"protocol": "lovo"} if damage == "other run" else {"clips": 37}
        record.write_text(yaml.safe_dump(fields))
    with pytest.raises(MerError, match=r"net\.base\.seed-0\.parquet: .*--fresh"):
        render(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=3", r"epochs=3: a row's settings belong in a variant"),
        ("protocol=lovo", "belong in a variant"),
        ("--runs", None),
        ("runs", "expected key=value"),
        ("seeds=0,x", "whole numbers"),
        ("seeds=0,0", "different"),
        ("data=a/b", "without /"),
    ],
)
def test_refused_overrides(tmp_path: Path, override: str, message: str | None) -> None:
    with pytest.raises(MerError if message else SystemExit, match=message):
        table.main([str(write_table(tmp_path)), override])


def run_table(folder: Path, path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mer.cli", "table", str(path), f"runs_dir={folder / 'runs'}", *arguments]
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def test_a_run_that_cannot_train_says_why(tmp_path: Path) -> None:
    rows = [{"label": "Net", "variant": "laenet/base"}]
    path = write_table(tmp_path, rows=rows, footnotes={}, data="megc2019_uvos")
    done = run_table(tmp_path, path, f"data.root={tmp_path / 'nowhere'}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "nowhere: no such folder (data.root); it should be the folder of megc2019_uvos" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("mer: `mer train experiment=laenet data=megc2019_uvos")
    assert not path.with_suffix(".md").exists()


def test_rendering_imports_no_torch(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    path = write_table(tmp_path)
    code = (
        "import sys; from mer import table; table.main(sys.argv[1:]);"
        "sys.exit(bool({'torch', 'hydra', 'omegaconf', 'pytorch_lightning', 'kornia'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path), f"runs_dir={tmp_path / 'runs'}"],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert path.with_suffix(".md").exists()


def test_a_class_without_clips_is_told(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    for variant in ("base", "narrow"):
        run = RunKey("net", variant, "faces", "loso", 0).folder(tmp_path / "runs")
        for fold in ("smic/s1", "smic/s2"):
            file = runs.fold_folder(run, fold) / "predictions.parquet"
            pd.read_parquet(file).replace({"label": {"surprise": "positive"}}).to_parquet(file, index=False)
            seal_again(file.parent)
    assert "`smic` holds no clip of surprise" in render(write_table(tmp_path))


def test_a_run_that_was_copied_into_the_folder_of_another_row_is_no_result_of_it(tmp_path: Path) -> None:
    write_run(tmp_path), write_run(tmp_path, "narrow")
    key = RunKey("net", "narrow", "faces", "loso", 0)
    for fold in runs.read_plan(key.folder(tmp_path / "runs")).folds:
        folder = runs.fold_folder(key.folder(tmp_path / "runs"), fold)
        record = read_sealed(folder / "run.yaml")
        write_sealed(folder / "run.yaml", record | vars(key) | {"variant": "base", "fold": fold})
    with pytest.raises(MerError, match=r"fold smic/s1 was made with variant=base, .* of variant=narrow"):
        render(write_table(tmp_path))
