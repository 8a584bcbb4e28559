"""A database's data module in plain Lightning, with no Hydra."""

from importlib import import_module
from pathlib import Path

import pytest

import mer.data
from mer.augment import FixedPool
from mer.data import CASME2DataModule, MEGC2019DataModule, standins
from mer.encodings import DynamicImage
from mer.errors import MerError


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return standins.write_standin("casme2", tmp_path_factory.mktemp("casme2") / "root", size=16)


@pytest.mark.parametrize("database", [*standins.names(), "synthetic", "megc2019_uvos"])
def test_each_database_exports_its_data_module(database: str) -> None:
    [name] = [name for name in vars(import_module(f"mer.data.{database}")) if name.endswith("DataModule")]
    assert getattr(mer.data, name).database == database


def test_no_other_name_is_exported() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'AtlantisDataModule'"):
        _ = mer.data.AtlantisDataModule


def test_a_fold_from_a_folder(root: Path) -> None:
    data = CASME2DataModule(root=root, fold="casme2/sub05", labels="4class", encoding=DynamicImage(size=16))
    assert data.classes == ["positive", "negative", "surprise", "others"]
    assert (data.in_channels, data.num_classes) == (3, 4)
    assert len(data.findings) == 4
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].shape == (len(data.split.train), 3, 16, 16)
    assert len(data.split.train) + len(data.split.test) == 17


def test_options_of_the_fold_and_of_the_reader(root: Path) -> None:
    data = CASME2DataModule(
        root=root,
        fold="#1",
        encoding=DynamicImage(size=16),
        frames="original",
        validation=0.4,
        augment=FixedPool(rotations=[0, 15]),
        batch_size=5,
    )
    assert data.split.validation
    # Two rotations and the equalised image of each training clip.
    assert sum(len(batch["row"]) for batch in data.train_dataloader()) == 3 * len(data.split.train)
    with pytest.raises(MerError, match=r"data\.clips\.frames='big'"):
        CASME2DataModule(root=root, frames="big", encoding=DynamicImage(size=16))
    with pytest.raises(MerError, match=r"data\.labels=2class: casme2 has original, 5class"):
        CASME2DataModule(root=root, labels="2class", encoding=DynamicImage(size=16))


def test_a_composite_finds_its_own_roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = standins.write_standin("megc2019", tmp_path / "root", size=16)
    for name in ("casme2", "samm", "smic"):
        monkeypatch.setenv(f"MER_ROOT_{name.upper()}", str(root / name))
    data = MEGC2019DataModule(encoding=DynamicImage(size=16))
    assert data.classes == ["negative", "positive", "surprise"]
    assert data.split.fold.startswith("casme2/")
    with pytest.raises(MerError, match="megc2019: has no folder of its own"):
        MEGC2019DataModule(root=root, encoding=DynamicImage(size=16))
