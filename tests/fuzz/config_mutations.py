"""Mutations of what a person writes into YAML: structure, bytes, and values of all wrong kinds."""

import copy
import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# For what takes long: half of the profile's examples.
PROFILE = settings.default or settings()
HALF = settings(max_examples=max(10, PROFILE.max_examples // 2))
# What is none of a text, a number or a list that anyone meant.
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 2**63, 10**40, 0.5, -0.0, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "a/b", "../..", "/etc/passwd", "~", "nan", "1e999", "0.5%", "74", "-", "=", "${seed}"),
    *("%", "{}", "a\nb", "\x00", "\udcff", "ﬀ", "日本", "\u2019", "a" * 3000, "`id`", "$(id)", "'", '"', "|"),
    *([], [[]], [None], [1, "a"], {}, {"a": None}, {1: 2}, {"_target_": "os.system"}, {None: None}),
    *([0, 0], [-1], [True], ["x", "x"], {"check": "x"}, {"check": "x", "of": [1]}, [[1, 2], [3]]),
]


@st.composite
def mutated(draw: st.DrawFn, document: Any, *, most: int = 3) -> Any:
    """The document after one or several edits at random places."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, most))):
        _edit(chance, document)
    return document


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The bytes after edits such as an editor, a bad copy or a malicious hand makes."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    content = bytes(content)
    for _ in range(draw(st.integers(1, 4))):
        place = chance.randrange(len(content) + 1)
        end = min(len(content), place + chance.choice((0, 1, 1, 5, 40, 10**9)))
        piece = chance.choice(PIECES)
        content = content[:place] + piece + content[end:]
    return content


PIECES = [
    *(b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\t", b"\n", b"\r", b"  ", b": ", b"- ", b"#", b"'", b'"'),
    *(b"{", b"}", b"[", b"]", b"&a ", b"*a", b"!!python/object/apply:os.system ['touch fuzz-marker']"),
    *(
        b"!!python/name:os.system ",
        b"!!binary x",
        b"!!set ",
        b"2001-01-01",
        b"0x1F",
        b"1_000",
        b"? ",
        b"---\n",
    ),
    *(
        b"\n...\n",
        b"<<: ",
        b"~",
        b"|\n",
        b">\n",
        b"%YAML 9.9\n",
        b"@",
        b"`",
        b"\x85",
        b"\xe2\x80\xa8",
        b"[" * 3000,
    ),
    *(
        b"${oc.env:HOME}",
        b"${nope}",
        b"_target_: os.system\n",
        b"\xf0\x9f\x98\x80",
        b"1e400",
        b"-.inf",
        b"=\n",
    ),
]


def _edit(chance: random.Random, document: Any) -> None:
    places = list(_places(document))
    if not places:
        return
    node, key = chance.choice(places)
    others = chance.choice(places)
    match chance.randrange(7 if isinstance(node, dict) else 5):
        case 0:
            del node[key]
        case 1:
            node[key] = copy.deepcopy(chance.choice(JUNK))
        case 2:
            node[key] = copy.deepcopy(others[0].get(others[1]) if isinstance(others[0], dict) else others[0])
        case 3:
            node[key] = {str(key): node[key]} if chance.random() < 0.5 else [node[key]]
        case 4 if isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        case 4 | 5:
            node[chance.choice(("x", 1, None, True, "data", "notes", f"{key} "))] = node.pop(key)
        case _:
            node[chance.choice(("x", 1, None, "kind", "variant", "paper"))] = copy.deepcopy(node[key])


def _places(node: Any) -> list[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    found = []
    for key in keys:
        found += [(node, key), *_places(node[key])]
    return found
