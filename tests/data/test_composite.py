"""Several databases as one table, each with its own root, reader and label set."""

from pathlib import Path

import pytest

from mer import runs, train
from mer.data import composite, standins
from mer.errors import MerError


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    folder = tmp_path_factory.mktemp("standins")
    return {
        name: str(standins.write_standin(name, folder / name, size=16))
        for name in ("casme2", "casme_sq", "samm")
    }


def test_each_database_keeps_its_reader_and_label_set(roots: dict[str, str | None]) -> None:
    labels = {"casme2": "4class", "casme_sq": "cross_dataset"}
    clips, findings, published, _ = composite.read_clips(
        databases=["casme2", "casme_sq"], labels=labels, roots=roots
    )
    assert set(clips["database"]) == {"casme2", "casme_sq"}
    by_database = clips.groupby("database")["label"].unique().map(set)
    assert by_database["casme2"] == {"positive", "negative", "surprise", "others"}
    assert by_database["casme_sq"] == {"positive", "negative"}
    assert {finding.clip.split("/")[0] for finding in findings} == {"casme2", "casme_sq"}
    assert published == {}


def test_what_is_wrong_is_named(roots: dict[str, str | None]) -> None:
    with pytest.raises(MerError, match=r"no reader mer\.data\.atlantis\.read_clips"):
        composite.read_clips(databases=["atlantis"], labels="4class")
    with pytest.raises(MerError, match="name each database once"):
        composite.read_clips(databases=["samm", "samm"], labels="4class")
    with pytest.raises(MerError, match=r"data\.labels=9class: samm has "):
        composite.read_clips(databases=["samm"], labels="9class", roots=roots)
    with pytest.raises(MerError, match="MER_ROOT_SMIC"):
        composite.read_clips(databases=["smic"], labels="3class", roots=roots)


def test_a_cross_dataset_run(
    roots: dict[str, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("casme2", "samm"):
        monkeypatch.setenv(f"MER_ROOT_{name.upper()}", str(roots[name]))
    train.main(
        [
            "data=composite",
            "protocol=cross_dataset",
            "epochs=1",
            "workers=1",
            "tag=tried",
            "apex=spot_missing",
        ]
    )
    [run] = runs.find(tmp_path / "runs")
    assert runs.read_plan(run).folds == ["casme2-to-samm/all"]
    predictions = runs.read_predictions(run)
    assert set(predictions["database"]) == {"samm"}
