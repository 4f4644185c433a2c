#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of the README: runs the real memtally on a terminal of its own, and draws what it shows.

Usage: .venv/bin/python scripts/screenshots.py [--memtally COMMAND] [--output FOLDER] [--seconds N] [--in-place] [NAME...]

Recordings of real models are replayed meanwhile (share/traces), in a folder of ledgers of their own. Each picture is
made twice, NAME-dark.svg and NAME-light.svg.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from terminal_picture import THEMES, Terminal, svg

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = 112
PATIENCE = 120


def as_if_installed(memtally):
    """Starts this script again, so that the command lies in /usr/local/bin as far as it can see: pictures show its path.

    Needs a mount namespace of its own. Returns the command."""
    if os.environ.get("MEMTALLY_PICTURES_INSIDE"):
        return Path("/usr/local/bin") / memtally.name
    namespace = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    inside = 'mount --bind "$1" /usr/local/bin && shift && exec "$@"'
    command = [*namespace, "sh", "-c", inside, "sh", str(memtally.parent)]
    os.environ["MEMTALLY_PICTURES_INSIDE"] = "1"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


class Machine:
    """Three cards under load, without any: replays of recordings. A context."""

    def __init__(self, memtally, seconds):
        self.memtally = str(memtally)
        self.folder = tempfile.mkdtemp(prefix="memtally-pictures.", dir="/dev/shm")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMTALLY")}
        self.environment["MEMTALLY_DIR"] = self.folder
        self.hurry = 30 / seconds  # of the chat server, until its memory has run out
        self.replays = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for replay in self.replays:
            replay.terminate()
            replay.wait()
        shutil.rmtree(self.folder)

    def replay(self, name, recording, speed, device, *more):
        self.replays.append(subprocess.Popen(
            [self.memtally, "replay", recording, "--name", name, "--speed", str(speed * self.hurry), "--device-id",
             str(1000 + device), "--device-index", str(device), *more],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment))

    def load(self):
        self.replay("llama", "llama-1b-n150", 0.009, 0, "--loop")
        self.replay("resnet", "resnet50-n150", 0.02, 1, "--loop")
        self.replay("chat-server", "leak-until-oom-n150", 0.0065, 2, "--hold")

    def chat_server(self):
        """Its pid, the part of its DRAM that it holds, and how many allocations failed; None if it is not there yet."""
        done = subprocess.run([self.memtally, "ps", "--json", "--no-clean-up"], env=self.environment, check=True,
                              capture_output=True)
        for process in json.loads(done.stdout)["processes"]:
            if process["command"] == "chat-server":
                [dram] = [account for account in process["accounts"] if account["kind"] == "dram"]
                failed = process["anomalies"].get("failed_allocation", {}).get("count", 0)
                return process["pid"], dram["live"]["bytes_reserved"] / dram["capacity_bytes"], failed
        return None

    def wait_for_chat_server(self, terminal, condition):
        end = time.monotonic() + PATIENCE
        while not ((chat := self.chat_server()) and condition(*chat)):
            if time.monotonic() > end:
                raise TimeoutError(f"the chat server did not get there: {chat}")
            terminal.run_for(0.2)
        return chat[0]

    @contextlib.contextmanager
    def top(self, lines=28):
        with Terminal([self.memtally, "top", "-r", "1000"], COLUMNS, lines, self.environment) as terminal:
            terminal.wait_for("chat-server")
            yield terminal
            terminal.press("q")
            terminal.wait_for_end()


def picture_top(machine):
    """The machine, while the chat server grows."""
    with machine.top() as top:
        machine.wait_for_chat_server(top, lambda pid, part, failed: part > 0.7)
        top.run_for(0.6)
        yield "top", "memtally top", top.screen


def picture_tags(machine):
    """What the chat server holds, by its tags."""
    with machine.top(13) as top:
        machine.wait_for_chat_server(top, lambda pid, part, failed: part > 0.8)
        top.press("\x1b[H\r")  # the first process, which is the largest
        top.wait_for("debug copy")
        top.run_for(0.6)
        yield "top-tags", "memtally top: one process, by its own tags", top.screen


