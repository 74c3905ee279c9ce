"""Reads from a Nuke script's text what a farm needs: its FSGAN nodes, its Writes, and their frames.

A script is a Tcl program. It is split by Tcl's rules for words (braces, quotes, backslashes) and never run. A value
that holds a command, a variable or an expression (`[...]`, `$...`) is kept as text and is not evaluated here. Nuke
evaluates such values when the job runs, and says what the nodes must render (farm.py of the plugin).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fsgan_core.contract.errors import InputError

__all__ = ["NukeScript", "ScriptNode", "load_script", "parse_script", "split_commands", "split_list"]

FSGAN_PREFIX = "FSGAN_"
GROUP_CLASSES = ("Group", "LiveGroup", "Precomp")
MAX_SCRIPT_BYTES = 256 << 20  # bytes of a script
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class ScriptNode:
    """A node of a script.

    Attributes:
        node_class: Its class, such as "Read".
        name: Full name; inside a group, "Group1.Read1".
        knobs: Values as text, by the knob's name.
        inputs: Full names of the nodes above, without those inside a group.
    """

    node_class: str
    name: str
    knobs: Mapping[str, str]
    inputs: tuple[str, ...] = ()

    @property
    def is_fsgan(self) -> bool:
        """Whether this is an FSGAN node, as a gizmo or as a group."""
        return self.node_class.startswith(FSGAN_PREFIX) or self.knobs.get("fsgan_class", "").startswith(FSGAN_PREFIX)

    def is_on(self, knob: str) -> bool:
        """Whether a check box is on; one with an expression counts as off."""
        return self.knobs.get(knob, "").lower() in ("true", "1", "yes", "on")

    def get_integer(self, knob: str) -> int | None:
        """Returns a whole number; None if there is none, or only Nuke can evaluate it."""
        return int(self.knobs[knob]) if re.fullmatch(r"-?\d+", self.knobs.get(knob, "")) else None


@dataclass(frozen=True)
class NukeScript:
    """A parsed script: its settings (`root`), and its nodes by full name."""

    root: ScriptNode
    nodes: Mapping[str, ScriptNode] = field(default_factory=dict)

    def list_writes(self) -> list[ScriptNode]:
        """Lists the enabled Writes outside groups, in the order in which Nuke executes them."""
        writes = [
            node
            for node in self.nodes.values()
            if node.node_class == "Write"
            and "." not in node.name
            and not node.is_on("disable")
            and not node.is_on("reading")
        ]
        return sorted(writes, key=lambda node: node.get_integer("render_order") or 1)

    def list_upstream(self, name: str) -> list[ScriptNode]:
        """Lists a node and all nodes that its picture may depend on, with the contents of groups."""
        upstream: dict[str, ScriptNode] = {}
        stack = [name]
        while stack:
            node_name = stack.pop()
            if node_name in upstream or node_name not in self.nodes:
                continue
            upstream[node_name] = self.nodes[node_name]
            stack += self.nodes[node_name].inputs
            stack += [inner_name for inner_name in self.nodes if inner_name.startswith(node_name + ".")]
        return list(upstream.values())

    def find_write_range(self, write: ScriptNode) -> tuple[int, int]:
        """Finds the first and last frame that Nuke writes.

        Raises:
            InputError: Only Nuke can evaluate them.
        """
        node, knobs, defaults = (
            (write, ("first", "last"), (1, 1))
            if write.is_on("use_limit")
            else (self.root, ("first_frame", "last_frame"), (1, 100))
        )
        limits = []
        for knob, default in zip(knobs, defaults, strict=True):
            number = node.get_integer(knob) if knob in node.knobs else default
            if number is None:
                raise InputError(
                    f"{node.name or 'the script'}: {knob} is {node.knobs[knob]}, which only Nuke can say; give --frames"
                )
            limits.append(number)
        return limits[0], limits[1]


def load_script(path: Path) -> NukeScript:
    """Reads a script file.

    Raises:
        InputError: The file cannot be read, or is not a Nuke script.
    """
    try:
        if path.stat().st_size > MAX_SCRIPT_BYTES:
            raise InputError(f"{path} is too large for a script")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"the script {path} cannot be read: {error.strerror or error}") from error
    try:
        return parse_script(text)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def parse_script(text: str) -> NukeScript:
    """Parses the text of a script.

    Raises:
        InputError: The text is not a Nuke script.
    """
    root = ScriptNode("Root", "", {})
    nodes: dict[str, ScriptNode] = {}
    stacks: list[list[str]] = [[]]  # node names, the newest last; one stack per open group
    groups: list[str] = []  # full names of the open groups
    variables: dict[str, str] = {}
    for words in split_commands(text):
        kind, body = words[0], words[1:]
        stack = stacks[-1]
        if kind == "set" and len(body) == 2:
            variables[body[0]] = _resolve_stack(stack, body[1])
        elif kind == "push" and len(body) == 1:
            stack.append(variables.get(body[0][1:], "") if body[0].startswith("$") else _resolve_stack(stack, body[0]))
        elif kind == "end_group" and groups:
            stacks.pop()
            stacks[-1].append(groups.pop())
        elif kind in ("version", "add_layer", "define_window_layout_xml") or not body:
            continue
        elif kind == "Root":
            root = ScriptNode("Root", "", _parse_knobs(body[-1]))
        elif re.fullmatch(r"[A-Za-z_][\w.]*", kind) and (kind != "clone" or len(body) == 2):
            knobs, original = _parse_knobs(body[-1]), None
            if kind == "clone":
                original = nodes.get(variables.get(body[0].lstrip("$"), ""))
                kind, knobs = (
                    (original.node_class, {**original.knobs, **knobs}) if original is not None else ("clone", knobs)
                )
            name = ".".join([*groups[-1:], knobs.get("name", kind)])[-1024:]
            name = name if name not in nodes else f"{name}#{len(nodes)}"
            count = _count_inputs(knobs.get("inputs", "1"))
            inputs = [stack.pop() if stack else "" for _ in range(count)]
            nodes[name] = ScriptNode(kind, name, knobs, tuple(input_name for input_name in inputs if input_name))
            if kind in GROUP_CLASSES:
                groups.append(name)
                stacks.append([])
            elif kind not in ("Viewer", "BackdropNode", "StickyNote"):
                stack.append(name)
    if not nodes:
        raise InputError("there are no nodes in it; is it a Nuke script (.nk)?")
    return NukeScript(root, nodes)


def _resolve_stack(stack: list[str], text: str) -> str:
    """Finds the node that `[stack N]` means; "" for anything else, such as `0`."""
    match = re.fullmatch(r"\[stack (\d+)\]", text)
    depth = int(match[1]) if match else len(stack)
    return stack[-1 - depth] if depth < len(stack) else ""


def _count_inputs(text: str) -> int:
    """Reads "2+1": two inputs and a mask."""
    return sum(int(part) for part in text.split("+")) if re.fullmatch(r"\d{1,4}(\+\d{1,4})*", text) else 1


def _parse_knobs(body: str) -> dict[str, str]:
    """Parses a list of pairs to knob -> value as text; of a repeated knob (addUserKnob), the last value counts."""
    words = split_list(body)
    return dict(zip(words[::2], words[1::2], strict=False))


def split_list(text: str) -> list[str]:
    """Splits a Tcl list into words.

    >>> split_list("name {Blur 1} size 3")
    ['name', 'Blur 1', 'size', '3']

    Raises:
        InputError: Braces, quotes or brackets are never closed.
    """
    words: list[str] = []
    position = 0
    while (match := _BLANK_PATTERN.match(text, position)) and match.end() < len(text):
        word, position = _read_word(text, match.end(), listed=True)
        words.append(word)
    return words


def split_commands(text: str) -> Iterator[list[str]]:
    """Splits a Tcl script into commands, each a list of words. Nothing is run; only backslashes are substituted.

    Raises:
        InputError: Braces, quotes or brackets are never closed.
    """
    words: list[str] = []
    position, length = 0, len(text)
    while position < length:
        letter = text[position]
        if letter in "\n;":
            if words:
                yield words
            words = []
            position += 1
        elif letter.isspace():
            position += 1
        elif text.startswith("\\\n", position):
            position += 2
        elif letter == "#" and not words:
            end = text.find("\n", position)
            while end > 0 and text[end - 1] == "\\":
                end = text.find("\n", end + 1)
            position = length if end < 0 else end
        else:
            word, position = _read_word(text, position)
            words.append(word)
    if words:
        yield words


_BLANK_PATTERN = re.compile(r"\s*")
_PLAIN_PATTERNS = {
    (False, False): re.compile(r"[^\\\[\s;]+"),
    (True, False): re.compile(r'[^\\\["]+'),
    (False, True): re.compile(r"[^\\\s]+"),
    (True, True): re.compile(r'[^\\"]+'),
}  # by (quoted, listed)


def _read_word(text: str, position: int, listed: bool = False) -> tuple[str, int]:
    """Reads the word at `position`; returns it and the position after it. listed: whether only blanks end a word."""
    if text[position] == "{":
        end = _find_closing(text, position, "{", "}")
        return re.sub(r"\\\n[ \t]*", " ", text[position + 1 : end]), end + 1
    quoted = text[position] == '"'
    start, position = position, position + quoted
    plain = _PLAIN_PATTERNS[quoted, listed]
    parts: list[str] = []
    while position < len(text):
        letter = text[position]
        if match := plain.match(text, position):
            part, position = match[0], match.end()
        elif letter == "\\":
            part, position = _read_escape(text, position)
        elif letter == "[":
            end = _find_closing(text, position, "[", "]")
            part, position = text[position : end + 1], end + 1
        else:
            return "".join(parts), position + quoted
        parts.append(part)
    if quoted:
        raise InputError(f"a quote in line {text.count(chr(10), 0, start) + 1} is never closed")
    return "".join(parts), position


def _find_closing(text: str, position: int, opens: str, closes: str) -> int:
    """Finds where the brace or bracket at `position` is closed. Raises InputError."""
    depth = 0
    for match in re.compile(rf"\\.|[{re.escape(opens + closes)}]", re.DOTALL).finditer(text, position):
        depth += (match[0] == opens) - (match[0] == closes)
        if depth == 0:
            return match.start()
    raise InputError(f"'{opens}' in line {text.count(chr(10), 0, position) + 1} is never closed")


def _read_escape(text: str, position: int) -> tuple[str, int]:
    """Reads a backslash sequence; returns its meaning and the position after it."""
    match = re.compile(
        r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|([0-7]{1,3})|\n[ \t]*|(.)|$)", re.DOTALL
    ).match(text, position)
    assert match is not None
    code = next(
        (int(digits, base) for digits, base in zip(match.groups()[:4], (16, 16, 16, 8), strict=True) if digits), None
    )
    if code is not None:
        return chr(code) if code < 0x110000 else "\ufffd", match.end()
    letter = match[5]
    return (ESCAPES.get(letter, letter) if letter else " ") if match[0] != "\\" else "\\", match.end()
