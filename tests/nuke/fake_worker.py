"""A worker that misbehaves as it is told: `fake_worker.py BEHAVIOUR`. Speaks the protocol with the standard library
alone, so that it starts in a moment."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time

BEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else "good"
LOCK = threading.Lock()


def say(event: str, number: int = 0, **rest: object) -> None:
    with LOCK:
        sys.stdout.buffer.write(json.dumps({"event": event, "id": number, **rest}).encode() + b"\n")
        sys.stdout.buffer.flush()


def note(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def render(number: int, request: dict[str, object]) -> None:
    say("progress", number, step="start", subject="render")
    if BEHAVIOUR == "stuck":
        threading.Event().wait()
    if BEHAVIOUR == "flood":
        for step in range(200_000):
            sys.stdout.buffer.write(b'{"event":"log","id":%d,"level":"info","message":"%d"}\n' % (number, step))
    for place, frame in enumerate((1001, 1002)):
        say("progress", number, step="begin", frame=frame, done=place, total=2)
        if BEHAVIOUR == "crash" and frame == 1002:
            note("something terrible happened in a library")
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(10)
        say("frame", number, frame=frame, state="rendered", done=place + 1, total=2)
    say("result", number, data={"frames": request.get("frames", ""), "pid": os.getpid()})


def main() -> None:
    if BEHAVIOUR == "silent start":
        note("waiting for a licence")
        time.sleep(60)
    if BEHAVIOUR == "dies at once":
        note("ImportError: no torch here")
        raise SystemExit(1)
    if BEHAVIOUR == "garbage":
        sys.stdout.buffer.write(b'Welcome to libfoo 1.2\n\xff\xfe\x00\n{"event":\n[]\n' + b"x" * (5 << 20) + b"\n\n")
        sys.stdout.buffer.flush()
    if BEHAVIOUR == "deaf":
        first = json.loads(sys.stdin.buffer.readline())
        say("hello", first["id"], protocol=1, version="0")
        time.sleep(60)
    for line in sys.stdin.buffer:
        request = json.loads(line)
        name, number = request["request"], request["id"]
        if name == "hello":
            if BEHAVIOUR == "slow start":
                time.sleep(0.8)
            if BEHAVIOUR == "refuses":
                say(
                    "error",
                    number,
                    error="ProtocolError",
                    exit_code=2,
                    message="the client speaks protocol 1, I speak 9",
                )
                continue
            say("hello", number, protocol=2 if BEHAVIOUR == "another protocol" else 1, version="0", pid=os.getpid())
            if BEHAVIOUR == "crash after hello":
                os._exit(7)
        elif name == "render":
            threading.Thread(target=render, args=(number, request), daemon=True).start()
        elif name == "cancel":
            say("result", number, data={"found": True})
            if BEHAVIOUR != "stuck":
                say("error", request["target"], error="CancelledError", exit_code=130, message="cancelled")
        elif name == "ping":
            say("pong", number)
        elif name == "doctor":
            say("error", number, error="PlateError", exit_code=2, message="no such plate")
        elif name == "quit":
            break


main()
