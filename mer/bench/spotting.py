"""``mer bench spotting``: a frame's score at test: its time, and memory against the length of the video.

Time: the time-contrasted network at the paper's width and at an eighth of it, and the two feature
differences, all from the same encoded frames; reading and flow are not counted. The ratio is of the small
network, with one thread as a fold has: a video in windows, the memory's state carried on, against each frame
anew from the stretch of 14 that ends with it, the first one repeated before the start, as a network without
a state would. That is 15 times the frames to look at. All calls take turns, and medians are taken.

Memory: the small network scores the first frames of one memory map, as of an encoded set, each length in a
process of its own. What is counted is the most that scoring takes beyond the network. Pages of the map are
the kernel's, to take back at any time; here they are given back before each window, and so not counted. Nor
is what the allocator keeps of freed buffers, which differs from one process to the next: it keeps none.
"""

import json
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mer.bench.turns import in_turn
from mer.errors import MerError
from mer.feature_difference import FeatureDifference
from mer.networks import TimeContrastNet
from mer.tasks.spotting import score_videos

SIZE, CLASSES, FPS = 64, 3, 200.0
FRAMES, WINDOW, STRETCH = 128, 64, 14
LENGTHS = (100, 1_000, 10_000)  # frames of the videos whose memory is compared
REPETITIONS = 5
SMALL = "time_contrast_small"
NETWORKS: dict[str, dict[str, Any]] = {
    "time_contrast": {"width": 1.0, "norm": "none"},
    SMALL: {"width": 0.125, "norm": "batch"},
}
DIFFERENCES: dict[str, dict[str, Any]] = {
    "lbp_difference": {"feature": "lbp"},
    "hoof_difference": {"feature": "hoof", "flow": "consecutive"},
}


def measure() -> dict[str, Any]:
    """Milliseconds a frame, MiB a video; ``ratio`` is each frame anew to the state carried on."""
    if not Path("/proc/self/clear_refs").exists():
        raise MerError("mer bench spotting reads /proc, which this machine lacks: run it on Linux")
    times = _times()
    return {
        "ratio": round(times["anew_ms"] / times["carried_ms"], 2),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "frames": FRAMES,
        "side": SIZE,
        "window": WINDOW,
        "stretch": STRETCH,
        **times,
        "memory": _memory(),
    }


def make_network(*, size: int, **options: Any) -> nn.Module:
    """A network as the task has it at test; its weights are random, which takes no other time."""
    network = TimeContrastNet(num_classes=CLASSES, size=size, **options)
    return network.to(memory_format=torch.channels_last).eval()


