"""Which engine does a stage: one table of names, what each needs, and the functions that do the work.

A row names the functions of its stage, which all rows of a stage give the same signature, and the roles of network
weights that it needs (or makes use of where they are installed). Functions of a row with roles take one keyword more:
`networks`, role -> network. Rows stand best first: "auto" takes the first that lacks nothing.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fsgan_core.contract.errors import EngineError, WeightsError

if TYPE_CHECKING:
    from fsgan_core.contract.shot import Stages
    from fsgan_core.networks.weights.catalogue import InstalledWeights

__all__ = [
    "ENGINES",
    "Engine",
    "NetworkRuntime",
    "ResolvedEngine",
    "choose_engine",
    "describe_missing",
    "draws_whole_face",
    "find_auto_engine",
]


@dataclass(frozen=True)
class Engine:
    """One way to do a stage.

    functions: part of the stage's work -> "module:function". needs: roles of weights that it cannot do without. uses:
    roles that it makes use of where they are there.
    """

    stage: str
    name: str
    functions: Mapping[str, str]
    required_roles: tuple[str, ...] = ()
    optional_roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkRuntime:
    """What networks run on. device: "cpu", "cuda:0", ... precision: as `weights.precision`."""

    device: str = "cpu"
    precision: str = "auto"


@dataclass(frozen=True)
class ResolvedEngine:
    """An engine with the weights that it runs with in one job, role -> installed file."""

    engine: Engine
    installed_weights: Mapping[str, InstalledWeights] = field(default_factory=dict)
    runtime: NetworkRuntime = field(default_factory=NetworkRuntime)

    @property
    def stage(self) -> str:
        return self.engine.stage

    @property
    def name(self) -> str:
        return self.engine.name

    def get_weight_hashes(self) -> dict[str, str]:
        """Name -> SHA-256 of each weights file that it uses."""
        return {found.info.name: found.sha256 for _, found in sorted(self.installed_weights.items())}

    @property
    def weights_text(self) -> str:
        """For logs and metadata: "name:first 12 digits of the SHA-256 (licence class), ...", or "none"."""
        said = [
            f"{found.info.name}:{found.sha256[:12]} ({found.info.licence})"
            for _, found in sorted(self.installed_weights.items())
        ]
        return ", ".join(said) or "none"

    def load_function(self, part: str) -> Callable[..., Any]:
        """The function for a part of the stage's work, its module imported and its networks loaded now."""
        module, _, name = self.engine.functions[part].partition(":")
        function = getattr(importlib.import_module(module), name)
        if not self.engine.required_roles:
            return function
        from fsgan_core.networks.network import Network

        networks = {
            role: Network.load(found, self.runtime.device, self.runtime.precision)
            for role, found in self.installed_weights.items()
        }
        return functools.partial(function, networks=networks)


_REENACT = {"reenact": "fsgan_core.stages.reenactment:reenact"}
_DRIVE = {
    "picture": "fsgan_core.stages.motion.liquify:drive_picture",
    "mattes": "fsgan_core.stages.motion.liquify:drive_mattes",
}
_MASK = {"measure": "fsgan_core.stages.masking:measure_mattes", "combine": "fsgan_core.stages.masking:combine_mattes"}
_INPAINT = {"inpaint": "fsgan_core.stages.inpainting:inpaint"}
_BLEND = {"blend": "fsgan_core.stages.blending:blend"}
_FSGAN_REENACT = {"reenact": "fsgan_core.stages.neural.fsgan_reenact:reenact"}
_FSGAN_MASK = {
    "measure": "fsgan_core.stages.neural.fsgan_mask:measure_mattes",
    "combine": "fsgan_core.stages.neural.fsgan_mask:combine_mattes",
}
_FSGAN_INPAINT = {"inpaint": "fsgan_core.stages.neural.fsgan_inpaint:inpaint"}
_FSGAN_BLEND = {"blend": "fsgan_core.stages.neural.fsgan_blend:blend"}

