"""The kinds of numeric knobs, and the table from a script's type number to the kind."""

# Nuke's classes narrow what their bases take; so do these.
# mypy: disable-error-code="override"

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.host import tcl, textknobs
from tests.host.api import current_host, offered
from tests.host.knobs import Array_Knob, Component, Knob


@offered()
class Double_Knob(Array_Knob):
    _code = 7


@offered()
class Int_Knob(Array_Knob):
    _code = 3

    def _out(self, number: float) -> Any:
        return int(number)

    def value(self) -> int:
        return int(self._number(0, self._frame()))

    def setValue(self, val: Any) -> bool:
        if isinstance(val, float) and val != int(val):
            raise TypeError(f"knob {self._name} takes whole numbers, not {val}")
        return self._assign(val, -1, self._frame())


@offered()
class Boolean_Knob(Array_Knob):
    _code = 6
    _starts_line = False

    def _component_text(self, component: Component) -> str:
        if component.curve is None and component.expression is None:
            return "true" if component.value else "false"
        return super()._component_text(component)

    def _parse_number(self, text: str) -> float | None:
        known = {"true": 1.0, "false": 0.0, "on": 1.0, "off": 0.0, "yes": 1.0, "no": 0.0}
        return known[text.lower()] if text.lower() in known else super()._parse_number(text)

    def _out(self, number: float) -> Any:
        return bool(number)

    def value(self) -> bool:
        return bool(self._number(0, self._frame()))

    def getValue(self, index: int = -1, view: str | None = None) -> float:
        return float(self.value())

    def setValue(self, b: Any) -> bool:
        if not isinstance(b, (bool, int, float)):
            raise TypeError(f"knob {self._name} takes True or False, not {b!r}")
        return self._assign(float(bool(b)), -1, self._frame())


@offered()
class Disable_Knob(Boolean_Knob):
    _code = 80

    def value(self) -> bool:
        return bool(self._number(0, self._frame()))

    def setValue(self, b: Any) -> bool:
        return self._assign(float(bool(b)), -1, self._frame())


@offered()
class Unsigned_Knob(Array_Knob):
    _code = 9

    def value(self) -> int:
        return int(self._number(0, self._frame()))

    def setValue(self, val: Any) -> bool:
        if isinstance(val, bool) or not isinstance(val, int) or val < 0:
            raise TypeError(f"knob {self._name} takes a whole number from 0 on, not {val!r}")
        return self._assign(val, -1, self._frame())


@offered()
class ColorChip_Knob(Unsigned_Knob):
    """0xRRGGBBAA."""

    _code = 40

    def _component_text(self, component: Component) -> str:
        if component.curve is None and component.expression is None and component.value:
            return f"0x{int(component.value):08x}"
        return super()._component_text(component)


@offered()
class Enumeration_Knob(Unsigned_Knob):
    """One of several words. An item "word<tab>shown<tab><tab>other,names" has the value "word"."""

    _code = 4

    def __init__(self, name: str, label: str | None = None, values: Sequence[str] = ()) -> None:
        super().__init__(name, label)
        if isinstance(values, str) or not all(isinstance(value, str) for value in values):
            raise TypeError(f"the items of {name} are a list of texts")
        self._items = list(values)

    def _words(self) -> list[str]:
        return [item.split("\t")[0] for item in self._items]

    def _place(self, text: str) -> int:
        """Of an item, by its word or another name it goes by; -1 where there is none."""
        for place, item in enumerate(self._items):
            fields = item.split("\t")
            if text == fields[0] or (len(fields) > 3 and text in fields[3].split(",")):
                return place
        return -1

    def _component_text(self, component: Component) -> str:
        if component.curve is None and component.expression is None and self._items:
            return self._words()[min(int(component.value), len(self._items) - 1)]
        return super()._component_text(component)

    def _text(self) -> str:
        return self._component_text(self._components[0])

    def _written(self) -> str:
        text = self._text()
        return "{" + text + "}" if text.startswith("{") else tcl.quote(text)

    def _set_text(self, text: str) -> None:
        words = self._words()
        if self._place(text) >= 0:
            self._components[0] = Component(float(self._place(text)))
        elif text.lstrip("-").isdigit() and int(text) < len(words):
            self._components[0] = Component(float(text))
        elif text.startswith("{"):
            self._components[0] = self._parse_component(tcl.split(text)[0])
        else:
            raise tcl.TclError(f"knob {self._name}: {text!r} is none of {', '.join(map(repr, words))}")

    def value(self) -> str:
        words = self._words()
        place = int(self._number(0, self._frame()))
        return words[place] if 0 <= place < len(words) else ""

    def getValue(self, index: int = -1, view: str | None = None) -> float:
        return float(int(self._number(0, self._frame())))

    def setValue(self, val: Any) -> bool:
        if isinstance(val, str):
            if self._place(val) < 0:
                raise TypeError(f"knob {self._name} has no item {val!r}; it has {', '.join(self._words())}")
            val = self._place(val)
        if not isinstance(val, (int, float)) or not 0 <= int(val) < max(len(self._items), 1):
            raise TypeError(f"knob {self._name} has {len(self._items)} items; {val!r} is none")
        return self._assign(int(val), -1, self._frame())

    def values(self) -> list[str]:
        return list(self._items)

    def setValues(self, items: Sequence[str]) -> None:
        if isinstance(items, str) or not all(isinstance(item, str) for item in items):
            raise TypeError(f"the items of {self._name} are a list of texts")
        old = self.value()
        self._items = list(items)
        self._components[0] = Component(float(self._words().index(old)) if old in self._words() else 0.0)

    def numValues(self) -> int:
        return len(self._items)

    def enumName(self, n: int) -> str:
        return self._words()[n]


