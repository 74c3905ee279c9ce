"""Reads from a Nuke script's text what a farm needs: its FSGAN nodes, its Writes, and their frames.

A script is a Tcl program. It is split by Tcl's rules for words (braces, quotes, backslashes) and never run. A value
that holds a command, a variable or an expression (`[...]`, `$...`) is kept as text and is not evaluated here. Nuke
evaluates such values when the job runs, and says what the nodes must render (farm.py of the plugin).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fsgan_core.contract.errors import InputError
from fsgan_core.runtime.text_files import read_text_file

__all__ = [
    "NukeScript",
    "ScriptNode",
    "is_node_name",
    "load_script",
    "parse_script",
    "split_commands",
    "split_list",
]

FSGAN_PREFIX = "FSGAN_"
GROUP_CLASSES = ("Group", "LiveGroup", "VariableGroup")  # always closed by `end_group`
# Classes and forms that are closed by `end_group` in the files of some versions of Nuke only.
OPTIONAL_GROUP_CLASSES = ("Precomp",)
WRITE_CLASS = "Write"
MAX_NUMBER_DIGITS = 9  # of a frame or a place in the stack; longer numbers are faults
# What Nuke allows as a node's name. It becomes part of a job template, where other letters have a meaning.
_NODE_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
MAX_SCRIPT_BYTES = 256 << 20  # bytes of a script
MAX_NAME_LENGTH = 1024  # characters of a full name
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@dataclass(frozen=True)
class ScriptNode:
    """A node of a script.

    Attributes:
        node_class: Its class, such as "Read".
        name: Full name; inside a group, "Group1.Read1".
        knobs: Values as text, by the knob's name.
        inputs: Full names of the nodes above, without those inside a group; "" for an input without a node.
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
        text = self.knobs.get(knob, "")
        return int(text) if re.fullmatch(rf"-?\d{{1,{MAX_NUMBER_DIGITS}}}", text, re.ASCII) else None

    @property
    def is_disabled(self) -> bool:
        """Whether the node is switched off, so that Nuke passes its first input through."""
        return self.is_on("disable")


@dataclass(frozen=True)
class NukeScript:
    """A parsed script: its settings (`root`), and its nodes by full name."""

    root: ScriptNode
    nodes: Mapping[str, ScriptNode] = field(default_factory=dict)

    def list_writes(self) -> list[ScriptNode]:
        """Lists the enabled Writes outside groups, in the order in which Nuke executes them."""
        writes = [node for node in self._list_active_writes() if "." not in node.name]
        return sorted(writes, key=lambda node: node.get_integer("render_order") or 1)

    def list_grouped_writes(self) -> list[ScriptNode]:
        """Lists the enabled Writes inside groups that are switched on, such as a pipeline's own Write nodes."""
        return [
            node
            for node in self._list_active_writes()
            if "." in node.name and not any(group.is_disabled for group in self._list_owners(node))
        ]

    def _list_active_writes(self) -> list[ScriptNode]:
        return [
            node
            for node in self.nodes.values()
            if node.node_class == WRITE_CLASS and not node.is_disabled and not node.is_on("reading")
        ]

    def _list_owners(self, node: ScriptNode) -> list[ScriptNode]:
        """Lists the groups that hold a node."""
        parts = node.name.split(".")
        names = [".".join(parts[:count]) for count in range(1, len(parts))]
        return [self.nodes[name] for name in names if name in self.nodes]

    def list_upstream(self, name: str) -> list[ScriptNode]:
        """Lists a node and all nodes that its picture may depend on, with the contents of groups.

        Of a node that is switched off, only the first input counts, and the node itself is left out.
        """
        members: dict[str, list[str]] = {}  # names of the nodes directly inside each group
        for node_name in self.nodes:
            group, dot, _ = node_name.rpartition(".")
            if dot:
                members.setdefault(group, []).append(node_name)
        upstream: dict[str, ScriptNode] = {}
        visited: set[str] = set()
        stack = [name]
        while stack:
            node_name = stack.pop()
            if node_name in visited or node_name not in self.nodes:
                continue
            visited.add(node_name)
            node = self.nodes[node_name]
            if node.is_disabled and node_name != name:
                stack += node.inputs[:1]
                continue
            upstream[node_name] = node
            stack += node.inputs
            stack += members.get(node_name, ())
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
                    f"{node.name or 'the script'}: {knob} is {node.knobs[knob][:80]}, which only Nuke can say; "
                    "give --frames"
                )
            limits.append(number)
        return limits[0], limits[1]


