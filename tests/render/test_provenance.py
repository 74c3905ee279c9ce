"""What pictures say of how they came to be."""

from __future__ import annotations

from pathlib import Path

from fsgan_core.contract import layers
from fsgan_core.networks.weights.catalogue import WeightsInfo
from fsgan_core.networks.weights.installed import InstalledWeights
from fsgan_core.render.engines import Engine, ResolvedEngine
from fsgan_core.render.provenance import make_provenance, read_flags, strip_foreign_prefixes


def create_nothing(networks: object) -> None:
    return None


REENACT = ResolvedEngine(Engine("reenact", "mesh", create_nothing))
GC = InstalledWeights(WeightsInfo("gc", "inpaint", licence="research"), Path("gc.safetensors"), "ab" * 32)
NETWORK = ResolvedEngine(Engine("inpaint", "fsgan", create_nothing, required_roles=("inpaint",)), {"inpaint": GC})


def test_a_first_stage() -> None:
    said = make_provenance(
        REENACT, box=(1, 2.345, 3, 4), space="ACEScg", flags=["pose-clamped"], sources=["a", "b", "a"]
    )
    assert said[layers.META_ENGINE] == "reenact=mesh" and said[layers.META_WEIGHTS] == "none"
    assert said[layers.META_SOURCE] == "a, b" and said[layers.META_SYNTHETIC] == 1
    assert said[layers.META_FACE] in ("1.00 2.35 3.00 4.00", "1.00 2.34 3.00 4.00")
    assert layers.META_DRIVER not in said


def test_a_later_stage_says_all() -> None:
    first = make_provenance(
        REENACT, box=(0, 0, 1, 1), space="ACEScg", flags=["bridged"], sources=["a"], leading_view="a 112", driver="d"
    )
    mask = make_provenance(
        ResolvedEngine(Engine("mask", "geometric", create_nothing)), box=(0, 0, 1, 1), space="ACEScg", flags=["bridged"]
    )
    assert layers.META_SYNTHETIC not in mask
    said = make_provenance(NETWORK, box=(0, 0, 1, 1), space="ACEScg", flags=[], input_metadata=[first, mask])
    assert said[layers.META_ENGINE] == "reenact=mesh, mask=geometric, inpaint=fsgan"
    assert said[layers.META_WEIGHTS] == "gc:abababababab"
    assert said[layers.META_LICENCE] == "research" and layers.META_LICENCE not in first
    assert (said[layers.META_SOURCE], said[layers.META_DRIVER]) == ("a", "d")
    assert said[layers.META_LEADING_VIEW] == "a 112"
    assert read_flags(said) == ("bridged",)


def test_names_that_another_program_prefixed() -> None:
    assert strip_foreign_prefixes({"exr/fsgan/key": "x", "exr/owner": "y"}) == {"fsgan/key": "x", "exr/owner": "y"}
