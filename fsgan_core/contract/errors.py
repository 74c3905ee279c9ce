"""The kinds of trouble, and the exit code that each one means.

    FsganError                     exit code
    |- InputError                  2   what was asked for is wrong: do not retry
    |  |- ParameterError               a stage parameter: unknown, wrong type, out of range
    |  |- ShotError                    a shot file: missing, broken, contradictory
    |  |- FrameRangeError              a frame range: malformed or empty
    |  |- PlateError                   pixels on disk: missing, unreadable, wrong channels
    |  |- ColourError                  a colour space or an OCIO config
    |  |- TrackError                   a track file: broken, other version, other clip
    |  |- NoFaceError                  a source without a usable face
    |  |- EngineError                  an engine that is not installed or has no weights
    |  |- WeightsError                 a weights file: missing, broken, foreign, or its licence is not allowed
    |  `- ProtocolError                what a worker or its client was told is no message, or of another version
    |- MachineError                3   this machine failed: retry elsewhere
    |  |- OutputError                  a file could not be written (full, read-only, gone)
    |  `- WorkerError                  a worker that does not start, does not answer, or died
    |- FramesFailedError           1   the rest was rendered; the failed frames are listed
    `- CancelledError            130   somebody asked for it to stop

The message of each says what, where and what to do; presenters print it as it is.
"""

from __future__ import annotations

from typing import Sequence


class FsganError(Exception):
    """Base of every error that is told to a person. `exit_code` is the process's."""

    exit_code = 1


class InputError(FsganError):
    exit_code = 2


class ParameterError(InputError):
    pass


class ShotError(InputError):
    pass


class FrameRangeError(InputError):
    pass


class PlateError(InputError):
    pass


class ColourError(InputError):
    pass


class TrackError(InputError):
    pass


class NoFaceError(InputError):
    pass


class EngineError(InputError):
    pass


class WeightsError(InputError):
    pass


class ProtocolError(InputError):
    """`request`: number of the request that it concerns, 0 where that is not known."""

    request_id = 0


class MachineError(FsganError):
    exit_code = 3


class OutputError(MachineError):
    pass


class WorkerError(MachineError):
    pass


class CancelledError(FsganError):
    exit_code = 130


class FramesFailedError(FsganError):
    """Some frames failed; `failures` holds (frame, message) pairs."""

    exit_code = 1

    def __init__(self, failures: Sequence[tuple[int, str]]) -> None:
        self.failures = tuple(failures)
        lines = "\n".join(f"  frame {frame}: {message}" for frame, message in self.failures)
        super().__init__(f"{len(self.failures)} frame(s) failed:\n{lines}")
