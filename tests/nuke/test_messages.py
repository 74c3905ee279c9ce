"""Messages to the artist, whose text may come from files."""

from __future__ import annotations

from tests.host import Host
from tests.nuke.conftest import Footage, build

EVIL = "<img src=x onerror=y> a\nopenjd_fail: x\x1b[2J"


def test_a_message_shows_no_html(session: Host) -> None:
    from fsgan_nuke import host

    host.show_message(EVIL)
    session.idle()
    shown = [text for kind, text in session.messages if kind == "message"]
    assert len(shown) == 1 and "openjd_fail" in shown[0] and "<" not in shown[0]


def test_the_terminal_gets_lines_of_ours_alone(session: Host) -> None:
    from fsgan_nuke import host

    host.print_line(EVIL)
    (shown,) = [text for kind, text in session.messages if kind == "tprint" and "img" in text]
    assert "\n  openjd_fail: x" in shown and "\x1b" not in shown


def test_a_node_that_is_switched_off_is_not_rendered(session: Host, clips: Footage) -> None:
    from fsgan_nuke import graph

    tree = build(session, clips)
    assert str(tree.blend.name()) in [str(node.name()) for node in graph.iterate_render_nodes(tree.blend)]
    tree.blend["disable"].setValue(True)
    assert str(tree.blend.name()) not in [str(node.name()) for node in graph.iterate_render_nodes(tree.blend)]
