"""MediaPipe's networks against what the original interpreters gave (tests/data/parity/mediapipe.npz).

The pictures are crops of the public-domain astronaut.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fsgan_core.faces.models import load_analysis_network
from fsgan_core.networks.architectures.build import GRAPH_NAMES
from fsgan_core.networks.architectures.tensor_graph import OPERATORS, TensorGraph, read_graph
from fsgan_core.networks.weights.installed import find_packaged_weights

CASES = np.load(Path(__file__).parents[2] / "data" / "parity" / "mediapipe.npz")
TOLERANCE = 1e-3  # pixels of the network's input
SIGNED = ("face_full_range", "face_short_range")  # networks whose input is -1..1, not 0..1


def load_picture(name: str) -> torch.Tensor:
    picture = torch.from_numpy(CASES[f"{name}/picture"]).permute(2, 0, 1)[None].float() / 255
    return 2 * picture - 1 if name in SIGNED else picture


def check_numbers(name: str, device: str) -> None:
    runner = load_analysis_network(find_packaged_weights(f"mediapipe_{name}"), device)
    outputs = runner.run(load_picture(name))
    for output, values in zip(read_graph(name)["outputs"], outputs, strict=True):
        found = values[0].cpu().numpy().reshape(-1)
        if output == "face":  # the case holds the probability
            found = 1 / (1 + np.exp(-found))
        wanted = CASES[f"{name}/{output}"].reshape(-1)
        assert found.shape == wanted.shape and found.dtype == np.float32
        assert np.abs(found - wanted).max() <= TOLERANCE, output


@pytest.mark.parametrize("name", GRAPH_NAMES)
class TestNetworks:
    def test_original_numbers(self, name: str) -> None:
        check_numbers(name, "cpu")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
    def test_original_numbers_on_cuda(self, name: str) -> None:
        check_numbers(name, "cuda:0")

    def test_a_batch_equals_single_pictures(self, name: str) -> None:
        runner = load_analysis_network(find_packaged_weights(f"mediapipe_{name}"))
        picture = load_picture(name)
        batch = torch.cat([picture, picture.flip(3), picture * 0.5])
        together = runner.run(batch)
        for index, one in enumerate(batch.split(1)):
            for whole, single in zip(together, runner.run(one), strict=True):
                assert torch.equal(whole[index : index + 1], single)

    def test_a_batch_in_one_pass(self, name: str) -> None:
        """The graph itself takes batches, as it does on a GPU."""
        runner = load_analysis_network(find_packaged_weights(f"mediapipe_{name}"))
        picture = load_picture(name)
        batch = torch.cat([picture, picture.flip(3)])
        with torch.inference_mode():
            together = runner._network(batch)  # type: ignore[attr-defined]
        for whole, alone in zip(together, runner.run(batch), strict=True):
            assert float((whole - alone).abs().max()) <= TOLERANCE

    def test_result_does_not_depend_on_threads(self, name: str) -> None:
        runner = load_analysis_network(find_packaged_weights(f"mediapipe_{name}"))
        before = torch.get_num_threads()
        answers = []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                answers.append(runner.run(load_picture(name)))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(one, other) for one, other in zip(*answers, strict=True))

    def test_graph(self, name: str) -> None:
        graph = read_graph(name)
        assert {step["op"] for step in graph["steps"]} <= set(OPERATORS)
        assert TensorGraph(name).output_names == tuple(graph["outputs"])


def test_all_operators_are_used() -> None:
    used = {step["op"] for name in GRAPH_NAMES for step in read_graph(name)["steps"]}
    assert used == set(OPERATORS)
