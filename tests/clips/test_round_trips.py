"""Whatever a shot holds comes back from its file: every parameter, names with quotes and line breaks, releases."""

from __future__ import annotations

import datetime
import json
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fsgan_core.clips.shot_file import format_shot, load_shot, parse_shot, save_shot
from fsgan_core.contract.consent import check_consent, describe_consent
from fsgan_core.contract.errors import ConsentError, FsganError
from fsgan_core.contract.param_fields import ParamField, iterate_param_fields, parse_param_value
from fsgan_core.contract.params import STAGE_PARAMS
from fsgan_core.contract.params.consent import ConsentParams
from fsgan_core.contract.shot import Clip, Output, Shot, Stages
from fsgan_core.faces.face import make_face
from fsgan_core.faces.pose import FACE_MODEL
from fsgan_core.faces.track import Person, Track, rebuild_faces
from fsgan_core.faces.track_file import load_track, save_track

TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
AWKWARD = st.text(st.sampled_from("a\"'\\\n\t\r\x1b{}[]#=\u2028é"), min_size=1, max_size=12)
NAMES = AWKWARD.map(lambda text: f"/plates/{text}.####.exr")
PARAMS = [(stage, knob) for stage, cls in STAGE_PARAMS.items() for knob in iterate_param_fields(cls)]
QUICK = settings(max_examples=60, deadline=None)


def draw_value(knob: ParamField) -> st.SearchStrategy[Any]:
    """Any value that a parameter may have."""
    low, high = knob.minimum, knob.maximum
    if knob.choices:
        return st.sampled_from(knob.choices)
    if knob.kind == "bool":
        return st.booleans()
    if knob.kind == "float":
        return st.floats(low, high, allow_nan=False, allow_infinity=False)
    if knob.kind == "int":
        step = knob.multiple or 1
        first, last = -(-int(low if low is not None else 0) // step), int(high if high is not None else 4096) // step
        return st.integers(first, last).map(lambda number: number * step)
    if knob.kind == "texts":
        return st.lists(TEXTS, max_size=3).map(tuple)
    if knob.kind == "floats":
        return st.tuples(st.floats(0, 1e4), st.floats(0, 1e4))
    return TEXTS


SETTINGS = st.sampled_from(PARAMS).flatmap(
    lambda item: st.tuples(st.just(f"{item[0]}.{item[1].name}"), draw_value(item[1]))
)


@QUICK
@given(st.lists(SETTINGS, max_size=6), NAMES, NAMES, NAMES, AWKWARD)
def test_a_shot_comes_back_from_toml_and_json(
    chosen: list[tuple[str, Any]], source: str, target: str, output: str, space: str
) -> None:
    stages = Stages()
    for name, value in chosen:
        stage, _, parameter = name.partition(".")
        try:
            changed = getattr(stages, stage).replace(**{parameter: value})
        except FsganError:  # two parameters that exclude each other, or a text with a form of its own
            continue
        stages = Stages(**{**{one.name: getattr(stages, one.name) for one in fields(stages)}, stage: changed})
    shot = Shot((Clip(source, space, part=space),), Clip(target), Output(output, space), stages=stages)
    assert parse_shot(format_shot(shot)) == shot
    assert Shot.from_dict(json.loads(json.dumps(shot.to_dict()))) == shot
    assert tomllib.loads(format_shot(shot, "shot.toml"))["target"]["path"] == target, "no text becomes a key"


@QUICK
@given(st.sampled_from(PARAMS).flatmap(lambda item: st.tuples(st.just(item), draw_value(item[1]))))
def test_a_number_or_choice_comes_back_from_its_text(chosen: tuple[tuple[str, ParamField], Any]) -> None:
    """As typed behind `--set`."""
    (stage, knob), value = chosen
    if knob.kind not in ("text", "texts"):
        text = ",".join(map(repr, value)) if knob.kind == "floats" else str(value)
        assert parse_param_value(STAGE_PARAMS[stage], knob.name, text) == value


@QUICK
@given(AWKWARD, TEXTS, st.dates())
def test_a_release_is_stated_and_expires(reference: str, scope: str, last_day: datetime.date) -> None:
    consent = ConsentParams(f"R{reference}", scope, last_day.isoformat())
    text = describe_consent(consent)
    assert text.startswith("R") and text.endswith(f"until {last_day.isoformat()}")
    assert check_consent(consent, last_day) == ""
    if last_day < datetime.date.max:
        try:
            warning = check_consent(consent, last_day + datetime.timedelta(days=1))
        except ConsentError as error:  # the studio's rule
            warning = str(error)
        assert "expired on" in warning


def test_a_saved_shot_comes_back(tmp_path: Path) -> None:
    name = str(tmp_path / 'a "b" \n[stages.blend]\nmix = 0.5 \\.####.exr')
    shot = Shot((Clip(name),), Clip(name), Output(name))
    save_shot(tmp_path / "shot.toml", shot)
    assert load_shot(tmp_path / "shot.toml") == shot


@settings(max_examples=25, deadline=None)
@given(
    name=AWKWARD,
    places=st.dictionaries(
        st.integers(1, 40), st.tuples(st.floats(0, 4000), st.floats(0, 3000), st.floats(1, 9)), min_size=1, max_size=4
    ),
    score=st.floats(0, 1),
)
def test_a_track_comes_back(tmp_path_factory: Any, name: str, places: dict[int, Any], score: float) -> None:
    faces = {
        frame: make_face(frame, scale * FACE_MODEL[:, :2] + (x, y), score) for frame, (x, y, scale) in places.items()
    }
    people = (Person(0, dict(faces), dict(faces), np.full(128, 0.1)),)
    track = rebuild_faces(Track(name, tuple(range(1, 41)), 4096, 3072, 1.0, 0.25, people, "mesh", "mesh"))
    path = tmp_path_factory.mktemp("t") / "a.json"
    save_track(path, track)
    back = load_track(path)
    assert (back.clip, back.frames, sorted(back.people[0].measured)) == (name, track.frames, sorted(faces))
    for frame, face in track.people[0].measured.items():
        assert np.allclose(back.people[0].measured[frame].landmarks, face.landmarks, atol=0.01)
    before = path.read_bytes()
    save_track(path, back)
    assert load_track(path).people[0].measured.keys() == faces.keys() and len(path.read_bytes()) == len(before)