ENGINES: tuple[Engine, ...] = (
    Engine("reenact", "fsgan", _FSGAN_REENACT, required_roles=("reenact",), optional_roles=("mask",)),
    Engine("reenact", "warp", _REENACT),
    Engine("drive", "liquify", _DRIVE),
    Engine("mask", "fsgan", _FSGAN_MASK, required_roles=("mask",)),
    Engine("mask", "geometric", _MASK),
    Engine("inpaint", "fsgan", _FSGAN_INPAINT, required_roles=("inpaint",)),
    Engine("inpaint", "fill", _INPAINT),
    Engine("blend", "fsgan", _FSGAN_BLEND, required_roles=("blend",)),
    Engine("blend", "poisson", _BLEND),
    Engine("blend", "multiband", _BLEND),
    Engine("blend", "over", _BLEND),
)


def choose_engine(
    stage: str, stages: Stages, machine: NetworkRuntime | None = None, table: Sequence[Engine] = ENGINES
) -> ResolvedEngine:
    """The engine that the stage's parameter `engine` names, or for "auto" the best that can run here; with its
    weights.

    Raises EngineError (no such engine) or WeightsError (weights that it needs are not there or not allowed; the
    message says what to do).
    """
    machine = machine or NetworkRuntime()
    name = getattr(getattr(stages, stage, None), "engine", "auto")
    rows = [engine for engine in table if engine.stage == stage]
    for engine in rows:
        # Weights that are named are wanted, so an engine that is left to choose is theirs.
        if name == engine.name or (name == "auto" and (not engine.required_roles or _get_named_weights(stages, stage))):
            return ResolvedEngine(engine, _find_engine_weights(engine, stages), machine)
        found = _find_best_weights(engine, stages) if name == "auto" else None
        if found is not None:
            return ResolvedEngine(engine, found, machine)
    if name == "auto":
        raise EngineError(f"no engine of {stage} can run here; `fsgan doctor` says what each one lacks")
    raise EngineError(f"{stage}.engine = {name} is not known; there are {', '.join(row.name for row in rows)} and auto")


def draws_whole_face(chosen: ResolvedEngine, prewarp: str) -> bool:
    """Whether an engine of reenactment draws the face anew, and not refines a warped view, which shows what the view
    shows. prewarp: reenact.prewarp."""
    network = chosen.installed_weights.get("reenact")
    if network is None:
        return False
    return not (network.info.prewarp if prewarp == "auto" else prewarp == "on")


def describe_missing(engine: Engine, allow: str = "any") -> str:
    """What an engine lacks on this machine and what to do about it; "" where it can run."""
    from fsgan_core.networks.weights.catalogue import find_weights

    for role in engine.required_roles:
        try:
            find_weights(role, allow=allow)
        except WeightsError as error:
            return str(error)
    return ""


def find_auto_engine(stage: str, allow: str = "any") -> str:
    """The engine that "auto" takes here with plain parameters; "" where none can run."""
    from fsgan_core.contract.shot import Stages

    try:
        return choose_engine(stage, Stages().with_settings({"weights.allow": allow})).name
    except (EngineError, WeightsError):
        return ""


def _get_named_weights(stages: Stages, role: str) -> str:
    """The weights that the parameters name for a role; "" where none are named."""
    return str(getattr(getattr(stages, role, None), "network", ""))


def _find_engine_weights(engine: Engine, stages: Stages) -> dict[str, InstalledWeights]:
    """The weights of an engine that was asked for. Raises WeightsError."""
    if not engine.required_roles:
        return {}
    from fsgan_core.networks.weights.catalogue import find_weights

    found = {
        role: find_weights(role, _get_named_weights(stages, role), stages.weights.allow)
        for role in engine.required_roles
    }
    return {**found, **_find_optional_weights(engine, stages)}


def _find_best_weights(engine: Engine, stages: Stages) -> dict[str, InstalledWeights] | None:
    """The weights that "auto" takes for an engine; None where some are missing."""
    from fsgan_core.networks.weights.catalogue import find_best_weights

    found = {role: find_best_weights(role, stages.weights.allow) for role in engine.required_roles}
    there = {role: weights for role, weights in found.items() if weights is not None}
    return {**there, **_find_optional_weights(engine, stages)} if len(there) == len(found) else None


def _find_optional_weights(engine: Engine, stages: Stages) -> dict[str, InstalledWeights]:
    """Weights of the roles that an engine only makes use of: those that the role's own stage would run with."""
    found = {}
    for role in engine.optional_roles:
        chosen = choose_engine(role, stages)
        found.update({name: weights for name, weights in chosen.installed_weights.items() if name == role})
    return found