def load_script(path: Path) -> NukeScript:
    """Reads a script file.

    Raises:
        InputError: The file cannot be read, or is not a Nuke script.
    """
    try:
        text = read_text_file(path, MAX_SCRIPT_BYTES, errors="replace")
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
    masters: dict[str, str] = {}  # identifier of a cloned node -> name of its first clone
    commands = list(split_commands(text))
    has_optional_groups = _count_group_ends(commands) > sum(
        _find_node_class(words) in GROUP_CLASSES for words in commands
    )
    for words in commands:
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
        elif re.fullmatch(r"[A-Za-z_][\w.]*", kind) and (kind != "clone" or len(body) in (2, 3)):
            knobs, master = _parse_knobs(body[-1]), ""
            if kind == "clone" and len(body) == 3:
                kind, master = body[1], body[0]
            elif kind == "clone":
                original = nodes.get(variables.get(body[0].lstrip("$"), "") or masters.get(body[0], ""))
                if original is not None:
                    kind, knobs = original.node_class, {**original.knobs, **knobs}
            name = ".".join([*groups[-1:], knobs.get("name", kind)])[-MAX_NAME_LENGTH:]
            name = name if name not in nodes else f"{name}#{len(nodes)}"
            masters.setdefault(master, name)
            count = min(_count_inputs(knobs.get("inputs", "1")), len(stack))
            nodes[name] = ScriptNode(kind, name, knobs, _pop_inputs(stack, count))
            opens_group = _find_node_class(words)
            if opens_group in GROUP_CLASSES or (opens_group in OPTIONAL_GROUP_CLASSES and has_optional_groups):
                groups.append(name)
                stacks.append([])
            elif kind not in ("Viewer", "BackdropNode", "StickyNote"):
                stack.append(name)
    if not nodes:
        raise InputError("there are no nodes in it; is it a Nuke script (.nk)?")
    return NukeScript(root, nodes)


def _find_node_class(words: Sequence[str]) -> str:
    """Finds the class of the node that a command makes; "" for a clone of an earlier node, which brings no contents."""
    if words[0] != "clone":
        return words[0]
    return words[2] if len(words) == 4 else ""


def _pop_inputs(stack: list[str], count: int) -> tuple[str, ...]:
    names = [stack.pop() for _ in range(count)]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _count_group_ends(commands: Sequence[Sequence[str]]) -> int:
    return sum(words[0] == "end_group" for words in commands)


def is_node_name(name: str) -> bool:
    """Whether Nuke allows a text as a node's full name."""
    return bool(_NODE_NAME.fullmatch(name))


def _resolve_stack(stack: list[str], text: str) -> str:
    """Finds the node that `[stack N]` means; "" for anything else, such as `0`."""
    match = re.fullmatch(rf"\[stack (\d{{1,{MAX_NUMBER_DIGITS}}})\]", text, re.ASCII)
    depth = int(match[1]) if match else len(stack)
    return stack[-1 - depth] if depth < len(stack) else ""


def _count_inputs(text: str) -> int:
    """Reads "2+1": two inputs and a mask."""
    return sum(int(part) for part in text.split("+")) if re.fullmatch(r"\d{1,4}(\+\d{1,4}){0,9}", text, re.ASCII) else 1


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
        elif match := _SPACE_PATTERN.match(text, position):
            position = match.end()
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


_SPACE_PATTERN = re.compile(r"[^\S\n]+")
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
