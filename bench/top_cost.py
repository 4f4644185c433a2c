#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What memtally top costs: time to the first frame, share of a core and memory, with many tracked processes.

Usage: top_cost.py [--command PATH] [--processes N] [--buffers N] [--seconds S] [--refresh MS] [--json]

Starts the processes itself (memtally replay: half of them hold still, half go on allocating and freeing), in a folder of
ledgers of their own, and runs top in a pseudo-terminal of 200x50. Beside it, in the same run, the programs of its kind
that are installed (htop, btop, nvtop), at the same rate. To be run on a machine that does nothing else.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import shutil
import signal
import statistics
import struct
import subprocess
import tempfile
import termios
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
COLUMNS, LINES = 200, 50


def peers(refresh_ms):
    """Name -> command line at the same rate."""
    lines = {"htop": ["htop", "-d", str(max(1, refresh_ms // 100))], "nvtop": ["nvtop", "-d", str(max(1, refresh_ms // 100))],
             "btop": ["btop", "-u", str(refresh_ms)]}
    return {name: line for name, line in lines.items() if shutil.which(name)}


class Watched:
    """A program in a pseudo-terminal."""

    def __init__(self, arguments, environment):
        self.begin = time.monotonic()
        self.written = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
            os.execvpe(arguments[0], [os.fspath(one) for one in arguments], environment)

    def read(self, seconds, until=None):
        """Reads for so long, or until the text was seen; returns the seconds since the start at which it was."""
        end = time.monotonic() + seconds
        tail = b""
        while time.monotonic() < end:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                break
            try:
                data = os.read(self.fd, 1 << 16)
            except OSError:  # it has ended
                break
            self.written += len(data)
            tail = (tail + data)[-(1 << 17):]
            if until is not None and until in tail:
                return time.monotonic() - self.begin
        return None

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory_bytes(self):
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0

    def end(self):
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + 5
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            self.read(0.05)
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        os.close(self.fd)


def measure(arguments, environment, seconds):
    watched = Watched(arguments, environment)
    watched.read(3)
    cpu, begin, written = watched.cpu_seconds(), time.monotonic(), watched.written
    watched.read(seconds)
    share = (watched.cpu_seconds() - cpu) / (time.monotonic() - begin)
    result = {"core_percent": 100 * share, "memory_bytes": watched.memory_bytes(),
              "written_bytes_per_second": (watched.written - written) / (time.monotonic() - begin)}
    watched.end()
    return result


def write_trace(path, buffers):
    with open(path, "w", encoding="ascii") as file:
        file.write("memtally-trace 1\ndevice 0 tenstorrent wormhole_b0 7\nkind 0 DRAM 12884901888 12 1073741824\n"
                   "kind 0 L1 67108864 64 1048576\n")
        for number in range(buffers):
            file.write(f"0 1 a 0 DRAM {number} {number * 4096} 4096 342\n")
        file.write("0 1 a 0 CB 1 100000 6400 100\n")


def wait_for(command, environment, processes):
    end = time.monotonic() + 120
    while time.monotonic() < end:
        done = subprocess.run([command, "ps", "--json", "--no-clean-up"], env=environment, capture_output=True, check=True)
        if len(json.loads(done.stdout)["processes"]) >= processes:
            return
        time.sleep(0.2)
    raise SystemExit("the processes do not start")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--command", default=ROOT / "build" / "release" / "src" / "tools" / "memtally")
    parser.add_argument("--processes", type=int, default=64)
    parser.add_argument("--buffers", type=int, default=16384, help="that each of those which hold still has")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--refresh", type=int, default=500, help="milliseconds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not os.access(arguments.command, os.X_OK):
        raise SystemExit(f"{arguments.command} is not there; build it, or name another with --command")

    folder = tempfile.mkdtemp(prefix="memtally-bench.", dir="/dev/shm")
    environment = {**os.environ, "MEMTALLY_DIR": folder, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    still = arguments.processes // 2
    started = []
    try:
        trace = Path(folder) / "hold.trace"
        write_trace(trace, arguments.buffers)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
        started.append(subprocess.Popen([arguments.command, "replay", trace, "--hold", "--processes", str(still)], **quiet))
        started.append(subprocess.Popen([arguments.command, "replay", "resnet50-n150", "--loop", "--speed", "recorded",
                                         "--processes", str(arguments.processes - still)], **quiet))
        wait_for(arguments.command, environment, arguments.processes)
        time.sleep(2)  # until they hold what they are to hold
        top = [arguments.command, "top", "-r", str(arguments.refresh)]
        first = []
        for _ in range(9):
            watched = Watched(top, environment)
            first.append(watched.read(10, until=b"Quit"))
            watched.end()
        results = {"top": measure(top, environment, arguments.seconds)}
        results["top"]["first_frame_seconds"] = statistics.median(one for one in first if one is not None)
        for name, line in peers(arguments.refresh).items():
            results[name] = measure(line, environment, arguments.seconds)
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()
        shutil.rmtree(folder)

    if arguments.json:
        print(json.dumps({"processes": arguments.processes, "refresh_ms": arguments.refresh, "results": results}, indent=2))
        return
    print(f"{arguments.processes} processes, every {arguments.refresh} ms, {COLUMNS}x{LINES}")
    print(f"first frame: {1e3 * results['top']['first_frame_seconds']:.1f} ms (median of {len(first)})")
    for name, result in results.items():
        ratio = result["core_percent"] / results["top"]["core_percent"] if results["top"]["core_percent"] else 0
        print(f"{name:6} {result['core_percent']:6.2f} % of a core  {result['memory_bytes'] / (1 << 20):6.1f} MiB  "
              f"{result['written_bytes_per_second'] / 1024:6.1f} KiB/s to the terminal  {ratio:5.1f} x top")


if __name__ == "__main__":
    main()
