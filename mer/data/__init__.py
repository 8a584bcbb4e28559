"""Databases, splits and encoded sets. The data modules load when they are asked for: this import is cheap."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mer.data.megc2019_uvos import MEGC2019UVOSDataModule as MEGC2019UVOSDataModule
    from mer.data.synthetic import SyntheticDataModule as SyntheticDataModule

__all__ = ["MEGC2019UVOSDataModule", "SyntheticDataModule"]

_MODULES = {"MEGC2019UVOSDataModule": "megc2019_uvos", "SyntheticDataModule": "synthetic"}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
