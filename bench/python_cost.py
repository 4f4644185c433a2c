#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the Python package costs: python_cost.py [--site FOLDER] [--python PYTHON]... [--ttnn]

Uses the package that `./dev test python` unpacks. Times are processor time, the best of several rounds; importing is the
median of fresh processes. --ttnn: the tags of operations on the real TT-NN package, beside the same operations without, in
alternating rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "scripts" / "ttnn"))

CALLS = """
import json, sys, time
import memtally
device = memtally.register_device(0, vendor="acme")
device.register_kind("dram", 1 << 40, 8)
def best(function, count, rounds=7):
    times = []
    for _ in range(rounds):
        begin = time.process_time_ns()
        function(count)
        times.append((time.process_time_ns() - begin) / count)
    return min(times)
def nothing(count):
    for _ in range(count): pass
def new_tag(count):
    for _ in range(count):
        with memtally.tag("layer 3"): pass
one = memtally.tag("layer 4")
def same_tag(count):
    for _ in range(count):
        with one: pass
def pair(count):
    for i in range(count):
        device.alloc("dram", i, 0, 4096, 512)
        device.free("dram", i)
loop = best(nothing, 200000)
found = {"tag, ns": best(new_tag, 200000) - loop, "the same tag again, ns": best(same_tag, 200000) - loop,
         "alloc and free, ns": best(pair, 50000) - loop}
for i in range(10000):
    with memtally.tag(f"layer {i % 32}"):
        device.alloc("dram", i, i << 12, 4096, 512)
found["snapshot of 10,000 buffers, ms"] = best(lambda n: [memtally.snapshot() for _ in range(n)], 5) / 1e6
begin = time.process_time_ns()
for _ in range(20):
    with memtally.peak(): pass
found["an empty peak region with 10,000 buffers, ms"] = (time.process_time_ns() - begin) / 20e6
print(json.dumps(found))
"""

IMPORT = """
import time, os, sys
begin = time.perf_counter_ns()
import memtally
print(time.perf_counter_ns() - begin)
"""

OPERATIONS = """
import json, os, sys, time
import memtally.ttnn
import ttnn
device = ttnn.open_device(device_id=0)
x = ttnn.ones([1, 1, 32, 32], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
operation = ttnn.decorators.FastOperation
tagged = operation.__call__
plain = tagged.__wrapped__
def round_of(call, count=2000):
    operation.__call__ = call
    begin = time.process_time_ns()
    for _ in range(count):
        ttnn.add(x, x)
    return (time.process_time_ns() - begin) / count
class Nothing:
    python_fully_qualified_name = "ttnn.add"
def empty(self, *arguments, **keywords):
    return None
round_of(plain), round_of(tagged)
pairs = [(round_of(plain), round_of(tagged)) for _ in range(15)]
differences = sorted(with_tag - without for without, with_tag in pairs)
print("@" + json.dumps({"operation without tags, us": min(a for a, _ in pairs) / 1e3,
                        "operation with tags, us": min(b for _, b in pairs) / 1e3,
                        "difference, median of rounds, us": differences[len(differences) // 2] / 1e3}))
operation.__call__ = plain
ttnn.close_device(device)
"""


def run(python, program, site, folder, environment=None):
    variables = dict(environment or os.environ, MEMTALLY_DIR=folder, PYTHONPATH=str(site))
    done = subprocess.run([str(python), "-c", program], env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stdout


def show(title, figures):
    print(title)
    for name, value in figures.items():
        print(f"  {name:<48} {value:10.2f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--site", type=Path, default=ROOT / "build" / "python" / "site")
    parser.add_argument("--python", action="append", help="more than once: several")
    parser.add_argument("--ttnn", action="store_true", help="operations of the real TT-NN, too")
    options = parser.parse_args()
    if not (options.site / "memtally").is_dir():
        raise SystemExit(f"no package in {options.site}: ./dev test python puts it there")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        for python in options.python or [sys.executable]:
            found = json.loads(run(python, CALLS, options.site, folder))
            imports = sorted(int(run(python, IMPORT, options.site, folder)) for _ in range(21))
            found["import, ms"] = statistics.median(imports) / 1e6
            show(python, found)
        if options.ttnn:
            import environment

            board = environment.TtnnEnvironment().setup()
            out = run(board.python, OPERATIONS, options.site, folder, board.variables("n150"))
            line = next(line for line in out.splitlines() if line.startswith("@"))
            show(f"TT-NN {board.version}", json.loads(line[1:]))


if __name__ == "__main__":
    main()
