# SPDX-License-Identifier: Apache-2.0
"""The Python package as its users get it: the wheel, built once and unpacked into a folder of its own.

Programs run in processes of their own, since a process has one tracker. `./dev test python` runs these.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
from wheel_build import PROLOGUE, SITE, TIMEOUT, build_wheel, clean_environment


@pytest.fixture(scope="session")
def wheel():
    return build_wheel()


class Programs:
    """Runs Python programs with the package; their ledgers are in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder

    def environment(self, **variables):
        return {**clean_environment(MEMTALLY_DIR=str(self.folder), PYTHONPATH=str(SITE), MPLBACKEND="agg"),
                **{name: str(value) for name, value in variables.items()}}

    def command(self, *words, code=0, **variables):
        done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=TIMEOUT, check=False,
                              env=self.environment(**variables), cwd=self.folder)
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def run(self, text, python=sys.executable, **options):
        """What the program prints; the package and a device "acme:0" with dram of four banks are there."""
        return self.command(python, "-c", PROLOGUE + textwrap.dedent(text), **options)

    def json(self, text, **options):
        """The last line, which is JSON."""
        return json.loads(self.run(text, **options).splitlines()[-1])


@pytest.fixture
def programs(wheel):
    folder = Path(tempfile.mkdtemp(prefix="memtally-python.", dir="/dev/shm"))
    yield Programs(folder)
    shutil.rmtree(folder)
