"""YAML files that know their own bytes: the first line is a comment with the hash of all that follows.

A flipped digit of YAML is still YAML, and would be read as another number. Files that were written before
there were seals have none, and are read as they are.
"""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mer.atomic import write_text
from mer.yaml_file import C_LOADER, parse_yaml

SEAL = "# sha256 "


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping and its seal, whole or not at all."""
    text = yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True)
    write_text(path, f"{SEAL}{_hash(text)}\n{text}")


def read_sealed(path: Path) -> Any:
    """What a file of :func:`write_sealed` holds, or an older one without seal.

    Raises:
        ValueError, yaml.YAMLError, OSError: it is damaged or cannot be read.
    """
    # Bytes: reading text would make another line end of a flipped one.
    text = path.read_bytes().decode("utf-8")
    first, _, rest = text.partition("\n")
    if first.startswith(SEAL):
        if first != SEAL + _hash(rest):
            raise ValueError("not the bytes that its first line names")
    elif re.search("[0-9a-f]{24}", first):  # no key that an older file begins with
        raise ValueError("its first line is no seal")
    return parse_yaml(text, C_LOADER)  # in C: a run holds dozens of records


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()
