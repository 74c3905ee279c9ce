"""Plans: the presets are complete, and errors name the wrong setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from fsgan_core.contract.errors import InputError
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.networks.architectures.build import parse_architecture
from fsgan_core.training.plan import PRESETS, TrainingPhase, get_preset_path, load_plan


@pytest.mark.parametrize("network", NETWORK_STAGES)
@pytest.mark.parametrize("preset", PRESETS)
def test_presets(network: str, preset: str) -> None:
    plan = load_plan(get_preset_path(network, preset), network)
    parse_architecture(plan.arch)
    if preset == "published":
        assert [(phase.resolution, phase.epochs, phase.rate) for phase in plan.phases] == [
            (128, 24, 1e-4),
            (256, 50, 4e-5),
        ]
        if network != "mask":
            assert dict(plan.losses.perceptual) == {"identity": 0.5, "attributes": 0.5} and plan.without_vgg is not None
            assert plan.losses.gan == (0.1 if network == "blend" else 0.001)


def test_changes_of_a_plan(tmp_path: Path) -> None:
    path = get_preset_path("reenact", "published")
    plan = load_plan(
        path,
        "reenact",
        {
            "phases.iterations": "7",
            "losses.gan": "0",
            "average": "0.5",
            "validation": '["anna"]',
            "arch": "res_unet.ResUNet()",
        },
    )
    assert (
        [phase.count_iterations(1000) for phase in plan.phases] == [7, 7]
        and plan.losses.gan == 0
        and plan.average == 0.5
    )
    assert plan.validation == ("anna",) and plan.arch == "res_unet.ResUNet()"
    assert plan.to_dict()["augment"]["flip"] == 0.5


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"losses.colour": "1"}, "losses.colour"),
        ({"phases.batch": "0"}, "batch"),
        ({"phases.rate": '"fast"'}, "rate"),
        ({"average": "2"}, "average"),
        ({"solver": "mine"}, "solver"),
        ({"precision": "fp8"}, "precision"),
        ({"phases.resolution": "100"}, "multiple of 32"),
        ({"augment.flip": "7"}, "augment.flip"),
        ({"speed": "1"}, "speed"),
        ({"validation": "1.5"}, "validation"),
        ({"prewarp": "3"}, "prewarp"),
        ({"clip": "0"}, "clip"),
    ],
)
def test_wrong_plans_are_refused(changes: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_plan(get_preset_path("reenact", "small"), "reenact", changes)


def test_files_that_are_not_plans(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    for text, said in (
        ("network = [", "not valid TOML"),
        ("network = 'reenact'", "arch, losses is missing"),
        ("network = 'reenact'\narch = 'a'\nlosses = {}", "phases"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            load_plan(path, "reenact")
    with pytest.raises(InputError, match="cannot be read"):
        load_plan(tmp_path / "none.toml", "reenact")
    with pytest.raises(InputError, match="not for mask"):
        load_plan(get_preset_path("reenact", "small"), "mask")


def test_phase_lengths() -> None:
    assert TrainingPhase(64, 4, 1e-3, epochs=2).count_iterations(10) == 5
    with pytest.raises(InputError, match="iterations or epochs"):
        TrainingPhase(64, 4, 1e-3)