def draw_frames(count: int, size: int) -> NDArray[np.float16]:
    """(count, size, size, 5): noise of 0..255 and of a flow, in the type and order of an encoded set."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (count, size, size, 5)).astype(np.float16)
    frames[..., 3:] = rng.normal(0, 0.3, (count, size, size, 2))
    return frames


@torch.inference_mode()
def score_anew(network: nn.Module, frames: Tensor, *, stretch: int, together: int) -> Tensor:
    """The reference: each frame from the steps of its own stretch, of which it is the last.

    Args:
        network: a ``TimeContrastNet`` in eval mode.
        frames: (T, 5, H, W), of one video.
        stretch: steps, each of a frame and the next one.
        together: stretches a time.

    Returns:
        (T,) intensity, 0..1.
    """
    pixels = frames.permute(0, 2, 3, 1)
    around = torch.arange(1 - stretch, 2)  # 0 is the frame, 1 the next
    intensity = []
    for part in torch.split(torch.arange(len(frames)), together):
        place = (part[:, None] + around).clamp(0, len(frames) - 1)
        intensity.append(network(pixels[place].movedim(-1, -3).float()).intensity[:, -1])
    return torch.cat(intensity)


def _times() -> dict[str, Any]:
    """Milliseconds a frame, of ours and the reference, and of each method by what it runs on."""
    frames = torch.from_numpy(draw_frames(FRAMES, SIZE)).permute(0, 3, 1, 2)
    firsts, lengths = torch.tensor([0]), torch.tensor([FRAMES])
    networks = {name: make_network(size=SIZE, **options) for name, options in NETWORKS.items()}
    methods: dict[str, Callable[[], object]] = {
        name: partial(score_videos, network, frames, firsts, lengths, window=WINDOW)
        for name, network in networks.items()
    }
    for name, options in DIFFERENCES.items():
        method = FeatureDifference(in_channels=5, num_classes=CLASSES, **options)
        methods[name] = partial(method.score, frames, FPS)
    # As many frames a call as a window has: the same memory.
    together = max(1, WINDOW // (STRETCH + 1))
    anew = partial(score_anew, networks[SMALL], frames, stretch=STRETCH, together=together)
    turns: dict[tuple[str, str], Callable[[], object]] = {
        ("anew", "one_thread"): partial(_with_threads, 1, anew)
    }
    for threads, where in ((1, "one_thread"), (os.cpu_count() or 1, "all_cores")):
        turns |= {(name, where): partial(_with_threads, threads, call) for name, call in methods.items()}
    if torch.cuda.is_available():
        for name, options in NETWORKS.items():
            there = make_network(size=SIZE, **options).cuda()
            # It ends with the scores on the CPU, and so when the device is done.
            turns[name, "cuda"] = partial(score_videos, there, frames, firsts, lengths, window=WINDOW)
    # The first turn, in which kernels are set up, is no median.
    seconds = in_turn({f"{name} {where}": call for (name, where), call in turns.items()}, REPETITIONS)
    a_frame = {key: round(1000 * seconds[" ".join(key)] / FRAMES, 4) for key in turns}
    for (name, where), milliseconds in a_frame.items():
        print(f"{name}, {where.replace('_', ' ')}: {milliseconds} ms a frame")
    by_place: dict[str, dict[str, float]] = {}
    for (name, where), milliseconds in a_frame.items():
        if name != "anew":
            by_place.setdefault(f"{where}_ms", {})[name] = milliseconds
    carried = a_frame[SMALL, "one_thread"]
    return {"anew_ms": a_frame["anew", "one_thread"], "carried_ms": carried, "cuda_ms": None, **by_place}


def _with_threads(threads: int, call: Callable[[], object]) -> None:
    torch.set_num_threads(threads)
    call()


def _memory() -> dict[str, Any]:
    """MiB by the length of the video; ``ratio`` is of the longest to the shortest: 1 is no growth."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "images.npy"
        write_frames(path, LENGTHS[-1], SIZE)
        mapped = path.stat().st_size / 2**20
        peaks = [peak(path, length, window=WINDOW) for length in LENGTHS]
    for length, mib in zip(LENGTHS, peaks, strict=True):
        print(f"a video of {length} frames: {mib:.1f} MiB")
    return {
        "ratio": round(peaks[-1] / peaks[0], 3),
        "kib_a_frame": round((peaks[-1] - peaks[0]) / (LENGTHS[-1] - LENGTHS[0]) * 1024, 3),
        "peak_mib": {str(length): round(mib, 1) for length, mib in zip(LENGTHS, peaks, strict=True)},
        "mapped_mib": round(mapped, 1),
    }


def write_frames(path: Path, count: int, size: int) -> None:
    """A file of so many frames, the same few again and again; it is never whole in memory."""
    drawn = draw_frames(min(count, 100), size)
    with path.open("wb") as file:
        header = {"descr": drawn.dtype.str, "fortran_order": False, "shape": (count, *drawn.shape[1:])}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, count, len(drawn)):
            file.write(drawn[: count - start].tobytes())


def peak(path: Path, frames: int, *, window: int) -> float:
    """MiB that scoring the first frames of a file takes at most, in a process of its own."""
    given = {"path": str(path), "frames": frames, "window": window, "options": NETWORKS[SMALL]}
    code = f"from mer.bench.spotting import score_mapped; score_mapped({json.dumps(given)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env=os.environ
        | {"MALLOC_MMAP_THRESHOLD_": "65536"},  # glibc: larger ones go back when they are freed
    )
    if done.returncode:
        raise MerError(f"mer bench spotting: scoring {frames} frames of {path} ended with {done.returncode}")
    return float(done.stdout.splitlines()[-1])


def score_mapped(text: str) -> None:
    """Score one video in this process, and print the MiB that it took at most.

    Args:
        text: JSON with path, frames, window, and options of the network.
    """
    given = json.loads(text)
    torch.set_num_threads(1)
    images = np.load(given["path"], mmap_mode="c", allow_pickle=False)
    pages = images.base
    assert isinstance(pages, mmap.mmap)
    network = make_network(size=images.shape[1], **given["options"])
    # When it is called, the window is copied out of the map.
    network.register_forward_pre_hook(lambda *_: pages.madvise(mmap.MADV_DONTNEED))
    frames = torch.from_numpy(images).permute(0, 3, 1, 2)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = _resident("VmHWM:")
    score_videos(network, frames, torch.tensor([0]), torch.tensor([given["frames"]]), window=given["window"])
    print(_resident("VmHWM:") - before)


def _resident(name: str) -> float:
    """MiB of this process, by its name in the kernel's list."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