def picture_dead(machine):
    """After the chat server has run out of memory and was killed."""
    with machine.top() as top:
        pid = machine.wait_for_chat_server(top, lambda pid, part, failed: failed)
        os.kill(pid, signal.SIGKILL)
        top.wait_for("dead")
        top.run_for(1.5)
        yield "top-dead", "memtally top: after a kill", top.screen


def picture_demo(machine):
    """The demonstration, which has programs of its own."""
    with Terminal([machine.memtally, "demo"], COLUMNS, 34, machine.environment) as demo:
        demo.wait_for("Out of memory", PATIENCE)
        demo.run_for(1.5)
        yield "demo", "memtally demo", demo.screen
        demo.press("q")
        demo.wait_for_end()


def ttnn_environment(folder):
    """The variables under which the real TT-NN package runs on a board that it mocks; its ledgers are in `folder`."""
    sys.path.insert(0, str(ROOT / "scripts" / "ttnn"))
    from environment import TtnnEnvironment
    environment = TtnnEnvironment().setup()
    variables = {name: value for name, value in environment.variables("n150").items() if not name.startswith("MEMTALLY")}
    variables.update(MEMTALLY_DIR=str(folder), PATH=f"{environment.python.parent}:{variables['PATH']}")
    return variables


def picture_ttnn(machine):
    """A decoder on the real TT-NN package under memtally run: while it runs, and what is said at its end."""
    with tempfile.TemporaryDirectory(prefix="memtally-pictures.", dir="/dev/shm") as folder:
        variables = ttnn_environment(folder)
        line = "memtally run -- python examples/ttnn_llama.py"
        script = f'cd {ROOT}; printf "$ {line}\\n"; exec "{machine.memtally}" run -- python examples/ttnn_llama.py --slow'
        with Terminal(["/bin/sh", "-c", script], COLUMNS, 18, variables) as run:
            with Terminal([machine.memtally, "top", "-r", "1000"], COLUMNS, 12, variables) as top:
                top.wait_for("dfb", PATIENCE)  # operations have begun
                top.run_for(3)
                yield "ttnn-top", "memtally top: a decoder on TT-NN", top.screen
                top.press("q")
                top.wait_for_end()
            run.wait_for("exit code 0", PATIENCE)
            run.run_for(0.5)
            yield "ttnn-run", "memtally run: what a decoder on TT-NN did", run.screen


PICTURES = {"top": picture_top, "top-tags": picture_tags, "top-dead": picture_dead, "demo": picture_demo, "ttnn": picture_ttnn}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memtally", type=Path, default=ROOT / "build/release/src/tools/memtally")
    parser.add_argument("--output", type=Path, default=ROOT / "docs/pictures")
    parser.add_argument("--seconds", type=float, default=30, help="until the chat server has run out of memory")
    parser.add_argument("--in-place", action="store_true", help="show the command where it is, not in /usr/local/bin")
    parser.add_argument("names", metavar="NAME", nargs="*", help=f"of {', '.join(PICTURES)}; all without any")
    arguments = parser.parse_args()
    unknown = set(arguments.names) - set(PICTURES)
    if unknown:
        parser.error(f"no such picture: {', '.join(sorted(unknown))}; there are: {', '.join(PICTURES)}")
    if not arguments.memtally.exists():
        parser.error(f"{arguments.memtally} is not there; build it (./dev build release), or name it by --memtally")
    arguments.output.mkdir(parents=True, exist_ok=True)
    memtally = arguments.memtally.resolve()
    with Machine(memtally if arguments.in_place else as_if_installed(memtally), arguments.seconds) as machine:
        if arguments.names != ["ttnn"]:
            machine.load()
        for name in PICTURES:
            if arguments.names and name not in arguments.names:
                continue
            for file, title, screen in PICTURES[name](machine):
                for theme in THEMES:
                    path = arguments.output / f"{file}-{theme}.svg"
                    path.write_text(svg(screen, theme, title), encoding="utf-8")
                    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
