"""Lightning modules, and the torchmetrics classes for use inside them."""

from mer.tasks.classification import Classification as Classification

__all__ = ["Classification"]
