"""A stand-in of CAS(ME)^2: the sheet without header, long videos, crops, every quirk of the release.

Of the macro-expressions only totals are published. Here the self-reports are as many as AffectiveNet prints
for its three classes, four of them misspelt (by four OrigiNet's happiness is less), and other words for the
12 clips that neither paper uses. Which video and which emotion go with them is made up.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mer.data.casme_sq import FOLDERS, MICRO_COUNTS, PUBLISHED_COUNTS, VIDEOS
from mer.data.standins.tree import draw, spread, write_frames, write_sheet

TITLES = {
    "0101": "disgustingteeth",
    "0102": "eatingworms",
    "0401": "girlcrashing",
    "0402": "beatingpregnantwoman",
    "0502": "funnyerrors",
    "0503": "unnyfarting",
    "0505": "funnyinnovations",
    "0507": "climbingthewall",
    "0508": "funnydunkey",
}
OTHER_WORDS = {"sadness": 4, "fear": 3, "surprise": 2, "helpless": 1, "pain": 1, "sympathy": 1}
EMOTIONS = {
    "happiness": "positive",
    "surprise": "surprise",
    **dict.fromkeys(("helpless", "sympathy", "others"), "others"),
}
NEUTRAL = 1  # frames before each expression


def write(root: Path, *, full: bool, size: int) -> None:
    """Write the sheet and the layouts; ``full`` has the published counts and all 87 films, no selectedpic."""
    counts = {word: count for word, count in PUBLISHED_COUNTS["casme_sq"].items() if word != "subjects"}
    counts |= OTHER_WORDS
    micro = [emotion for emotion, count in MICRO_COUNTS["casme_sq"].items() for _ in range(count)]
    numbers, open_ends, misspelt, late = list(FOLDERS), 44, 4, 3
    if not full:
        counts = {"anger": 6, "happiness": 6, "disgust": 6, "sadness": 2, "others": 1}
        micro, numbers, open_ends, misspelt, late = ["negative", "others"], [1, 2, 3, 22], 2, 1, 1
    dealt = spread(counts, [str(number) for number in numbers])
    every = len(dealt) // len(micro)
    videos = {number: _watched(number) for number in numbers}
    films: dict[tuple[int, str], list[NDArray[np.uint8]]] = {
        (number, video): [] for number in numbers for video in videos[number]
    }
    cells: list[list[object]] = []
    for place, (text, word) in enumerate(dealt):
        number = int(text)
        group = {"happiness": "happy", "disgust": "disgust"}.get(word, "anger")
        choice = [video for video in videos[number] if video.startswith(group)]
        # Every third subject keeps still through the last film.
        video = choice[place % len(choice) if number % 3 else 0]
        film = films[number, video]
        onset = _first(video) + sum(map(len, film)) + NEUTRAL
        apex, offset = onset + 2 + place % 2, onset + 4
        name = f"{video}_{len(film) + 1}"
        frames = draw(f"casme_sq/{number}", name, word, onset, apex, offset, size=size)
        film.append(np.concatenate([frames[:1].repeat(NEUTRAL, axis=0), frames]))
        folder = FOLDERS[number]
        if not full:  # the same pixels as in the film
            write_frames(
                root / f"selectedpic/s{folder}/{name}", "img{:03d}.jpg", _whole_frames(frames), onset
            )
        write_frames(root / f"cropped/{folder}/{name}", "img{:03d}.jpg", frames, onset)
        emotion, kind = EMOTIONS.get(word, "negative"), "macro-expression"
        if place % every == every - 1 and micro:
            emotion, kind = micro.pop(), "micro-expression"
        cells.append([number, name, onset, apex, offset, "4+10+14+15", emotion, kind, word])
    _make_odd(cells, open_ends=open_ends, misspelt=misspelt, late=late)
    for (number, video), film in films.items():
        folder, code = FOLDERS[number], VIDEOS[video]
        frames = np.concatenate(film or [np.zeros((2, size, size), np.uint8)])
        place_of_film = root / f"rawpic/s{folder}/{folder}_{code}{TITLES[code]}"
        write_frames(place_of_film, "img{:03d}.jpg", _whole_frames(frames), _first(video))
    sheet = root / "CAS(ME)^2code_final.xlsx"
    write_sheet(sheet, cells, header=None, sheet="CASFEcode_final")
    folders = [[folder, f"s{folder}", number] for number, folder in FOLDERS.items()]
    write_sheet(sheet, folders, header=None, sheet="naming rule1")
    write_sheet(sheet, [[code, video] for video, code in VIDEOS.items()], header=None, sheet="naming rule2")


def _watched(number: int) -> list[str]:
    """The films of a subject: four, but three of the last one, so that there are 87."""
    odd = number % 2 + 1
    films = [f"anger{odd}", f"disgust{odd}", f"happy{number % 5 + 1}", f"happy{(number + 2) % 5 + 1}"]
    return films[: 3 if number == max(FOLDERS) else 4]


def _first(video: str) -> int:
    """Frame at which what is written of a film begins; where it grows a digit, an order by text is wrong."""
    return 1 if video.startswith("disgust") else 992


def _whole_frames(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.pad(frames, ((0, 0), (4, 4), (9, 9)))


def _make_odd(cells: list[list[object]], *, open_ends: int, misspelt: int, late: int) -> None:
    """The oddities of the release: offset 0, apex 0, an apex after the offset, a misspelt word."""
    apex, offset, kind, word = 3, 4, 7, 8
    macro = [row for row in cells if row[kind] == "macro-expression"]
    for row in macro[::6][:open_ends]:
        row[offset] = 0
    whole = [row for row in macro if row[offset] != 0]
    whole[0][apex] = 0
    for row in whole[1 : 1 + late]:
        row[apex] = int(str(row[offset])) + 2
    for row in [row for row in cells if row[word] == "happiness"][:misspelt]:
        row[word] = "happyiness"
