"""Training plans: a TOML file says how a network is trained on many people. The package has two presets for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from fsgan_core.contract.errors import FsganError, InputError
from fsgan_core.contract.plain_data import parse_toml
from fsgan_core.contract.stage_graph import NETWORK_STAGES
from fsgan_core.runtime.text_files import read_text_file
from fsgan_core.training.data.augment import AugmentSettings
from fsgan_core.training.losses import LossWeights
from fsgan_core.training.recipe import MAX_RATE, MIN_RATE, PRECISIONS

__all__ = ["PRESETS", "TrainingPhase", "TrainingPlan", "get_preset_path", "load_plan"]

MAX_PLAN_BYTES = 1 << 20
PRESETS = ("published", "small")
T = TypeVar("T")


@dataclass(frozen=True)
class TrainingPhase:
    """A part of the training at one resolution. Its length is given in iterations or in epochs.

    Attributes:
        resolution: Side of the network's square input in pixels, a multiple of 32.
        batch: Faces or pairs in a step, in all processes together.
        rate: Adam's learning rate for the generator.
        iterations: Training steps; 0 if the length is given in epochs.
        epochs: Number of times that every face is shown; 0 if the length is given in iterations.
        discriminator_rate: Adam's learning rate for the discriminator; 0 is the generator's.
        halve: Iterations or epochs after which the rates are halved, again and again; 0 is never.

    Raises:
        InputError: A value is out of range.
    """

    resolution: int
    batch: int
    rate: float
    iterations: int = 0
    epochs: float = 0
    discriminator_rate: float = 0.0
    halve: float = 0.0

    def __post_init__(self) -> None:
        if (self.iterations > 0) == (self.epochs > 0):
            raise InputError("a phase has either iterations or epochs, above 0")
        if self.resolution < 32 or self.resolution > 1024 or self.resolution % 32:
            raise InputError(f"resolution = {self.resolution} is not a multiple of 32 from 32 to 1024")
        _check_range("batch", self.batch, 1, 4096)
        _check_range("rate", self.rate, MIN_RATE, MAX_RATE)
        if self.discriminator_rate:
            _check_range("discriminator_rate", self.discriminator_rate, MIN_RATE, MAX_RATE)
        _check_range("halve", self.halve, 0, 1e9)

    def count_unit_iterations(self, faces: int) -> float:
        """Return the iterations in one unit of the phase's length, with this number of training faces."""
        return 1.0 if self.iterations else faces / self.batch

    def count_iterations(self, faces: int) -> int:
        """Return the iterations of the phase, with this number of training faces."""
        return self.iterations or max(1, round(self.epochs * self.count_unit_iterations(faces)))

    def compute_rate_factor(self, step: int, faces: int) -> float:
        """Return the factor of the learning rates at a step of the phase.

        >>> TrainingPhase(resolution=64, batch=8, rate=1e-4, iterations=1000, halve=100).compute_rate_factor(250, 0)
        0.25
        """
        return 0.5 ** int(step / (self.halve * self.count_unit_iterations(faces))) if self.halve else 1.0