@offered()
class Pulldown_Knob(Enumeration_Knob):
    _code = 35

    def value(self, *args: Any) -> str:
        return Enumeration_Knob.value(self)


@offered()
class CascadingEnumeration_Knob(Enumeration_Knob):
    _code = 68


@offered()
class Radio_Knob(Enumeration_Knob):
    _code = 83


@offered()
class EditableEnumeration_Knob(Enumeration_Knob):
    _code = 85


@offered()
class OneView_Knob(Enumeration_Knob):
    _code = 44


@offered()
class XY_Knob(Array_Knob):
    _code, _size = 12, 2

    def value(self, n: int = -1, oc: Any = None) -> Any:
        return self._get(n, self._frame())

    def x(self, oc: Any = None) -> float:
        return self._number(0, self._frame())

    def y(self, oc: Any = None) -> float:
        return self._number(1, self._frame())


@offered()
class XYZ_Knob(Array_Knob):
    _code, _size = 13, 3

    def value(self, n: int = -1, oc: Any = None) -> Any:
        return self._get(n, self._frame())


@offered()
class WH_Knob(Array_Knob):
    _code, _size, _collapses = 14, 2, True

    def x(self) -> float:
        return self._number(0, self._frame())

    def y(self) -> float:
        return self._number(1, self._frame())


@offered()
class Scale_Knob(Array_Knob):
    _code, _size, _collapses = 42, 2, True


@offered()
class UV_Knob(Array_Knob):
    _code, _size = 30, 2


@offered()
class BBox_Knob(Array_Knob):
    """x, y, r, t: lower left and upper right corner, y up."""

    _code, _size = 15, 4

    def value(self, n: int = -1) -> Any:
        return self._get(n, self._frame())

    def x(self) -> float:
        return self._number(0, self._frame())

    def y(self) -> float:
        return self._number(1, self._frame())

    def r(self) -> float:
        return self._number(2, self._frame())

    def t(self) -> float:
        return self._number(3, self._frame())

    def setX(self, value: float) -> None:
        self._assign(value, 0, self._frame())

    def setY(self, value: float) -> None:
        self._assign(value, 1, self._frame())

    def setR(self, value: float) -> None:
        self._assign(value, 2, self._frame())

    def setT(self, value: float) -> None:
        self._assign(value, 3, self._frame())


@offered()
class Color_Knob(Array_Knob):
    _code, _size, _collapses = 18, 3, True


@offered()
class AColor_Knob(Color_Knob):
    _code, _size = 19, 4


@offered()
class Eyedropper_Knob(AColor_Knob):
    _code = 36


@offered()
class Range_Knob(Array_Knob):
    _code, _size = 37, 2


@offered()
class IArray_Knob(Array_Knob):
    _code = 9


@offered()
class Format_Knob(Knob):
    _code = 17

    def __init__(self, name: str, label: str | None = None) -> None:
        super().__init__(name, label)
        self._format_text = ""

    def _text(self) -> str:
        return self._format_text

    def _set_text(self, text: str) -> None:
        """A name, or `width height x y r t aspect name`; "0" and "" mean the project's."""
        self._format_text = "" if text == "0" else text

    def value(self) -> Any:
        return current_host().format(self._format_text, self._node)

    def actualValue(self) -> Any:
        return self.value()

    def name(self) -> str:
        return self._name

    def setValue(self, value: Any) -> bool:
        self._set_text(value if isinstance(value, str) else value._spec())
        current_host().format(self._format_text, self._node)  # raises where there is no such format
        self._changed()
        return True

    def fromScript(self, script: str) -> None:
        words = tcl.split(script)
        self._set_text(words[0] if len(words) == 1 else script)

    def toScript(self, quote: bool = True, context: Any = None) -> str:
        return self._written() if quote else self._text()

    def notDefault(self) -> bool:
        return self._text() != self._default_text


# The class for every type number that a script may use (nuke.md 3.4); numbers without a class of their own hold text.
BY_CODE: dict[int, type[Knob]] = {
    cls._code: cls
    for cls in (
        textknobs.String_Knob,
        textknobs.File_Knob,
        Int_Knob,
        Enumeration_Knob,
        Boolean_Knob,
        Double_Knob,
        Array_Knob,
        textknobs.ChannelMask_Knob,
        textknobs.Channel_Knob,
        XY_Knob,
        XYZ_Knob,
        WH_Knob,
        BBox_Knob,
        Format_Knob,
        Color_Knob,
        AColor_Knob,
        textknobs.Tab_Knob,
        textknobs.PyScript_Knob,
        textknobs.Text_Knob,
        textknobs.Help_Knob,
        UV_Knob,
        textknobs.Script_Knob,
        Pulldown_Knob,
        Eyedropper_Knob,
        ColorChip_Knob,
        textknobs.Link_Knob,
        Scale_Knob,
        textknobs.Multiline_Eval_String_Knob,
        OneView_Knob,
        textknobs.MultiView_Knob,
        textknobs.PythonKnob,
        textknobs.Password_Knob,
        CascadingEnumeration_Knob,
        Disable_Knob,
        Radio_Knob,
        EditableEnumeration_Knob,
    )
}
BY_CODE[8] = Double_Knob
BY_CODE[16] = WH_Knob
BY_CODE[28] = textknobs.Multiline_Eval_String_Knob
# Documented, never seen in a genuine addUserKnob line.
_UNSEEN = {5, 10, 16, 17, 28, 35, 37, 42, 44, 45, 52, 61, 80, 85}
SEEN_CODES = frozenset(BY_CODE) - _UNSEEN | {20, 22, 26, 78}


def knob_class(code: int) -> type[Knob]:
    if code not in BY_CODE:
        raise tcl.TclError(f"addUserKnob {{{code} ...}}: the stand-in has no knob of that type number")
    return BY_CODE[code]
