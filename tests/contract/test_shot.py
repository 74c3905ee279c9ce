"""The shot as plain data."""

from __future__ import annotations

import pytest

from fsgan_core.contract.errors import ParameterError, ShotError
from fsgan_core.contract.shot import Clip, Output, Shot, Stages, parse_person

LEAST = {"source": "a.mov", "target": "b.####.exr", "output": "c.####.exr"}


def full() -> Shot:
    stages = Stages().with_settings(
        {
            "blend.engine": "multiband",
            "mask.feather": "0.1",
            "analyse.person_point": "3,4",
            "reenact.exclude": "a:7,a:8",
            "colour.exposure": "-1.5",
        }
    )
    return Shot(
        (Clip("a.mov", "sRGB", person="1"), Clip("b.jpg")),
        Clip("t.####.exr", "ACEScg", "t.json", "left"),
        Output("o.####.exr", "ACES2065-1"),
        "drive",
        "1001-1010",
        Clip("h.####.exr"),
        stages,
    )


class TestDict:
    def test_round_trip(self) -> None:
        assert Shot.from_dict(full().to_dict()) == full()

    def test_least(self) -> None:
        shot = Shot.from_dict(LEAST)
        assert shot == Shot((Clip("a.mov"),), Clip("b.####.exr"), Output("c.####.exr"))
        assert shot.stages == Stages()

    def test_defaults_are_left_out(self) -> None:
        data = Shot.from_dict(LEAST).to_dict()
        assert data == {
            "version": 1,
            "job": "swap",
            "source": [{"path": "a.mov"}],
            "target": {"path": "b.####.exr"},
            "output": {"path": "c.####.exr"},
        }

    def test_another_name_of_a_parameter(self) -> None:
        shot = Shot.from_dict({**LEAST, "stages": {"blend": {"method": "over"}}})
        assert shot.stages.blend.engine == "over"

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ({"target": None}, r"\[target\] needs a path"),
            ({"target": {"path": ""}}, "needs a path"),
            ({"target": {"path": "a", "colourspace": "x"}}, "did you mean colorspace"),
            ({"target": {"path": "a", "part": 3}}, "must be text"),
            ({"tagret": "a"}, "did you mean target"),
            ({"parameters": 3}, "known: .*stages"),
            ({"stages": {"blnd": {}}}, "did you mean blend"),
            ({"stages": {"blend": 3}}, "must be a table"),
            ({"stages": 3}, "must be a table"),
            ({"job": "dance"}, "swap, drive"),
            ({"version": 2}, "reads 1"),
            ({"source": []}, "no source"),
        ],
    )
    def test_refusals(self, change: dict[str, object], says: str) -> None:
        with pytest.raises(ShotError, match=says):
            Shot.from_dict({**LEAST, **change})

    @pytest.mark.parametrize("missing", ["source", "target", "output"])
    def test_what_is_needed(self, missing: str) -> None:
        with pytest.raises(ShotError, match=missing):
            Shot.from_dict({key: value for key, value in LEAST.items() if key != missing})

    def test_not_a_table(self) -> None:
        with pytest.raises(ShotError):
            Shot.from_dict([])  # type: ignore[arg-type]

    def test_a_bad_parameter_is_named(self) -> None:
        with pytest.raises(ParameterError, match=r"blend\.mix"):
            Shot.from_dict({**LEAST, "stages": {"blend": {"mix": 2}}})


class TestSettings:
    def test_later_ones_add_up(self) -> None:
        stages = Stages().with_settings({"blend.mix": "0.5"}).with_settings({"blend.grain": "0"})
        assert (stages.blend.mix, stages.blend.grain) == (0.5, 0.0)

    def test_another_name(self) -> None:
        assert Stages().with_settings({"blend.method": "multiband"}).blend.engine == "multiband"

    @pytest.mark.parametrize(
        ("name", "says"),
        [
            ("blend.mixx", "did you mean mix"),
            ("blnd.mix", "did you mean blend.mix"),
            ("blend", "stage.parameter"),
            ("", "stages: "),
        ],
    )
    def test_unknown(self, name: str, says: str) -> None:
        with pytest.raises(ParameterError, match=says):
            Stages().with_settings({name: "1"})


@pytest.mark.parametrize(
    ("person", "settings"),
    [
        ("", {}),
        ("largest", {"person": "largest"}),
        ("2", {"person": "index", "person_index": 2}),
        ("960,-4.5", {"person": "point", "person_point": (960.0, -4.5)}),
        ("stills/anna,1.jpg", {"person": "reference", "person_reference": "stills/anna,1.jpg"}),
    ],
)
def test_person(person: str, settings: dict[str, object]) -> None:
    assert parse_person(person) == settings


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"parameters": {"blend": {"mix": 0.5}}}, r"no key 'parameters'; parameters belong in \[stages.NAME\]"),
        ({"mask": {"feather": 0.5}}, r"no key 'mask'; parameters of mask belong in \[stages.mask\]"),
        ({"stage": {"mask": {}}}, "did you mean stages"),
    ],
)
def test_tables_that_are_not_those_of_stages(table: dict[str, object], says: str) -> None:
    with pytest.raises(ShotError, match=says):
        Shot.from_dict({"source": "a.mov", "target": "b.mov", "output": "c.####.exr", **table})
