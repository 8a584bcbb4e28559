"""Facial micro-expression recognition: networks trained, swept and compared with one subject left out."""

__version__ = "0.1.0"
