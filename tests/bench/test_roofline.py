import json

import pytest
import torch

from mer.bench import roofline


def test_operations_and_bytes_of_a_product_are_those_of_its_definition() -> None:
    left, right = torch.rand(7, 5), torch.rand(5, 3)
    flops, moved = roofline.count(lambda: left @ right)
    assert flops == 2 * 7 * 5 * 3
    assert moved == 4 * (7 * 5 + 5 * 3 + 7 * 3)


def test_views_move_nothing_and_an_operation_in_place_reads_and_writes() -> None:
    values = torch.rand(6, 2)
    assert roofline.count(lambda: values.t().reshape(2, 3, 2)[0]) == (0, 0)
    assert roofline.count(lambda: values.relu_()) == (0, 2 * 4 * 12)


def test_the_kernels_of_numba_read_and_write() -> None:
    """Maps of 8 channels on 28x28, the pooled values of 10x10 windows, and a byte for the place of each."""
    kernels = pytest.importorskip("mer.networks.pool_kernels", reason="needs the extra `fast`")
    maps, pooled = torch.rand(2, 28, 28 * 8), torch.empty(2, 10, 10 * 8)
    places = torch.empty(2, 10, 10 * 8, dtype=torch.int8)
    row, sums, squares = torch.rand(28 * 8), *torch.zeros(2, 28 * 8, dtype=torch.float64)
    given = maps, 8, 1, row, pooled, places, sums, squares
    assert roofline.count(lambda: kernels.pool(*given)) == (
        0,
        4 * (maps.numel() + pooled.numel() + row.numel()) + places.numel() + 8 * 2 * sums.numel(),
    )
    spread = maps, 8, 1, pooled, places, row, row, torch.empty_like(maps)
    assert roofline.count(lambda: kernels.spread(*spread)) == (
        0,
        4 * (2 * maps.numel() + pooled.numel() + 2 * row.numel()) + places.numel(),
    )


def test_the_floor_is_the_longer_of_the_two_times() -> None:
    """2 MFLOP at 1 GFLOP/s are 2 ms, 4 MB at 1 GB/s 4 ms; a step of 8 ms takes twice that."""
    found = roofline.against(2_000_000, 4_000_000, 0.008, gflops=1, gigabytes=1)
    assert (found["arithmetic_ms"], found["traffic_ms"], found["bound_by"]) == (2, 4, "memory")
    assert found["measured_to_floor"] == 2


def test_a_measurement_as_small_as_it_gets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"REPETITIONS": 1, "MATRIX": 16, "COPIED": 64, "BATCH_SIZE": 2}.items():
        monkeypatch.setattr(roofline, name, value)
    threads = torch.get_num_threads()
    try:
        result = json.loads(json.dumps(roofline.measure()))
    finally:
        torch.set_num_threads(threads)
    step = result["ststnet"]
    assert result["ratio"] == step["measured_to_floor"]
    # Forward, weights' gradients; the first layer's input needs none. 2 images, 16 filters of 3x3x3 on 30x30.
    # In training the classifier reads the four activations of each average.
    convolution, linear = 2 * 2 * 16 * 27 * 30 * 30, 2 * 2 * 1600 * 3
    assert step["mflop"] == pytest.approx((2 * convolution + 3 * linear) / 1e6, abs=0.05)
    assert result["laenet"]["mflop"] < step["mflop"]
