"""Kinds of trouble and their exit codes, which other programs read."""

from __future__ import annotations

import pytest

from fsgan_core.contract import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("InputError", 2),
        ("ParameterError", 2),
        ("ShotError", 2),
        ("FrameRangeError", 2),
        ("PlateError", 2),
        ("ColourError", 2),
        ("TrackError", 2),
        ("NoFaceError", 2),
        ("EngineError", 2),
        ("SigningError", 2),
        ("MachineError", 3),
        ("OutputError", 3),
        ("FramesFailedError", 1),
        ("ProtocolError", 2),
        ("WorkerError", 3),
        ("SessionRefusedError", 3),
        ("InternalError", 4),
        ("FsganError", 4),
        ("CancelledError", 130),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code
    assert issubclass(getattr(errors, name), errors.FsganError)


def test_every_error_is_in_the_tree_that_is_drawn() -> None:
    drawn = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert name in drawn


def test_failed_frames_are_listed() -> None:
    error = errors.FramesFailedError([(7, "truncated"), (9, "no red")])
    assert error.failures == ((7, "truncated"), (9, "no red"))
    assert "frame 7: truncated" in str(error) and "frame 9: no red" in str(error)
