"""Databases, splits and encoded sets. The data modules load when they are asked for: this import is cheap.

``from mer.data import CASME2DataModule`` finds the class in the file of its name, ``casme2.py``.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mer.data.casme import CASMEDataModule as CASMEDataModule
    from mer.data.casme2 import CASME2DataModule as CASME2DataModule
    from mer.data.casme_sq import CASMESqDataModule as CASMESqDataModule
    from mer.data.ckplus import CKPlusDataModule as CKPlusDataModule
    from mer.data.composite import CompositeDataModule as CompositeDataModule
    from mer.data.folder import FolderDataModule as FolderDataModule
    from mer.data.megc2019 import MEGC2019DataModule as MEGC2019DataModule
    from mer.data.megc2019_uvos import MEGC2019UVOSDataModule as MEGC2019UVOSDataModule
    from mer.data.samm import SAMMDataModule as SAMMDataModule
    from mer.data.smic import SMICDataModule as SMICDataModule
    from mer.data.synthetic import SyntheticDataModule as SyntheticDataModule


def __getattr__(name: str) -> object:
    wanted = name.removesuffix("DataModule").lower()
    if name.endswith("DataModule"):
        for path in Path(__file__).parent.glob("*.py"):
            if path.stem.replace("_", "") == wanted:
                return getattr(import_module(f"{__name__}.{path.stem}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
