"""Networks are folded while others run, and two at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy

import torch
from torch import nn

from fsgan_core.networks.fold import fold_batch_norm


def make_network() -> nn.Module:
    torch.manual_seed(0)
    blocks = [part for _ in range(40) for part in (nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())]
    return nn.Sequential(*blocks, nn.Tanh()).eval()


def run_in_threads(*works: Callable[[], None]) -> list[BaseException]:
    errors: list[BaseException] = []

    def guard(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guard, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


def test_a_network_runs_while_others_are_folded() -> None:
    running, x = make_network(), torch.rand(1, 4, 8, 8)
    with torch.inference_mode():
        expected = running(x)
    done = threading.Event()

    def fold_many() -> None:
        try:
            for _ in range(20):
                fold_batch_norm(make_network())
        finally:
            done.set()

    def run_many() -> None:
        while not done.is_set():
            with torch.inference_mode():
                assert torch.equal(running(x), expected)

    assert run_in_threads(fold_many, run_many) == []


def test_two_networks_are_folded_at_once() -> None:
    network, x = make_network(), torch.rand(1, 4, 8, 8)
    with torch.inference_mode():
        expected = network(x)

    def fold_many() -> None:
        for _ in range(10):
            folded = fold_batch_norm(deepcopy(network))
            assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
            with torch.inference_mode():
                assert torch.allclose(folded(x), expected, atol=1e-5)

    assert run_in_threads(fold_many, fold_many) == []
