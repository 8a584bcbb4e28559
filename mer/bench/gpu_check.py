"""``make gpu-check``: all that wants a GPU, in one go, on a machine where the project is not installed.

From the repository's root: ``PYTHONPATH=. python -m mer.bench.gpu_check [folder]``. It needs torch,
Lightning, torchmetrics, pandas, pyarrow and filelock, and neither Hydra, Kornia, W&B nor OpenCV. Each check
ends in figures or in the reason why it did not run, in ``<folder>/gpu_check.json``, written after each, so
that what is done survives a kill. The folder is ``$OUT``, or gpu-check/. Without a GPU it runs on the CPU.
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mer import metrics
from mer.bench import gpu_engine, gpu_loops
from mer.tasks.metrics import UAR, UF1

FRAMES, HEIGHT, WIDTH, ENCODED_CLIPS = 67, 480, 640, 16  # clips of CASME II
FLOW_PAIRS, FLOW_SIDE = 64, 256
Figures = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Run every check, write the figures, and return 1 if one failed."""
    folder = Path(arguments[0] if arguments else os.environ.get("OUT", "gpu-check"))
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    results: dict[str, Figures] = {"machine": describe(device)}
    start = time.perf_counter()
    for check in CHECKS:
        began = time.perf_counter()
        try:
            figures = check(device)
        except Exception as error:  # the other checks still run; this one is counted as failed
            traceback.print_exc()
            figures = {"failed": f"{type(error).__name__}: {error}"}
        figures["took_s"] = round(time.perf_counter() - began, 1)
        results[check.__name__] = figures
        results["machine"]["took_s"] = round(time.perf_counter() - start, 1)
        text = json.dumps(results, indent=1)
        (folder / "gpu_check.json").write_text(text + "\n", encoding="utf-8")
        print(f"{check.__name__}: {json.dumps(figures)}", flush=True)
    return int(any("failed" in figures for figures in results.values()))


def describe(device: torch.device) -> Figures:
    """The device and what it can do: a product of matrices and a copy, in float32 as the networks train."""
    side, values = (8192, 1 << 28) if device.type == "cuda" else (512, 1 << 20)
    left, right = torch.rand(2, side, side, device=device)
    source = torch.rand(values, device=device)
    target = torch.empty_like(source)
    product, copy = (
        gpu_loops.seconds_of(lambda: left @ right, device),
        gpu_loops.seconds_of(lambda: target.copy_(source), device),
    )
    return {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "lightning": version("pytorch-lightning"),
        "gemm_tflops": round(2 * side**3 / product / 1e12, 2),
        "copy_gb_s": round(8 * values / copy / 1e9, 1),
    }


def encoded_set_on_device(device: torch.device) -> Figures:
    """The whole encoded set goes to the device once; batches are gathered there."""
    _, encoded = gpu_loops.draw_set(torch.device("cpu"))
    moved = gpu_loops.seconds_of(lambda: encoded.images.to(device), device)
    clips, there = gpu_loops.draw_set(device)
    data = gpu_loops.fold_data(clips, there)
    batch = next(iter(data.train_dataloader()))
    assert batch["image"].device.type == device.type
    assert torch.equal(there.images.cpu(), encoded.images)
    gathered = gpu_loops.seconds_of(lambda: next(iter(data.train_dataloader())), device)
    return {
        "mib": round(encoded.images.numel() * 4 / 2**20, 2),
        "to_device_ms": round(1000 * moved, 3),
        "batch_ms": round(1000 * gathered, 3),
    }


def torch_tvl1(device: torch.device) -> Figures:
    """TV-L1 of many pairs on the device: the error against a known shift, and pairs a second."""
    try:
        from mer.encodings.tvl1 import tvl1_flow
    except ImportError as lacking:
        return {"not_measured": str(lacking)}
    first, second = shifted_pairs(FLOW_PAIRS, FLOW_SIDE, device)
    flows = tvl1_flow(first, second)
    inside = flows[..., 16:-16, 16:-16] if FLOW_SIDE > 64 else flows
    error = (inside - torch.tensor([1.0, 0.5], device=device)[:, None, None]).norm(dim=1).mean().item()
    figures: Figures = {
        "pairs": FLOW_PAIRS,
        "side": FLOW_SIDE,
        "endpoint_error_px": round(error, 4),
        "no_flow_error_px": round(float(np.hypot(1.0, 0.5)), 4),
        "pairs_a_second": round(
            FLOW_PAIRS / gpu_loops.seconds_of(lambda: tvl1_flow(first, second), device), 1
        ),
    }
    figures["opencv"] = opencv_tvl1(first, second)
    if "pairs_a_second" in figures["opencv"]:
        ratio = figures["pairs_a_second"] / figures["opencv"]["pairs_a_second"]
        figures["ratio"] = round(ratio, 1)
    return figures


