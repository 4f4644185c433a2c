# SPDX-License-Identifier: Apache-2.0
"""The real TT-NN package on mock boards, with memtally's libraries in front of it, and memtally's command outside.

MEMTALLY_TTNN=1 asks for these tests: they fetch packages of 100 MB. `./dev test ttnn` sets it.
MEMTALLY_TTNN_STEPS: how many random steps for each board, 1000 if not set.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "ttnn"))

import environment as ttnn_environment  # noqa: E402
from renamed_library import copy_without  # noqa: E402

BUILD_DIR = Path(os.environ.get("MEMTALLY_BUILD_DIR", ROOT / "build" / "debug"))
COMMAND = BUILD_DIR / "src" / "tools" / "memtally"
TRACKER = BUILD_DIR / "src" / "track" / "libmemtally.so"
HOOK = BUILD_DIR / "src" / "track" / "hooks" / "ttmetal" / "libmemtally_ttmetal.so"
PROGRAMS = Path(__file__).resolve().parent / "programs"


class Board:
    """Runs Python programs on a mock board; their ledgers are in a folder of their own."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def environment(self, version):
        try:
            return ttnn_environment.TtnnEnvironment(version).setup()
        except ttnn_environment.NoPython as error:
            pytest.skip(str(error))

    def start(self, program, *arguments, version=ttnn_environment.NEWEST, board="n150", preload=(TRACKER, HOOK),
              under=(), **variables):
        """Starts a program of this folder; `under` is a command that starts it."""
        environment = self.environment(version)
        given = {name: value for name, value in environment.variables(board).items() if not name.startswith("MEMTALLY")}
        given.update(MEMTALLY_DIR=str(self.folder), LD_PRELOAD=":".join(map(str, preload)), **variables)
        return subprocess.Popen([*map(str, under), environment.python, PROGRAMS / program, *map(str, arguments)], env=given,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, program, *arguments, code=0, timeout=300, **options):
        """Runs it to its end; returns standard output and standard error."""
        with self.start(program, *arguments, **options) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            finally:
                process.kill()
        assert process.returncode == code, f"{program}: exit code {process.returncode}\n{out}\n{err}"
        return out, err

    def memtally(self, *arguments):
        """The JSON document of a command that looks at the folder."""
        done = subprocess.run([COMMAND, *map(str, arguments), "--json"], capture_output=True, text=True, timeout=120,
                              env={**os.environ, "MEMTALLY_DIR": str(self.folder)}, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def held_by(self, pid):
        """The devices and live buffers of a process, and what is said of the process; nothing if it has no ledger."""
        document = self.memtally("buffers", "--limit", "0")
        for index, process in enumerate(document["processes"]):
            if process["pid"] == pid:
                buffers = [buffer for buffer in document["buffers"] if buffer["process"] == index]
                return {"devices": process["devices"], "buffers": buffers}
        return {"devices": [], "buffers": []}

    def process(self, pid):
        """The process in the snapshot of the machine."""
        found = [process for process in self.memtally("ps", "--all")["processes"] if process["pid"] == pid]
        assert len(found) == 1, f"{len(found)} processes {pid}"
        return found[0]


@pytest.fixture
def board():
    if os.environ.get("MEMTALLY_TTNN") != "1":
        pytest.skip("tests with the real TT-NN package run in ./dev test ttnn")
    for needed in (COMMAND, TRACKER, HOOK):
        assert needed.exists(), f"{needed} is not built"
    folder = tempfile.mkdtemp(prefix="memtally-ttnn.", dir="/dev/shm")
    yield Board(folder)
    shutil.rmtree(folder)


@pytest.fixture
def lacking(board, tmp_path):
    """Makes a copy of the package without some functions; returns the variable that has it used."""
    def make(*symbols):
        folder = tmp_path / "copy"
        assert copy_without(board.environment("0.81.1").package(), folder, *symbols) > 0
        return {"PYTHONPATH": str(folder), "TT_METAL_RUNTIME_ROOT": str(folder / "ttnn")}

    yield make
    shutil.rmtree(tmp_path)
