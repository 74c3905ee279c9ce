"""Stage parameters: declared once, checked at their bounds, read from what people type."""

from __future__ import annotations

import dataclasses
import math

import pytest

from fsgan_core.contract.curve import Curve
from fsgan_core.contract.errors import ParameterError
from fsgan_core.contract.param_fields import Params, get_stage_name, iterate_param_fields, parse_param_value
from fsgan_core.contract.params import (
    PARAMETER_ALIASES,
    STAGE_PARAMS,
    AnalyseParams,
    BlendParams,
    MaskParams,
    ReenactParams,
)

EVERY = [(stage, cls, knob) for stage, cls in STAGE_PARAMS.items() for knob in iterate_param_fields(cls)]
NAMES = [f"{stage}.{knob.name}" for stage, _, knob in EVERY]


@pytest.mark.parametrize(("stage", "cls", "knob"), EVERY, ids=NAMES)
class TestDeclarations:
    def test_says_what_it_is(self, stage: str, cls: type[Params], knob) -> None:
        assert knob.label and knob.help.rstrip().endswith((".", "!")), "a label, and a sentence of help"
        assert knob.kind in ("float", "int", "bool", "choice", "text", "floats", "texts")
        assert (knob.kind == "choice") == bool(knob.choices)

    def test_default_is_allowed(self, stage: str, cls: type[Params], knob) -> None:
        assert getattr(cls(**{knob.name: knob.default}), knob.name) == knob.default

    def test_bounds_are_inclusive(self, stage: str, cls: type[Params], knob) -> None:
        for bound, outward in ((knob.minimum, -1), (knob.maximum, 1)):
            if bound is None:
                continue
            assert getattr(cls(**{knob.name: bound}), knob.name) == bound
            with pytest.raises(ParameterError, match=rf"{stage}\.{knob.name}"):
                cls(**{knob.name: bound + outward * (1 if knob.kind == "int" else 1e-6)})

    def test_wrong_kind_is_refused(self, stage: str, cls: type[Params], knob) -> None:
        wrong = {"float": "wide", "int": 1.5, "bool": 1, "choice": "no such", "text": 3, "floats": "1,2", "texts": "a"}
        with pytest.raises(ParameterError):
            cls(**{knob.name: wrong[knob.kind]})

    def test_text_round_trip(self, stage: str, cls: type[Params], knob) -> None:
        if knob.default is None:
            assert parse_param_value(cls, knob.name, "") is None
        elif knob.kind != "texts":
            assert parse_param_value(cls, knob.name, str(knob.default)) == knob.default

    def test_stage_is_named_after_its_class(self, stage: str, cls: type[Params], knob) -> None:
        assert get_stage_name(cls) == stage


class TestParse:
    @pytest.mark.parametrize(
        ("text", "value"), [("on", True), ("True", True), ("1", True), ("no", False), ("0", False)]
    )
    def test_switches(self, text: str, value: bool) -> None:
        assert parse_param_value(MaskParams, "mouth", text) is value

    def test_lists_and_points(self) -> None:
        assert parse_param_value(ReenactParams, "views", "a:1,a:7") == ("a:1", "a:7")
        assert parse_param_value(AnalyseParams, "person_point", "12.5,-3") == (12.5, -3.0)

    @pytest.mark.parametrize(
        ("name", "text"),
        [("mix", "half"), ("mix", "nan"), ("seed", "1.5"), ("seed", "-1"), ("engine", "magic"), ("mix", "")],
    )
    def test_refusals_name_the_parameter_and_what_it_takes(self, name: str, text: str) -> None:
        with pytest.raises(ParameterError, match=rf"blend\.{name} = .* it must be ") as caught:
            parse_param_value(BlendParams, name, text)
        assert caught.value.exit_code == 2

    def test_unknown_name_has_near_matches(self) -> None:
        with pytest.raises(ParameterError, match="did you mean sharpness"):
            parse_param_value(BlendParams, "sharpnes", "1")


