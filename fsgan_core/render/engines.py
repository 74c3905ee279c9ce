"""Which engine does a stage: one table of engines, what each needs, and how to load it.

A row names the roles of network weights that the engine needs, or uses if they are installed, and the function that
imports it. Importing this module imports no engine. Rows stand best first: with `engine=auto` a stage takes the first
one that lacks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from fsgan_core.contract.errors import EngineError, WeightsError

if TYPE_CHECKING:
    from fsgan_core.contract.shot import Stages
    from fsgan_core.networks.weights.installed import InstalledWeights
    from fsgan_core.stages.interface import (
        BlendEngine,
        DriveEngine,
        InpaintEngine,
        MaskEngine,
        Networks,
        ReenactEngine,
    )

__all__ = [
    "ENGINES",
    "Engine",
    "NetworkRuntime",
    "ResolvedEngine",
    "StageEngines",
    "choose_engine",
    "choose_engines",
    "describe_missing",
    "draws_whole_face",
    "find_auto_engine",
]


EngineT = TypeVar("EngineT")
EngineT_co = TypeVar("EngineT_co", covariant=True)
Factory: TypeAlias = "Callable[[Networks], EngineT]"


@dataclass(frozen=True)
class Engine(Generic[EngineT_co]):
    """One way to do a stage.

    Attributes:
        stage: The stage that it does.
        name: As in the parameter `engine`.
        create: Imports the engine and gives it its networks.
        required_roles: Roles of weights that it cannot do without.
        optional_roles: Roles of weights that it uses if they are installed.
    """

    stage: str
    name: str
    create: Factory[EngineT_co]
    required_roles: tuple[str, ...] = ()
    optional_roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class NetworkRuntime:
    """What networks run on.

    Attributes:
        device: "cpu", "cuda:0", ...
        precision: As the parameter `weights.precision`.
    """

    device: str = "cpu"
    precision: str = "auto"


@dataclass(frozen=True)
class ResolvedEngine(Generic[EngineT_co]):
    """An engine with the weights that it runs with in one job.

    Attributes:
        engine: The row of the table.
        installed_weights: Role -> installed file.
        runtime: What its networks run on.
    """

    engine: Engine[EngineT_co]
    installed_weights: Mapping[str, InstalledWeights] = field(default_factory=dict)
    runtime: NetworkRuntime = field(default_factory=NetworkRuntime)

    @property
    def stage(self) -> str:
        """The stage that it does."""
        return self.engine.stage

    @property
    def name(self) -> str:
        """The engine's name, never "auto"."""
        return self.engine.name

    def get_weight_hashes(self) -> dict[str, str]:
        """Returns the SHA-256 of each weights file that it uses, by the name of the weights."""
        return {weights.info.name: weights.sha256 for _, weights in sorted(self.installed_weights.items())}

    @property
    def weights_text(self) -> str:
        """For logs and metadata: "name:first 12 digits of the SHA-256 (licence class), ...", or "none"."""
        descriptions = [
            f"{weights.info.name}:{weights.sha256[:12]} ({weights.info.licence})"
            for _, weights in sorted(self.installed_weights.items())
        ]
        return ", ".join(descriptions) or "none"

    def load(self) -> EngineT_co:
        """Imports the engine and loads its networks."""
        if not self.engine.required_roles:
            return self.engine.create({})
        from fsgan_core.networks.network import Network

        networks = {
            role: Network.load(weights, self.runtime.device, self.runtime.precision)
            for role, weights in self.installed_weights.items()
        }
        return self.engine.create(networks)


def _create_mesh_reenact(networks: Networks) -> ReenactEngine:
    from fsgan_core.stages import reenactment

    return reenactment


def _create_fsgan_reenact(networks: Networks) -> ReenactEngine:
    from fsgan_core.stages.neural.fsgan_reenact import FsganReenact

    return FsganReenact(networks)


def _create_geometric_mask(networks: Networks) -> MaskEngine:
    from fsgan_core.stages import masking

    return masking


def _create_fsgan_mask(networks: Networks) -> MaskEngine:
    from fsgan_core.stages.neural.fsgan_mask import FsganMask

    return FsganMask(networks)


def _create_fill_inpaint(networks: Networks) -> InpaintEngine:
    from fsgan_core.stages import inpainting

    return inpainting


def _create_fsgan_inpaint(networks: Networks) -> InpaintEngine:
    from fsgan_core.stages.neural.fsgan_inpaint import FsganInpaint

    return FsganInpaint(networks)


def _create_classical_blend(networks: Networks) -> BlendEngine:
    from fsgan_core.stages import blending

    return blending


def _create_fsgan_blend(networks: Networks) -> BlendEngine:
    from fsgan_core.stages.neural.fsgan_blend import FsganBlend

    return FsganBlend(networks)


def _create_liquify_drive(networks: Networks) -> DriveEngine:
    from fsgan_core.stages.motion import liquify

    return liquify


ENGINES: tuple[Engine[Any], ...] = (
    Engine("reenact", "fsgan", _create_fsgan_reenact, required_roles=("reenact",), optional_roles=("mask",)),
    Engine("reenact", "mesh", _create_mesh_reenact),
    Engine("drive", "liquify", _create_liquify_drive),
    Engine("mask", "fsgan", _create_fsgan_mask, required_roles=("mask",)),
    Engine("mask", "geometric", _create_geometric_mask),
    Engine("inpaint", "fsgan", _create_fsgan_inpaint, required_roles=("inpaint",)),
    Engine("inpaint", "fill", _create_fill_inpaint),
    Engine("blend", "fsgan", _create_fsgan_blend, required_roles=("blend",)),
    Engine("blend", "poisson", _create_classical_blend),
    Engine("blend", "multiband", _create_classical_blend),
    Engine("blend", "over", _create_classical_blend),
)


