# SPDX-License-Identifier: Apache-2.0
"""What memtally says from outside is what TT-NN's own allocator says, to the byte, after each of many random steps."""

import json
import os

import pytest

STEPS = int(os.environ.get("MEMTALLY_TTNN_STEPS", "1000"))
NEWEST = "0.81.1"
CHIPS = {"n150": 1, "n300": 2, "p150": 1}


class Comparison:
    """Compares the views of one process, step by step."""

    def __init__(self):
        self.bases = {}
        self.compared = {}

    def base_of(self, kind, first, block):
        """Block tables count from the first byte that the allocator manages; addresses from the bank's start. The
        difference is the same for all buffers of a kind while a device is open."""
        return self.bases.setdefault(kind, first - block)

    def check(self, message, document, chips):
        where = f"step {message['step']} ({message['name']})"
        devices = document["devices"]
        assert len(devices) in (0, chips), where
        if message["name"] == "reopen":
            self.bases.clear()
        for device in devices or [{"index": 0}]:
            for kind, view in message["view"].items():
                mine = [buffer for buffer in document["buffers"]
                        if buffer["kind"] == kind and buffer["device"] == device["index"]]
                assert sum(buffer["bytes_per_bank"] for buffer in mine) == view["allocated"], (where, kind, device)
                assert sum(buffer["bytes_reserved"] for buffer in mine) == view["allocated"] * view["banks"], (where, kind)
                self.compared[kind] = max(self.compared.get(kind, 0), len(mine))
                if view["blocks"] is None:
                    continue
                got = sorted((buffer["address"], buffer["bytes_per_bank"]) for buffer in mine)
                want = sorted(view["blocks"])
                if want:
                    base = self.base_of(kind, got[0][0], want[0][0])
                    assert got == [(address + base, size) for address, size in want], (where, kind)
        # Each buffer of a mesh is there once for each chip, and tied together.
        if chips > 1:
            groups = {}
            for buffer in document["buffers"]:
                if buffer["kind"] in message["view"]:
                    groups.setdefault(buffer["group"], []).append(buffer["device"])
            assert all(sorted(members) == list(range(chips)) for members in groups.values()), where


def run_steps(board, name, seed, steps, expect=None, **options):
    """Runs the random program; returns the comparison and the program's last message. `expect`: what memtally says is not
    recorded."""
    comparison = Comparison()
    with board.start("random_steps.py", seed, steps, CHIPS[name], board=name, **options) as process:
        try:
            message = None
            for line in process.stdout:
                if not line.startswith("@"):
                    continue  # the framework's own
                message = json.loads(line[1:])
                document = board.held_by(process.pid)
                comparison.check(message, document, CHIPS[name])
                process.stdin.write("\n")
                process.stdin.flush()
            process.stdin.close()
            error = process.stderr.read()
            assert process.wait(timeout=120) == 0, error
        finally:
            process.kill()
    assert message is not None and message["name"] == "end", error
    said = [line for line in error.splitlines() if line.startswith("memtally:")]
    assert len(said) == (expect is not None) and all(expect in line for line in said), error
    return comparison, message


@pytest.mark.parametrize("name", CHIPS)
def test_every_step_is_exact(board, name):
    comparison, message = run_steps(board, name, 1, STEPS, version=NEWEST)
    if STEPS >= 200:
        # The steps did what they are for.
        assert set(message["done"]) >= {"create", "free", "operate", "reallocate", "threads", "capture", "programs", "reopen"}
        assert comparison.compared.keys() == {"dram", "l1", "l1_small", "trace"} and all(comparison.compared.values())
        assert sum(comparison.compared.values()) > 20


@pytest.mark.parametrize("version", ["0.78.0", "0.75.0"])
def test_older_versions_are_exact(board, version):
    comparison, _ = run_steps(board, "n150", 2, max(50, STEPS // 4), version=version)
    assert comparison.compared["dram"] and comparison.compared["l1"]
