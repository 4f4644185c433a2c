# SPDX-License-Identifier: Apache-2.0
"""Builds the Python package's wheel, and unpacks it where programs find it through PYTHONPATH."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "build" / "python"
SITE = BUILT / "site"
TIMEOUT = 240

# Programs of the tests begin with this.
PROLOGUE = """
import json
import memtally
def make_device():
    device = memtally.register_device(0, vendor="acme", architecture="one")
    device.register_kind("dram", 1 << 30, 4)
    return device
"""


def clean_environment(**more):
    """The environment of this process without what would have programs tracked, or find other packages."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith(("MEMTALLY", "PYTHON", "PYTEST", "TT_ALLOC")) and name != "LD_PRELOAD"}
    return {**kept, **more}


def run(command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=TIMEOUT, check=False,
                          **options)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def build_wheel():
    """The wheel's file; also unpacked in SITE."""
    assert shutil.which("ninja") and shutil.which("cmake")
    BUILT.mkdir(parents=True, exist_ok=True)
    with open(BUILT / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(BUILT / "dist", ignore_errors=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
        run([*pip, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", BUILT / "dist", ROOT],
            env=clean_environment())
        (file,) = (BUILT / "dist").glob("*.whl")
        shutil.rmtree(SITE, ignore_errors=True)
        run([*pip, "install", "--no-deps", "--no-index", "--target", SITE, file], env=clean_environment())
    return file
