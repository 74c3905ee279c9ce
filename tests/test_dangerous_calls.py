"""No code of ours calls what turns a stranger's bytes into code, or a text into a command line."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("fsgan_core", "nuke_plugin", "install_steps", "gizmos", "examples", "benchmarks")
NEVER = {
    *("eval", "exec", "compile", "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "pty.spawn"),
    *("subprocess.getoutput", "subprocess.getstatusoutput", "pickle.load", "pickle.loads", "pickle.Unpickler"),
    *("marshal.load", "marshal.loads", "shelve.open", "joblib.load", "yaml.load", "yaml.unsafe_load"),
    *("yaml.full_load", "tempfile.mktemp", "shutil.unpack_archive"),
}
NEVER_METHODS = ("extractall",)
RUN = ("subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call", "subprocess.check_output")
XML_PARSERS = ("xml.etree", "xml.dom", "xml.sax.expatreader", "lxml", "xmlrpc")


def list_sources() -> list[Path]:
    files = [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    return sorted([*files, ROOT / "install.py"])


def find_faults(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            yield from (f"imports {name}" for name in names if name.startswith(XML_PARSERS))
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        given = {word.arg: word.value for word in node.keywords}
        if name in NEVER or name.rpartition(".")[2] in NEVER_METHODS:
            yield f"line {node.lineno}: {name}"
        if name in RUN:
            if "shell" in given:
                yield f"line {node.lineno}: {name} with a shell"
            if node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr | ast.BinOp):
                yield f"line {node.lineno}: {name} with a command line as text"
        if name == "torch.load" and ast.unparse(given.get("weights_only", ast.Constant(None))) != "True":
            yield f"line {node.lineno}: {name} without weights_only=True"
        if name in ("np.load", "numpy.load") and ast.unparse(given.get("allow_pickle", ast.Constant(False))) != "False":
            yield f"line {node.lineno}: {name} with pickles"


@pytest.mark.parametrize(
    "source",
    [
        "eval(x)",
        "subprocess.run(x, shell=True)",
        "subprocess.run(f'rm {x}')",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "archive.extractall(x)",
        "yaml.load(x)",
        "import xml.etree.ElementTree",
        "from xml.dom import minidom",
    ],
)
def test_the_check_finds_them(source: str) -> None:
    assert list(find_faults(source))


def test_nothing_is_found() -> None:
    found = {file.relative_to(ROOT).as_posix(): list(find_faults(file.read_text("utf-8"))) for file in list_sources()}
    assert len(found) > 300 and not {name: faults for name, faults in found.items() if faults}