@dataclass(frozen=True)
class StageEngines:
    """The engines of one job. In a drive, `drive` makes the picture in place of `reenact`."""

    reenact: ResolvedEngine[ReenactEngine]
    mask: ResolvedEngine[MaskEngine]
    inpaint: ResolvedEngine[InpaintEngine]
    blend: ResolvedEngine[BlendEngine]
    drive: ResolvedEngine[DriveEngine]

    def __getitem__(self, stage: str) -> ResolvedEngine[Any]:
        engine: ResolvedEngine[Any] = getattr(self, stage)
        return engine


def choose_engines(stages: Stages, runtime: NetworkRuntime | None = None) -> StageEngines:
    """Chooses the engine of every stage; raises as `choose_engine`."""
    return StageEngines(
        reenact=choose_engine("reenact", stages, runtime),
        mask=choose_engine("mask", stages, runtime),
        inpaint=choose_engine("inpaint", stages, runtime),
        blend=choose_engine("blend", stages, runtime),
        drive=choose_engine("drive", stages, runtime),
    )


def choose_engine(
    stage: str, stages: Stages, runtime: NetworkRuntime | None = None, table: Sequence[Engine[Any]] = ENGINES
) -> ResolvedEngine[Any]:
    """Chooses the engine of a stage, with its weights.

    Args:
        stage: "reenact", "mask", "inpaint", "blend" or "drive".
        stages: The parameter `engine` of the stage names the engine; "auto" takes the best one that can run here.
        runtime: What networks run on.
        table: The engines to choose from, best first.

    Raises:
        EngineError: There is no such engine.
        WeightsError: Weights that it needs are not installed or not allowed.
    """
    runtime = runtime or NetworkRuntime()
    name = getattr(getattr(stages, stage, None), "engine", "auto")
    stage_engines = [engine for engine in table if engine.stage == stage]
    for engine in stage_engines:
        # If the parameters name weights, "auto" means the engine that uses them.
        if name == engine.name or (name == "auto" and (not engine.required_roles or _get_named_weights(stages, stage))):
            return ResolvedEngine(engine, _find_engine_weights(engine, stages), runtime)
        installed_weights = _find_all_best_weights(engine, stages) if name == "auto" else None
        if installed_weights is not None:
            return ResolvedEngine(engine, installed_weights, runtime)
    if name == "auto":
        raise EngineError(f"no engine of {stage} can run here; `fsgan doctor` lists what each one lacks")
    names = ", ".join(engine.name for engine in stage_engines)
    raise EngineError(f"{stage}.engine = {name} is not known; there are {names} and auto")


def draws_whole_face(reenact_engine: ResolvedEngine[Any], prewarp: str) -> bool:
    """Tells whether an engine of reenactment draws the whole face itself, in place of refining warped views.

    Args:
        reenact_engine: An engine of the stage "reenact".
        prewarp: The parameter `reenact.prewarp`: "auto", "on" or "off".
    """
    network = reenact_engine.installed_weights.get("reenact")
    if network is None:
        return False
    return not (network.info.prewarp if prewarp == "auto" else prewarp == "on")


def describe_missing(engine: Engine[Any], allow: str = "any") -> str:
    """Describes what an engine lacks on this machine and what to do about it; "" if it can run.

    Args:
        engine: A row of the table.
        allow: Which licences are allowed, as the parameter `weights.allow`.
    """
    from fsgan_core.networks.weights.installed import find_weights

    for role in engine.required_roles:
        try:
            find_weights(role, allow=allow)
        except WeightsError as error:
            return str(error)
    return ""


def find_auto_engine(stage: str, allow: str = "any") -> str:
    """Finds the engine that "auto" takes on this machine with default parameters; "" if none can run.

    Args:
        stage: "reenact", "mask", "inpaint", "blend" or "drive".
        allow: Which licences are allowed, as the parameter `weights.allow`.
    """
    from fsgan_core.contract.shot import Stages

    try:
        return choose_engine(stage, Stages().with_settings({"weights.allow": allow})).name
    except (EngineError, WeightsError):
        return ""


def _get_named_weights(stages: Stages, role: str) -> str:
    """The weights that the parameters name for a role; "" if they name none."""
    return str(getattr(getattr(stages, role, None), "network", ""))


def _find_engine_weights(engine: Engine[Any], stages: Stages) -> dict[str, InstalledWeights]:
    """The weights of an engine that the parameters name. Raises WeightsError."""
    if not engine.required_roles:
        return {}
    from fsgan_core.networks.weights.installed import find_weights

    required_weights = {
        role: find_weights(role, _get_named_weights(stages, role), stages.weights.allow)
        for role in engine.required_roles
    }
    return {**required_weights, **_find_optional_weights(engine, stages)}


def _find_all_best_weights(engine: Engine[Any], stages: Stages) -> dict[str, InstalledWeights] | None:
    """The weights that "auto" takes for an engine; None if some are missing."""
    from fsgan_core.networks.weights.installed import find_best_weights

    best_weights = {role: find_best_weights(role, stages.weights.allow) for role in engine.required_roles}
    installed = {role: weights for role, weights in best_weights.items() if weights is not None}
    return {**installed, **_find_optional_weights(engine, stages)} if len(installed) == len(best_weights) else None


def _find_optional_weights(engine: Engine[Any], stages: Stages) -> dict[str, InstalledWeights]:
    """The weights of an engine's optional roles: those that the role's own stage would run with."""
    optional_weights = {}
    for role in engine.optional_roles:
        role_engine = choose_engine(role, stages)
        optional_weights.update(
            {name: weights for name, weights in role_engine.installed_weights.items() if name == role}
        )
    return optional_weights
