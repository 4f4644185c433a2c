# SPDX-License-Identifier: Apache-2.0
"""`import memtally.ttnn` on the real TT-NN: imported first, imported late, under preloaded libraries."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from wheel_build import SITE, build_wheel  # noqa: E402


@pytest.fixture
def python_board(board):
    """Runs programs with the Python package; returns the JSON that they print."""
    if not python_board_built:
        python_board_built.append(build_wheel())

    def run(program, *arguments, preload=(), **options):
        out, _ = board.run(program, *arguments, preload=preload, PYTHONPATH=str(SITE), **options)
        return json.loads(next(line for line in out.splitlines() if line.startswith("@"))[1:])

    return run


python_board_built = []


@pytest.mark.parametrize(("when", "board_name", "chips"), [("early", "n150", 1), ("late", "n150", 1), ("late", "n300", 2)])
def test_python_sees_what_the_allocator_says(python_board, when, board_name, chips):
    found = python_board("python_exact.py", when, 11, 100, chips, board=board_name)
    assert found["compared"] > 100
    if when == "late":
        assert found["before"] > 0 and found["by_tensor"] > 0


def test_an_older_version_is_attached_late(python_board):
    found = python_board("python_exact.py", "late", 11, 40, 1, version="0.78.0")
    assert found["compared"] > 40 and found["before"] > 0


@pytest.mark.parametrize("preloaded", [False, True])
def test_tags_peaks_and_the_report(python_board, preloaded):
    libraries = [SITE / "memtally" / "lib" / name for name in ("libmemtally.so.0", "libmemtally_ttmetal.so")]
    found = python_board("python_model.py", preload=libraries if preloaded else ())
    each = 6 * 2048 * 12  # 64 tiles over 12 banks: six in each
    assert found["weights"] == {f"Layer {n} / Attention 0 / ttnn.ones": each for n in range(2)}
    assert list(found["leaks"]) == ["Layer 1 / ttnn.clone"]
    assert "Model / layers[1] / ttnn.clone" in found["named"]
    assert found["exact"] and found["peak"] == found["want"]
    assert found["l1"][:2] == [True, True] and "Layer 1 / ttnn.clone" in found["l1"][2]
    assert "tenstorrent:0" in found["text"] and "largest free block" in found["text"]
