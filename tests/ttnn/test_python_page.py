# SPDX-License-Identifier: Apache-2.0
"""The TT-NN section of docs/python.md, run as it stands."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from page import program, text_after  # noqa: E402
from wheel_build import SITE, build_wheel  # noqa: E402

SECTION = "TT-NN: which layer leaks"


def test_the_page(board, tmp_path):
    build_wheel()
    file = tmp_path / "page.py"
    file.write_text(f"import os\nos.chdir({str(tmp_path)!r})\n" + program(SECTION), encoding="utf-8")
    out, _ = board.run(file, preload=(), PYTHONPATH=str(SITE), MPLBACKEND="agg")
    assert text_after(SECTION) in out
    assert "peak" in out and "(exact)" in out and "largest free block" in out
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("bank.png", "holders.png", "timeline.png"))
