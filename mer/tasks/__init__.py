"""Lightning modules, and the torchmetrics classes for use inside them."""

from mer.tasks.classification import Classification as Classification
from mer.tasks.spotting import Spotting as Spotting

__all__ = ["Classification", "Spotting"]
