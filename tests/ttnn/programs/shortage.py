# SPDX-License-Identifier: Apache-2.0
"""Runs into what does not fit, and says what the framework says of it: shortage.py memory|clash [TIMES]"""

import os
import signal
import sys

import ttnn


def matrix(size, memory):
    return ttnn.zeros([1, 1, size, size], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device, memory_config=memory)


def ask_too_much():
    ttnn.empty([1, 1, 1 << 18, 1 << 17], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)


def fill_until_a_clash():
    """L1 buffers come down from the top, until an operation's own meet them."""
    for _ in range(100):
        kept.append(matrix(1024, ttnn.L1_MEMORY_CONFIG))
        ttnn.softmax(wide)


# A program that has children of its own, and waits for any of them.
signals = []
signal.signal(signal.SIGCHLD, lambda number, frame: signals.append(number))
device = ttnn.open_device(device_id=0)
kept, wide = [], matrix(2048, ttnn.DRAM_MEMORY_CONFIG)
what = {"memory": ask_too_much, "clash": fill_until_a_clash}[sys.argv[1]]
for _ in range(int(sys.argv[2]) if len(sys.argv) > 2 else 1):
    try:
        what()
        print("it fits")
    except RuntimeError as error:
        print(next(line for line in str(error).splitlines() if "Out of Memory" in line or "clash" in line))
try:
    print(os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    print("no child")
print(len(signals), "signals")
ttnn.close_device(device)
