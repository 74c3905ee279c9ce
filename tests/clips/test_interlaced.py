"""output.interlaced holds for every clip of a job: target, sources, hold-out, reference still, evaluation."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fsgan_core.cli import main
from fsgan_core.clips import tracks
from fsgan_core.clips.inputs import open_inputs
from fsgan_core.contract.params import INTERLACED_MODES
from fsgan_core.contract.shot import Clip, Stages
from fsgan_core.evaluation import evaluate as evaluate_module
from fsgan_core.plates.movies.movie import Movie
from tests.plates.movies.test_movie_fields import make, measure_combing


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("fields"), "h264.mp4")[0]


@pytest.mark.parametrize("mode", INTERLACED_MODES)
def test_every_clip_of_a_job(mode: str, path: Path) -> None:
    clip = Clip(str(path))
    inputs = open_inputs([clip], clip, Stages().with_settings({"output.interlaced": mode}), holdout=clip)
    assert inputs.holdout is not None
    with Movie(path, mode) as movie:
        expected = movie.read(3).pixels
    assert (measure_combing(expected) > 2) == (mode == "keep")
    for opened in (inputs.target, *inputs.sources, inputs.holdout):
        assert np.array_equal(opened.sequence.read(3).pixels, expected)


def test_the_reference_still(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"output.interlaced": "keep", "analyse.person": "reference", "analyse.person_reference": str(path)}
    inputs = open_inputs([], Clip(str(path)), Stages().with_settings(settings))
    seen: list[Any] = []

    def describe(sequence: Any, *_: Any) -> np.ndarray:
        seen.append(measure_combing(sequence.read(3).pixels))
        return np.zeros(4)

    monkeypatch.setattr(tracks, "compute_reference_descriptor", describe)
    tracks._describe_reference_still(inputs.stages.analyse, inputs)
    assert seen and seen[0] > 2


def test_analyse_and_evaluate(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    combing: list[float] = []

    def analyse(clip_input: Any, *_: Any, **__: Any) -> Any:
        combing.append(measure_combing(clip_input.sequence.read(3).pixels))
        raise KeyboardInterrupt

    def measure(opened: Any, *_: Any) -> Any:
        combing.extend(measure_combing(clip.sequence.read(3).pixels) for clip in opened)
        return []

    monkeypatch.setattr(tracks, "analyse_clip", analyse)
    monkeypatch.setattr(evaluate_module, "measure_source_descriptors", measure)
    file, keep = str(path), ("--set", "output.interlaced=keep")
    for flags in ((), keep):
        main(["analyse", "--target", file, "--output", str(tmp_path / "t.json"), *flags])
        main(["evaluate", "--source", file, "--target", file, "--result", file, *flags])
    assert [value > 2 for value in combing] == [False, False, True, True]
    pair = SimpleNamespace()
    monkeypatch.setattr(evaluate_module, "ClipPair", lambda *clips: pair.__dict__.update(clips=clips) or _stop())
    main(["evaluate", "--source", file, "--target", file, "--result", file, "--matte", file, *keep])
    opened = [clip for clip in pair.clips if hasattr(clip, "sequence")]
    assert len(opened) == 3 and all(measure_combing(clip.sequence.read(3).pixels) > 2 for clip in opened)


def _stop() -> None:
    raise KeyboardInterrupt
