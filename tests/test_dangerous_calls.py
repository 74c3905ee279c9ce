"""No code of ours calls what turns a stranger's bytes into code, or a text into a command line, or opens a port."""

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
SERVERS = ("http.server", "socketserver", "xmlrpc", "wsgiref", "aiohttp", "multiprocessing.managers")
SERVER_CALLS = ("create_server", "start_server", "create_datagram_endpoint", "fromfd", "fromshare")
HTTP_CLIENTS = ("requests", "urllib3", "urllib.request", "http.client", "httpx", "ftplib", "smtplib", "telnetlib")
CONNECTING = ("create_connection", "open_connection", "urlopen", "urlretrieve")
LOCAL_SOCKETS = ("fsgan_core/worker/transports.py", "fsgan_core/farm/session.py")
"""They open sockets of the family AF_UNIX; the first one listens."""
DOWNLOADS = ("fsgan_core/networks/weights/download.py", "fsgan_core/networks/weights/deadline.py")
"""Only `fsgan weights fetch` uses them."""
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


def list_imports(tree: ast.Module) -> Iterator[str]:
    """Dotted names of imported modules, and of what is imported from them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def is_one_of(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def find_network_faults(source: str, name: str) -> Iterator[str]:
    """What opens a port, or a connection elsewhere than in the download of weights."""
    tree = ast.parse(source)
    has_sockets = False
    for imported in list_imports(tree):
        has_sockets |= is_one_of(imported, ("socket", "asyncio", "multiprocessing.connection"))
        if is_one_of(imported, SERVERS) or imported.startswith("socket."):  # by its module's name only
            yield f"imports {imported}"
        if is_one_of(imported, HTTP_CLIENTS) and name not in DOWNLOADS:
            yield f"imports {imported}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr.startswith("AF_") and node.attr != "AF_UNIX":
            yield f"line {node.lineno}: {node.attr}"
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        method = called.rpartition(".")[2]
        if method in SERVER_CALLS or (method in CONNECTING and name not in DOWNLOADS):
            yield f"line {node.lineno}: {called}"
        if called == "socket.socket" and (name not in LOCAL_SOCKETS or not is_local_family(node)):
            yield f"line {node.lineno}: a socket that is not a local one"
        if has_sockets and method in ("listen", "bind", "Listener") and name != LOCAL_SOCKETS[0]:
            yield f"line {node.lineno}: {called}"


def is_local_family(call: ast.Call) -> bool:
    return bool(call.args) and ast.unparse(call.args[0]) == "socket.AF_UNIX"


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


@pytest.mark.parametrize(
    "source",
    [
        "import http.server",
        "from http import server",
        "import socketserver",
        "from socket import socket",
        "import socket\nsocket.socket()",
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_STREAM)",
        "import socket\nfamily = socket.AF_INET6",
        "import socket\nsocket.create_server(('', 80))",
        "import asyncio\nasyncio.start_server(answer, port=80)",
        "import asyncio\nloop.create_server(answer)",
        "import socket\nmade.listen(5)",
        "import socket\nmade.bind(address)",
        "import requests",
        "from urllib.request import urlopen",
        "from urllib import request",
        "import http.client",
        "import socket\nsocket.create_connection(address)",
    ],
)
def test_the_check_finds_ports_and_connections(source: str) -> None:
    assert list(find_network_faults(source, "fsgan_core/cli/main.py"))


@pytest.mark.parametrize("name", [*LOCAL_SOCKETS, *DOWNLOADS])
def test_the_exceptions_may_not_open_a_port(name: str) -> None:
    """Not even the files that have sockets."""
    for source in (
        "import socket\nsocket.socket(socket.AF_INET)",
        "import socket\nsocket.socket()",
        "import http.server",
    ):
        assert list(find_network_faults(source, name))
    if name != LOCAL_SOCKETS[0]:
        assert list(find_network_faults("import socket\nmade.listen(5)", name))


def test_no_port_is_opened() -> None:
    names = {file: file.relative_to(ROOT).as_posix() for file in list_sources()}
    found = {name: list(find_network_faults(file.read_text("utf-8"), name)) for file, name in names.items()}
    assert not {name: faults for name, faults in found.items() if faults}
    assert found.keys() >= {*LOCAL_SOCKETS, *DOWNLOADS}
