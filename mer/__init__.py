"""Networks for facial micro-expression recognition: reproduced, swept, compared, one subject left out at a time."""

__version__ = "0.1.0"
