"""Every error that is shown to a person, with the exit code that it means.

    FsganError                     exit code
    |- InputError                  2   the request is wrong: do not retry
    |  |- ParameterError               a stage parameter: unknown, wrong type, out of range
    |  |- ShotError                    a shot file: missing, broken, contradictory
    |  |- FrameRangeError              a frame range: malformed or empty
    |  |- PlateError                   pixels on disk: missing, unreadable, wrong channels
    |  |- ColourError                  a colour space or an OCIO config
    |  |- TrackError                   a track file: broken, other version, other clip
    |  |- NoFaceError                  a source without a usable face
    |  |- EngineError                  an engine that is not installed or has no weights
    |  |- WeightsError                 a weights file: missing, broken, unknown, or its licence is not allowed
    |  |- ConsentError                 no release of the performer, or an expired one, where the studio requires one
    |  |- SigningError                 certificate or key for signed manifests: missing, broken, expired, not a pair
    |  `- ProtocolError                a message between worker and client: malformed, or of another version
    |- MachineError                3   this machine failed: retry elsewhere
    |  |- OutputError                  a file could not be written (full, read-only, gone)
    |  |- WorkerError                  a worker that does not start, does not answer, or died
    |  `- SessionRefusedError          the process of a farm's session refuses a task
    |- FramesFailedError           1   some frames failed, the others are rendered; the failed ones are listed
    |- InternalError               4   a fault of this program, not of the request and not of this machine
    `- CancelledError            130   somebody cancelled the work

The message of each says what is wrong, where, and what to do; it is shown without changes.
"""

from __future__ import annotations

from typing import Sequence


class FsganError(Exception):
    """Base of every error that is shown to a person.

    Attributes:
        exit_code: Exit code of a command that ends with this error.
    """

    exit_code = 4


class InputError(FsganError):
    """The request is wrong; another try gives the same error."""

    exit_code = 2


class ParameterError(InputError):
    """A stage parameter is unknown, of the wrong type or out of range."""


class ShotError(InputError):
    """A shot file is missing, broken or contradictory."""


class FrameRangeError(InputError):
    """A frame range is malformed or empty."""


class PlateError(InputError):
    """An image or movie is missing, unreadable, or lacks a channel."""


class ColourError(InputError):
    """A colour space or OCIO config is unknown or cannot be used."""


class TrackError(InputError):
    """A track file is broken, of another version, or belongs to another clip."""


class NoFaceError(InputError):
    """A source has no usable face."""


class EngineError(InputError):
    """An engine or device is not installed, or has no weights."""


class WeightsError(InputError):
    """A weights file is missing, broken or unknown, or its licence is not allowed."""


class ConsentError(InputError):
    """The studio requires a release of the performer, and there is none, or it has expired."""


class SigningError(InputError):
    """The certificate or the key for signed manifests is missing, broken or expired, or they are not a pair."""


class ProtocolError(InputError):
    """A message between worker and client is malformed or of another version.

    Attributes:
        request_id: Number of the request; 0 if unknown.
    """

    request_id = 0


class MachineError(FsganError):
    """This machine failed; the same request may succeed on another one."""

    exit_code = 3


class OutputError(MachineError):
    """A file cannot be written: full disk, no permission, lost connection."""


class WorkerError(MachineError):
    """The worker process does not start, does not answer, or died."""


class SessionRefusedError(MachineError):
    """The process of a farm's session has another version or environment than the task."""


class InternalError(FsganError):
    """This program has a fault; the message names the log file with the details."""


class CancelledError(FsganError):
    """Somebody cancelled the work."""

    exit_code = 130


class FramesFailedError(FsganError):
    """Some frames failed; the others are rendered.

    Args:
        failures: Frame number and message of each failed frame.
    """

    exit_code = 1

    def __init__(self, failures: Sequence[tuple[int, str]]) -> None:
        self.failures = tuple(failures)
        lines = "\n".join(f"  frame {frame}: {message}" for frame, message in self.failures)
        super().__init__(f"{len(self.failures)} frame(s) failed:\n{lines}")