@dataclass(frozen=True)
class TrainingPlan:
    """How one network is trained, from start to end.

    Attributes:
        network: One of `NETWORK_STAGES`.
        arch: Architecture of the generator, as in a weights file.
        phases: Stretches of training, one after another.
        losses: Weights of the losses.
        without_vgg: The losses to use if a VGG that `losses` needs is not installed.
        prewarp: For reenact: whether the network is shown a view that is already warped.
        focus: For reenact: whether the losses count only on the face.
        solver: For blend: "own" (stages.poisson) or "opencv".
        landmarks: Landmarks that the network is shown, 68 or 98; 0 is none.
        crop: Side of the crop, as a multiple of the face's box.
        discriminator: Width of the discriminator; 0 is as wide as the generator.
        average: Memory of the moving average of the weights per iteration, 0 to 1; 0 is no average.
        clip: Largest norm of a gradient.
        precision: "auto", "fp32" or "bf16".
        seed: Decides the order of the faces, their changes, and random weights.
        validation: Share of the people who are held out, 0 to 1, or their names.
        every: Iterations between two validations.
        trials: Faces that a validation measures.
        augment: How faces are changed.
    """

    network: str
    arch: str
    phases: tuple[TrainingPhase, ...]
    losses: LossWeights
    without_vgg: LossWeights | None = None
    prewarp: bool = False
    focus: bool = False
    solver: str = "own"
    landmarks: int = 0
    crop: float = 1.2
    discriminator: int = 0
    average: float = 0.999
    clip: float = 10.0
    precision: str = "auto"
    seed: int = 1
    validation: float | tuple[str, ...] = 0.15
    every: int = 500
    trials: int = 48
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        _check_choice("network", self.network, NETWORK_STAGES)
        _check_choice("solver", self.solver, ("own", "opencv"))
        _check_choice("precision", self.precision, PRECISIONS)
        if not self.phases:
            raise InputError("a plan needs at least one [[phases]]")
        _check_range("average", self.average, 0, 0.99999)
        _check_range("seed", self.seed, 0, 2**31 - 1)
        _check_range("every", self.every, 1, 1e9)
        _check_range("trials", self.trials, 1, 10_000)
        if not self.clip > 0:
            raise InputError(f"clip = {self.clip}: it must be above 0")
        if isinstance(self.validation, float):
            _check_range("validation", self.validation, 0.01, 0.9)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, for keys and metadata."""
        return {plan_field.name: _to_plain_data(getattr(self, plan_field.name)) for plan_field in fields(self)}


def get_preset_path(network: str, preset: str) -> Path:
    """Return the file of a preset.

    Raises:
        InputError: There is no such preset.
    """
    _check_choice("preset", preset, PRESETS)
    return Path(__file__).parent / "presets" / f"{network}_{preset}.toml"


def load_plan(path: Path, network: str, changes: Mapping[str, str] | None = None) -> TrainingPlan:
    """Load a plan.

    Args:
        path: The TOML file.
        network: The network that the plan must be for.
        changes: TOML values by "name" or "table.name", which replace those of the file; "phases.name" changes all
            phases.

    Raises:
        InputError: The file cannot be read, a setting is wrong, or the plan is for another network.
    """
    try:
        data = dict(parse_toml(read_text_file(path, MAX_PLAN_BYTES)))
        for name, text in (changes or {}).items():
            _apply_change(data, name, text)
        plan = _build_plan(data)
    except OSError as error:
        raise InputError(f"the plan {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"the plan {path} is not valid TOML: {error}") from error
    except FsganError as error:
        raise InputError(f"the plan {path}: {error}") from error
    if plan.network != network:
        raise InputError(f"the plan {path} is for {plan.network}, not for {network}")
    return plan


def _apply_change(data: dict[str, Any], name: str, text: str) -> None:
    try:
        value = parse_toml(f"value = {text}")["value"]
    except ValueError:
        value = text
    table, _, key = name.rpartition(".")
    if table == "phases":
        for phase in data.get("phases", []):
            phase[key] = value
            for replaced_key in {"iterations": ("epochs",), "epochs": ("iterations",)}.get(key, ()):
                phase.pop(replaced_key, None)
        return
    parent = data
    for part in table.split(".") if table else ():
        parent = parent.setdefault(part, {})
    parent[key] = value


def _build_plan(data: Mapping[str, Any]) -> TrainingPlan:
    settings = dict(data)
    phases = settings.pop("phases", [])
    settings["phases"] = tuple(_build_dataclass(TrainingPhase, phase, "phases") for phase in phases)
    for name, kind in (("losses", LossWeights), ("without_vgg", LossWeights), ("augment", AugmentSettings)):
        if name in settings:
            settings[name] = _build_dataclass(kind, settings[name], name)
    if isinstance(settings.get("validation"), list):
        settings["validation"] = tuple(str(name) for name in settings["validation"])
    missing = [name for name in ("network", "arch", "losses") if name not in settings]
    if missing:
        raise InputError(f"{', '.join(missing)} is missing")
    return _build_dataclass(TrainingPlan, settings, "")


def _build_dataclass(kind: type[T], settings: Mapping[str, Any], table: str) -> T:
    known_fields = {known_field.name: known_field for known_field in fields(kind)}  # type: ignore[arg-type]
    for name, value in settings.items():
        setting = f"{table}.{name}" if table else name
        if name not in known_fields:
            raise InputError(f"{setting} is not known; there are {', '.join(known_fields)}")
        default = known_fields[name].default
        if isinstance(default, bool) != isinstance(value, bool) and isinstance(default, (bool, int, float, str)):
            raise InputError(f"{setting} = {value!r} has the wrong type")
        if isinstance(default, (int, float)) and name != "validation" and not isinstance(value, (int, float)):
            raise InputError(f"{setting} = {value!r} is not a number")
    missing = [
        name
        for name, known_field in known_fields.items()
        if name not in settings and known_field.default is known_field.default_factory
    ]
    if missing:
        raise InputError(f"{table or 'the plan'}: {', '.join(missing)} is missing")
    return kind(**settings)


def _to_plain_data(value: Any) -> Any:
    if isinstance(value, (LossWeights, AugmentSettings, TrainingPhase)):
        return {item.name: _to_plain_data(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple):
        return [_to_plain_data(item) for item in value]
    return dict(value) if isinstance(value, Mapping) else value


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name} = {value!r} is not known; there are {', '.join(choices)}")


def _check_range(name: str, value: float, lowest: float, highest: float) -> None:
    if not isinstance(value, (int, float)) or not lowest <= value <= highest:
        raise InputError(f"{name} = {value} is out of range; it goes from {lowest:g} to {highest:g}")
