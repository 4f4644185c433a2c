# SPDX-License-Identifier: Apache-2.0
"""The built memtally command, run in a folder of ledgers of its own."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

# A shell that runs this in the background, or nohup, has it ignore them, and programs of the tests would inherit that.
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

ROOT = Path(__file__).resolve().parents[2]
BUILD_DIR = Path(os.environ.get("MEMTALLY_BUILD_DIR", ROOT / "build" / "debug"))
COMMAND = BUILD_DIR / "src" / "tools" / "memtally"
RECORDINGS = ROOT / "share" / "traces"


class Memtally:
    """Runs the command with its own MEMTALLY_DIR."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMTALLY")}
        self.environment["MEMTALLY_DIR"] = str(folder)

    def run(self, *arguments, code=0, timeout=120, input=None, **environment):
        """Returns the finished process, with text where it is UTF-8. `code` None takes any exit code."""
        done = subprocess.run([COMMAND, *map(os.fsencode, map(str, arguments))], capture_output=True, input=input,
                              timeout=timeout, env={**self.environment, **environment}, check=False)
        done.stdout = done.stdout.decode()
        done.stderr = done.stderr.decode()
        if code is not None:
            assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, *arguments):
        return subprocess.Popen([COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment)

    def json(self, *arguments):
        return json.loads(self.run(*arguments, "--json").stdout)

    def ledgers(self):
        return sorted(self.folder.glob("*.ledger"))


@pytest.fixture
def memtally():
    if not COMMAND.exists():
        pytest.skip(f"there is no memtally command in {BUILD_DIR}; build it, or set MEMTALLY_BUILD_DIR")
    folder = tempfile.mkdtemp(prefix="memtally-test.", dir="/dev/shm")
    yield Memtally(folder)
    shutil.rmtree(folder)


@pytest.fixture
def trace_file(tmp_path):
    """Makes a trace of lines; the first is added, and one device with DRAM and L1."""

    def make(*lines, name="made.trace", head=True):
        path = tmp_path / name
        text = ["memtally-trace 1", "device 0 tenstorrent wormhole_b0 0", "kind 0 DRAM 12288 12 1024",
                "kind 0 L1 65536 64 1024"] if head else []
        encoded = [line if isinstance(line, bytes) else line.encode() for line in [*text, *lines]]
        path.write_bytes(b"".join(line + b"\n" for line in encoded))
        return path

    return make
