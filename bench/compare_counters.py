#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""memtally beside tt-metal's own counters (/dev/shm/tt_device_*_memory), on one mock chip: two processes, one is killed.

    bench/compare_counters.py [--build FOLDER] [--version V]

Prints a table in Markdown, as docs/comparison.md has it. The truth is what the allocator of each process says it holds. Needs
a build (./dev build release) and what scripts/ttnn/environment.py needs. Bytes that were asked for, of all kinds but circular
and dataflow buffers, since the counters know no others and not what the memory lost.
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "ttnn"))

import environment as ttnn_environment  # noqa: E402

KINDS = ("dram", "l1", "l1_small", "trace")
PROGRAM = """
import sys, ttnn
device = ttnn.open_device(device_id=0)
kept = []
for line in sys.stdin:
    word = line.strip()
    if word == "allocate":
        for size in (512, 1024, 2048):
            kept.append(ttnn.zeros([1, 1, size, size], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device))
        kept.append(ttnn.zeros([1, 1, 512, 512], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device,
                               memory_config=ttnn.L1_MEMORY_CONFIG))
    elif word == "operate":
        ttnn.softmax(ttnn.matmul(kept[0], kept[0]))
    elif word == "close":
        ttnn.close_device(device)
    views = [ttnn.get_memory_view(device, kind) for kind in (ttnn.BufferType.DRAM, ttnn.BufferType.L1)] if word != "close" else []
    print("@", sum(view.total_bytes_allocated_per_bank * view.num_banks for view in views), flush=True)
"""


class Model:
    def __init__(self, environment, folder, build):
        variables = environment.variables("p150")
        del variables["TT_METAL_SHM_TRACKING_DISABLED"]
        libraries = (build / "src/track/libmemtally.so", build / "src/track/hooks/ttmetal/libmemtally_ttmetal.so")
        variables.update(MEMTALLY_DIR=str(folder), LD_PRELOAD=":".join(map(str, libraries)))
        self.process = subprocess.Popen([environment.python, "-c", PROGRAM], env=variables, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.pid, self.truth = self.process.pid, 0

    def ask(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                self.truth = int(line[1:])
                return self
        raise SystemExit("the model ended")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.truth = 0


def of_counters(path):
    """The chip's bytes, and those of the rows by pid."""
    data = path.read_bytes()
    rows = {}
    for at in range(856, 856 + 64 * 120, 120):
        pid = struct.unpack_from("<i", data, at)[0]
        if pid:
            rows[pid] = sum(struct.unpack_from("<4Q", data, at + 8))
    return sum(struct.unpack_from("<4Q", data, 48)), rows


def of_memtally(command, folder):
    """What living processes hold of the device, and what each does."""
    done = subprocess.run([command, "snapshot", "--json"], env={**os.environ, "MEMTALLY_DIR": str(folder)}, check=True,
                          capture_output=True, text=True)
    rows, total = {}, 0
    for process in json.loads(done.stdout)["processes"]:
        live = sum(account["live"]["bytes_reserved"] for account in process.get("accounts", []) if account["kind"] in KINDS)
        rows[process["pid"]] = (process["state"], live)
        total += live if process["state"] == "alive" else 0
    return total, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--version", default=ttnn_environment.NEWEST)
    options = parser.parse_args()
    environment = ttnn_environment.TtnnEnvironment(options.version).setup()
    command = options.build / "src" / "tools" / "memtally"
    before = set(Path("/dev/shm").glob("tt_device_*_memory"))
    if before:
        raise SystemExit(f"{min(before)} is there: something of tt-metal runs, or ran; remove it to compare")
    folder = Path(tempfile.mkdtemp(prefix="memtally-compare.", dir="/dev/shm"))
    models = []
    print("| moment | the allocators of living processes | memtally | tt-metal's counters |\n|---|---|---|---|")

    def line(moment):
        [path] = Path("/dev/shm").glob("tt_device_*_memory")
        counted, rows = of_counters(path)
        said, processes = of_memtally(command, folder)
        names = {model.pid: "ABC"[number] for number, model in enumerate(models)}
        dead = [f"{names[pid]} left {live:,}" for pid, (state, live) in processes.items() if state == "dead" and live]
        listed = ", ".join(f"{names[pid]} {held:,}" for pid, held in rows.items() if pid in names)
        truth = sum(model.truth for model in models)
        print(f"| {moment} | {truth:,} B | {said:,} B{''.join('; ' + text for text in dead)} | {counted:,} B"
              f"{'; rows: ' + listed if listed else ''} |")

    try:
        for _ in range(2):
            models.append(Model(environment, folder, options.build).ask("allocate"))
        line("A and B hold tensors")
        models[0].ask("operate")
        line("A ran a matmul and a softmax")
        models[0].kill()
        line("A was killed (SIGKILL)")
        models.append(Model(environment, folder, options.build).ask("allocate"))
        line("C came")
        models[1].ask("close")
        line("B closed its device")
        models[2].ask("close")
        line("C closed its device")
    finally:
        for model in models:
            model.kill()
        shutil.rmtree(folder)
        for path in set(Path("/dev/shm").glob("tt_device_*_memory")) - before:
            path.unlink()


if __name__ == "__main__":
    main()
