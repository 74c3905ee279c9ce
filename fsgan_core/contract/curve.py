"""A number that changes over time: its values at some frames."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Mapping, Union

_FRAME_NUMBER = re.compile(r"-?[0-9]{1,9}")


@dataclass(frozen=True)
class Curve:
    """A parameter's value over time. Linear between two samples; constant before the first and after the last.

    In a shot file it is a table: `feather = { 1001 = 0.05, 1010 = 0.1 }`; on the command line
    `mask.feather=1001:0.05,1010:0.1`.

    Attributes:
        samples: Pairs of frame and value, by ascending frame; at least one.
    """

    samples: tuple[tuple[int, float], ...]

    @classmethod
    def from_dict(cls, table: Mapping[Any, Any]) -> Curve:
        """Makes a curve from frame -> value; frames may be texts, as JSON and TOML have them.

        Raises:
            ValueError: The table is empty, or a key is not the number of a frame.

        >>> Curve.from_dict({"1010": 0.1, "1001": 0.05}).samples
        ((1001, 0.05), (1010, 0.1))
        """
        samples: dict[int, Any] = {}
        for key, value in table.items():
            text = str(key).strip()
            if isinstance(key, bool) or not _FRAME_NUMBER.fullmatch(text):
                raise ValueError(f"{text[:40]!r} is not the number of a frame")
            if int(text) in samples:
                raise ValueError(f"frame {int(text)} has two values")
            samples[int(text)] = value
        if not samples:
            raise ValueError("it has no frames")
        return cls(tuple(sorted(samples.items())))

    @classmethod
    def from_text(cls, text: str) -> Curve:
        """Makes a curve from what a person typed.

        Raises:
            ValueError: The text has another form.

        >>> Curve.from_text("1001:0.05, 1010:0.1").get_value(1010)
        0.1
        """
        samples: dict[str, float] = {}
        for part in text.split(","):
            frame, _, value = part.partition(":")
            if frame.strip() in samples:
                raise ValueError(f"frame {frame.strip()} has two values")
            samples[frame.strip()] = float(value)
        return cls.from_dict(samples)

    def to_dict(self) -> dict[str, float]:
        """Converts to frame -> value."""
        return {str(frame): value for frame, value in self.samples}

    def get_value(self, frame: int) -> float:
        """Gives the value at a frame.

        >>> Curve(((1, 0.0), (3, 1.0))).get_value(2)
        0.5
        """
        after = bisect_right([start for start, _ in self.samples], frame)
        if after == 0:
            return self.samples[0][1]
        start, value = self.samples[after - 1]
        if after == len(self.samples) or start == frame:
            return value
        end, next_value = self.samples[after]
        return value + (next_value - value) * (frame - start) / (end - start)


def get_largest_value(value: Union[float, Curve]) -> float:
    """Gives a number as it is, and the largest value of a curve.

    >>> get_largest_value(0.5), get_largest_value(Curve(((1, 0.0), (3, 1.0))))
    (0.5, 1.0)
    """
    return max(number for _, number in value.samples) if isinstance(value, Curve) else value
