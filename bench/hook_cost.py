#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the TT-Metal hook costs a model: an allocate and free pair of a small tensor from Python, with the hook, with tt-metal's
own counters, and with neither, one after the other, again and again.

    bench/hook_cost.py [--build FOLDER] [--rounds N] [--pairs N]

Each figure is the median of a round's times (processor time of the thread, per pair), and each difference that of one round,
so that a machine whose speed drifts does not spoil it. A second table has the start-up that `memtally run` adds to a program
that does nothing. Needs ./dev build release and what scripts/ttnn/environment.py needs.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "ttnn"))

import environment as ttnn_environment  # noqa: E402

PROGRAM = """
import sys, time, ttnn
device = ttnn.open_device(device_id=0)
shape = ttnn.Shape([1, 1, 32, 32])
make, free = ttnn.allocate_tensor_on_device, ttnn.deallocate
def run(pairs):
    begin = time.thread_time_ns()
    for _ in range(pairs):
        free(make(shape, ttnn.bfloat16, ttnn.TILE_LAYOUT, device, ttnn.DRAM_MEMORY_CONFIG))
    return (time.thread_time_ns() - begin) / pairs
run(2000)
for line in sys.stdin:
    print("@", run(int(line)), flush=True)
"""


class Loop:
    def __init__(self, environment, folder, libraries=(), counters=False, **more):
        variables = environment.variables("n150")
        if counters:
            del variables["TT_METAL_SHM_TRACKING_DISABLED"]
        variables.update(MEMTALLY_DIR=str(folder), LD_PRELOAD=":".join(map(str, libraries)), **more)
        self.process = subprocess.Popen([environment.python, "-c", PROGRAM], env=variables, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def pair_ns(self, pairs):
        self.process.stdin.write(f"{pairs}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("@"):
                return float(line[1:])
        raise SystemExit("the model ended")

    def end(self):
        self.process.kill()
        self.process.wait()


def pairs(environment, folder, options):
    libraries = (options.build / "src/track/libmemtally.so", options.build / "src/track/hooks/ttmetal/libmemtally_ttmetal.so")
    before = set(Path("/dev/shm").glob("tt_device_*_memory"))
    loops = {"neither": Loop(environment, folder), "the hook": Loop(environment, folder, libraries),
             "the hook, tracking off": Loop(environment, folder, libraries, MEMTALLY="0"),
             "tt-metal's counters": Loop(environment, folder, counters=True)}
    try:
        times = {name: [] for name in loops}
        for _ in range(options.rounds):
            for name, loop in loops.items():
                times[name].append(loop.pair_ns(options.pairs))
    finally:
        for loop in loops.values():
            loop.end()
        for path in set(Path("/dev/shm").glob("tt_device_*_memory")) - before:
            path.unlink()
    print("| a pair with | median | added in the same round: median (quartiles) |\n|---|---|---|")
    for name, values in times.items():
        added = [value - base for value, base in zip(values, times["neither"])]
        low, middle, high = statistics.quantiles(added, n=4)
        print(f"| {name} | {statistics.median(values) / 1e3:.2f} us |"
              + (" |" if name == "neither" else f" {middle / 1e3:.2f} us ({low / 1e3:.2f} to {high / 1e3:.2f}) |"))


def start_up(folder, options):
    command = options.build / "src" / "tools" / "memtally"
    environment = {**os.environ, "MEMTALLY_DIR": str(folder)}

    def once(words):
        begin = time.perf_counter_ns()
        subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return (time.perf_counter_ns() - begin) / 1e6

    program = [sys.executable, "-S", "-c", "pass"]
    alone, under = [], []
    for _ in range(3 * options.rounds):
        alone.append(once(program))
        under.append(once([command, "run", "--", *program]))
    added = [u - a for u, a in zip(under, alone)]
    low, middle, high = statistics.quantiles(added, n=4)
    print(f"\nA program that does nothing: {statistics.median(alone):.1f} ms, under memtally run {statistics.median(under):.1f} ms; "
          f"added: median {middle:.1f} ms (quartiles {low:.1f} to {high:.1f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--pairs", type=int, default=4000)
    options = parser.parse_args()
    environment = ttnn_environment.TtnnEnvironment().setup()
    folder = Path(tempfile.mkdtemp(prefix="memtally-cost.", dir="/dev/shm"))
    try:
        pairs(environment, folder, options)
        start_up(folder, options)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