class TestParams:
    def test_numbers_take_their_type(self) -> None:
        params = BlendParams(mix=1, seed=2.0)
        assert isinstance(params.mix, float) and isinstance(params.seed, int)

    def test_bools_are_no_numbers(self) -> None:
        with pytest.raises(ParameterError):
            BlendParams(mix=True)

    def test_not_a_number_is_out_of_range(self) -> None:
        with pytest.raises(ParameterError):
            BlendParams(mix=math.nan)

    def test_dict_round_trip(self) -> None:
        params = ReenactParams(views=("a:1",), expression=2.0)
        assert ReenactParams.from_dict(params.to_dict()) == params
        assert params.to_dict()["views"] == ["a:1"]

    def test_unset_optional_is_left_out(self) -> None:
        assert "person_point" not in AnalyseParams().to_dict()

    def test_frozen(self) -> None:
        with pytest.raises(dataclasses.FrozenInstanceError):
            BlendParams().mix = 0.5  # type: ignore[misc]


def test_aliases_name_parameters_that_exist_under_names_that_do_not() -> None:
    for alias, meant in PARAMETER_ALIASES.items():
        assert meant in NAMES and alias not in NAMES


def test_engines_are_those_that_the_table_has() -> None:
    from fsgan_core.render.engines import ENGINES

    for stage in ("reenact", "mask", "inpaint", "blend"):
        declared = {knob.name: knob for knob in iterate_param_fields(STAGE_PARAMS[stage])}["engine"].choices
        assert set(declared) == {"auto"} | {engine.name for engine in ENGINES if engine.stage == stage}


class TestCurves:
    """A number that changes over time."""

    def test_table_text_and_plain_data_are_the_same(self) -> None:
        params = MaskParams.from_dict({"feather": {"1010": 0.1, "1001": 0.05}})
        assert params.to_dict()["feather"] == {"1001": 0.05, "1010": 0.1}
        assert MaskParams.from_dict(params.to_dict()) == params
        assert parse_param_value(MaskParams, "feather", "1001:0.05,1010:0.1") == params.feather

    @pytest.mark.parametrize(
        ("frame", "value"), [(-5, 0.0), (1, 0.0), (2, 0.25), (5, 1.0), (9, 1.0)], ids=lambda value: str(value)
    )
    def test_even_between_samples_and_constant_outside(self, frame: int, value: float) -> None:
        assert BlendParams(mix=Curve(((1, 0.0), (5, 1.0)))).at_frame(frame).mix == value  # type: ignore[arg-type]

    def test_whole_numbers_stay_whole(self) -> None:
        assert MaskParams.from_dict({"smooth": {1: 0, 4: 3}}).at_frame(2).smooth == 1

    def test_a_curve_that_does_not_change_is_a_number(self) -> None:
        assert MaskParams.from_dict({"feather": {1: 0.1, 9: 0.1}}) == MaskParams(feather=0.1)

    @pytest.mark.parametrize(
        ("table", "said"),
        [
            ({}, "it has no frames"),
            ({"soon": 0.1}, "'soon' is not the number of a frame"),
            ({"1": 0.1, "01": 0.2}, "frame 1 has two values"),
            ({1: 0.1, 2: 9.0}, "mask.feather = 9.0 is not allowed"),
            ({1: {2: 0.1}}, "is not allowed"),
            ({1: None}, "is not allowed"),
        ],
    )
    def test_wrong_tables(self, table: dict, said: str) -> None:
        with pytest.raises(ParameterError, match=said):
            MaskParams.from_dict({"feather": table})

    def test_what_spans_the_clip_is_refused(self) -> None:
        with pytest.raises(
            ParameterError, match=r"analyse\.smooth holds for the whole clip and cannot change over time"
        ):
            AnalyseParams.from_dict({"smooth": {1: 0.5, 2: 1.0}})
        with pytest.raises(ParameterError, match="true or false"):
            MaskParams.from_dict({"hands": {1: True}})


@pytest.mark.parametrize("detector", ["dlib", "dlib-cnn"])
def test_a_removed_choice_says_what_to_do(detector: str) -> None:
    with pytest.raises(ParameterError, match=r"it was removed; use auto.*analyse.landmarks=dlib"):
        AnalyseParams(detector=detector)