def opencv_tvl1(first: Tensor, second: Tensor) -> Figures:
    """OpenCV's on all cores of this machine, where it has the contrib modules."""
    try:
        import cv2

        cv2.optflow  # noqa: B018
    except (ImportError, AttributeError):
        return {"not_measured": "OpenCV's contrib modules are not here"}
    from concurrent.futures import ThreadPoolExecutor

    pairs = [
        (one[0].byte().cpu().numpy(), other[0].byte().cpu().numpy())
        for one, other in zip(first, second, strict=True)
    ]
    workers = os.cpu_count() or 1

    def solve(pair: tuple[Any, Any]) -> None:
        cv2.optflow.DualTVL1OpticalFlow_create().calc(*pair, None)  # type: ignore[attr-defined]

    start = time.perf_counter()
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(solve, pairs))
    return {"pairs_a_second": round(len(pairs) / (time.perf_counter() - start), 1), "threads": workers}


def encodings_on_device(device: torch.device) -> Figures:
    """Weighted sums of whole clips on the device: clips a second, and agreement with the CPU."""
    from mer.encodings.active_image import active_image
    from mer.encodings.affective_motion_image import affective_motion_image
    from mer.encodings.dynamic_image import dynamic_image

    generator = torch.Generator().manual_seed(0)
    shape = (ENCODED_CLIPS, FRAMES, 3, HEIGHT, WIDTH)
    clips = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    lengths = torch.full((ENCODED_CLIPS,), FRAMES)
    there, lengths_there = clips.to(device), lengths.to(device)
    figures: Figures = {"clip": f"{FRAMES} frames of {WIDTH}x{HEIGHT}"}
    for encode in (dynamic_image, affective_motion_image, active_image):
        encode = partial(encode, scale="none")
        ours = encode(there[:1], lengths_there[:1]).cpu()
        expected = encode(clips[:1], lengths[:1])
        difference = ((ours - expected).norm() / expected.norm()).item()
        if not difference < 1e-3:
            raise RuntimeError(f"{encode.func.__name__}: differs from the CPU's by {difference}")
        seconds = gpu_loops.seconds_of(partial(encode, there, lengths_there), device)
        figures[encode.func.__name__] = {
            "clips_per_s": round(ENCODED_CLIPS / seconds, 1),
            "relative_difference": float(f"{difference:.2g}"),
        }
    return figures


def metrics_on_device(device: torch.device) -> Figures:
    """Our torchmetrics classes keep their state on the device and give the CPU's scores."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(500, 5, generator=generator)
    target = torch.randint(5, (500,), generator=generator)
    counts = metrics.confusion_matrix(target.numpy(), logits.argmax(1).numpy(), 5)
    figures: Figures = {}
    for make, expected in ((UF1, metrics.uf1), (UAR, metrics.uar)):
        value = make(num_classes=5).to(device)(logits.to(device), target.to(device))
        if value.device.type != device.type or abs(value.item() - expected(counts)) > 1e-6:
            raise RuntimeError(f"{make.__name__}: {value} on {value.device}, not {expected(counts)}")
        figures[make.__name__] = round(value.item(), 6)
    return figures


def shifted_pairs(pairs: int, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Smooth pictures (pairs, 1, side, side), 0..255, and the same moved by (1, 0.5) pixels in x and y."""
    generator = torch.Generator().manual_seed(0)
    phases = (torch.rand(pairs, 4, generator=generator) * 6.28).to(device)
    y, x = torch.meshgrid(*(torch.arange(side, device=device) * 1.0 for _ in range(2)), indexing="ij")

    def draw(dx: float, dy: float) -> Tensor:
        waves = [
            torch.sin((x - dx) / 5 + phases[:, 0, None, None]),
            torch.sin((y - dy) / 6 + phases[:, 1, None, None]),
            torch.sin((x - dx + y - dy) / 9 + phases[:, 2, None, None]),
            torch.sin((x - dx - y + dy) / 11 + phases[:, 3, None, None]),
        ]
        return (127.5 + 30 * torch.stack(waves).sum(0))[:, None]

    return draw(0, 0), draw(1.0, 0.5)


CHECKS: tuple[Callable[[torch.device], Figures], ...] = (
    encoded_set_on_device,
    metrics_on_device,
    gpu_loops.sequential_loops,
    gpu_engine.ensemble_engine,
    gpu_engine.engine_agreement,
    gpu_engine.engine_scores,
    torch_tvl1,
    encodings_on_device,
)

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
