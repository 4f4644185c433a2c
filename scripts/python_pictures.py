#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the pictures of docs/python.md: runs its TT-NN section on a mock board, and keeps what it draws.

Needs what `./dev test python ttnn` has set up.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts" / "ttnn"), str(ROOT / "tests" / "python")]

import environment  # noqa: E402
import page  # noqa: E402

SECTION = "TT-NN: which layer leaks"
SETTINGS = "import matplotlib\nmatplotlib.rcParams['savefig.dpi'] = 90\n"


def main():
    board = environment.TtnnEnvironment().setup()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        variables = {**board.variables("n150"), "MEMTALLY_DIR": folder, "MPLBACKEND": "agg",
                     "PYTHONPATH": str(ROOT / "build" / "python" / "site")}
        text = SETTINGS + f"import os\nos.chdir({folder!r})\n" + page.program(SECTION)
        subprocess.run([str(board.python), "-c", text], env=variables, check=True)
        for name in ("bank", "holders", "timeline"):
            target = ROOT / "docs" / "pictures" / f"python-{name}.png"
            shutil.copy(Path(folder) / f"{name}.png", target)
            print(os.path.relpath(target, ROOT), target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
