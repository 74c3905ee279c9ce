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
    from fsgan_core.networks.weights.catalogue import Installed

__all__ = ["ENGINES", "Chosen", "Engine", "Machine", "auto_engine", "choose_engine", "draws_anew", "missing_of"]


@dataclass(frozen=True)
class Engine:
    """One way to do a stage.

    functions: part of the stage's work -> "module:function". needs: roles of weights that it cannot do without. uses:
    roles that it makes use of where they are there.
    """

    stage: str
    name: str
    functions: Mapping[str, str]
    needs: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Machine:
    """What networks run on. device: "cpu", "cuda:0", ... precision: as `weights.precision`."""

    device: str = "cpu"
    precision: str = "auto"


@dataclass(frozen=True)
class Chosen:
    """An engine with the weights that it runs with in one job, role -> installed file."""

    engine: Engine
    installed: Mapping[str, Installed] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)

    @property
    def stage(self) -> str:
        return self.engine.stage

    @property
    def name(self) -> str:
        return self.engine.name

    def weights(self) -> dict[str, str]:
        """Name -> SHA-256 of each weights file that it uses."""
        return {found.weight.name: found.sha256 for _, found in sorted(self.installed.items())}

    @property
    def weights_text(self) -> str:
        """For logs and metadata: "name:first 12 digits of the SHA-256 (licence class), ...", or "none"."""
        said = [f"{found.weight.name}:{found.sha256[:12]} ({found.weight.licence})"
                for _, found in sorted(self.installed.items())]
        return ", ".join(said) or "none"

    def function(self, part: str) -> Callable[..., Any]:
        """The function for a part of the stage's work, its module imported and its networks loaded now."""
        module, _, name = self.engine.functions[part].partition(":")
        function = getattr(importlib.import_module(module), name)
        if not self.engine.needs:
            return function
        from fsgan_core.networks.network import Network

        networks = {role: Network.load(found, self.machine.device, self.machine.precision)
                    for role, found in self.installed.items()}
        return functools.partial(function, networks=networks)


_REENACT = {"reenact": "fsgan_core.stages.reenact:reenact"}
_DRIVE = {"picture": "fsgan_core.stages.liquify:drive_picture", "mattes": "fsgan_core.stages.liquify:drive_mattes"}
_MASK = {"measure": "fsgan_core.stages.mask:measure_mattes", "combine": "fsgan_core.stages.mask:combine_mattes"}
_INPAINT = {"inpaint": "fsgan_core.stages.inpaint:inpaint"}
_BLEND = {"blend": "fsgan_core.stages.blend:blend"}
_FSGAN_REENACT = {"reenact": "fsgan_core.stages.fsgan_reenact:reenact"}
_FSGAN_MASK = {"measure": "fsgan_core.stages.fsgan_mask:measure_mattes",
               "combine": "fsgan_core.stages.fsgan_mask:combine_mattes"}
_FSGAN_INPAINT = {"inpaint": "fsgan_core.stages.fsgan_inpaint:inpaint"}
_FSGAN_BLEND = {"blend": "fsgan_core.stages.fsgan_blend:blend"}

ENGINES: tuple[Engine, ...] = (
    Engine("reenact", "fsgan", _FSGAN_REENACT, needs=("reenact",), uses=("mask",)),
    Engine("reenact", "warp", _REENACT),
    Engine("drive", "liquify", _DRIVE),
    Engine("mask", "fsgan", _FSGAN_MASK, needs=("mask",)),
    Engine("mask", "geometric", _MASK),
    Engine("inpaint", "fsgan", _FSGAN_INPAINT, needs=("inpaint",)),
    Engine("inpaint", "fill", _INPAINT),
    Engine("blend", "fsgan", _FSGAN_BLEND, needs=("blend",)),
    Engine("blend", "poisson", _BLEND),
    Engine("blend", "multiband", _BLEND),
    Engine("blend", "over", _BLEND),
)


def choose_engine(stage: str, stages: Stages, machine: Machine | None = None,
                  table: Sequence[Engine] = ENGINES) -> Chosen:
    """The engine that the stage's parameter `engine` names, or for "auto" the best that can run here; with its
    weights.

    Raises EngineError (no such engine) or WeightsError (weights that it needs are not there or not allowed; the
    message says what to do).
    """
    machine = machine or Machine()
    name = getattr(getattr(stages, stage, None), "engine", "auto")
    rows = [engine for engine in table if engine.stage == stage]
    for engine in rows:
        # Weights that are named are wanted, so an engine that is left to choose is theirs.
        if name == engine.name or (name == "auto" and (not engine.needs or _named(stages, stage))):
            return Chosen(engine, _installed(engine, stages), machine)
        found = _best(engine, stages) if name == "auto" else None
        if found is not None:
            return Chosen(engine, found, machine)
    if name == "auto":
        raise EngineError(f"no engine of {stage} can run here; `fsgan doctor` says what each one lacks")
    raise EngineError(f"{stage}.engine = {name} is not known; there are {', '.join(row.name for row in rows)} and auto")


def draws_anew(chosen: Chosen, prewarp: str) -> bool:
    """Whether an engine of reenactment draws the face anew, and not refines a warped view, which shows what the view
    shows. prewarp: reenact.prewarp."""
    network = chosen.installed.get("reenact")
    if network is None:
        return False
    return not (network.weight.prewarp if prewarp == "auto" else prewarp == "on")


def missing_of(engine: Engine, allow: str = "any") -> str:
    """What an engine lacks on this machine and what to do about it; "" where it can run."""
    from fsgan_core.networks.weights.catalogue import find_weights

    for role in engine.needs:
        try:
            find_weights(role, allow=allow)
        except WeightsError as error:
            return str(error)
    return ""


def auto_engine(stage: str, allow: str = "any") -> str:
    """The engine that "auto" takes here with plain parameters; "" where none can run."""
    from fsgan_core.contract.shot import Stages

    try:
        return choose_engine(stage, Stages().with_settings({"weights.allow": allow})).name
    except (EngineError, WeightsError):
        return ""


def _named(stages: Stages, role: str) -> str:
    """The weights that the parameters name for a role; "" where none are named."""
    return str(getattr(getattr(stages, role, None), "network", ""))


def _installed(engine: Engine, stages: Stages) -> dict[str, Installed]:
    """The weights of an engine that was asked for. Raises WeightsError."""
    if not engine.needs:
        return {}
    from fsgan_core.networks.weights.catalogue import find_weights

    found = {role: find_weights(role, _named(stages, role), stages.weights.allow) for role in engine.needs}
    return {**found, **_optional(engine, stages)}


def _best(engine: Engine, stages: Stages) -> dict[str, Installed] | None:
    """The weights that "auto" takes for an engine; None where some are missing."""
    from fsgan_core.networks.weights.catalogue import best_weights

    found = {role: best_weights(role, stages.weights.allow) for role in engine.needs}
    there = {role: weights for role, weights in found.items() if weights is not None}
    return {**there, **_optional(engine, stages)} if len(there) == len(found) else None


def _optional(engine: Engine, stages: Stages) -> dict[str, Installed]:
    """Weights of the roles that an engine only makes use of: those that the role's own stage would run with."""
    found = {}
    for role in engine.uses:
        chosen = choose_engine(role, stages)
        found.update({name: weights for name, weights in chosen.installed.items() if name == role})
    return found
