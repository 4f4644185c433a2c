# SPDX-License-Identifier: Apache-2.0
"""Programs of the original interface: what the senders promise, and the failure that made them necessary."""

import contextlib
import os
import select
import signal
import subprocess
import threading

import pytest
from conftest import BUILD_DIR
from legacy_daemon import DAEMON, PATIENCE, Daemon, wait_until

PROGRAM = BUILD_DIR / "tests" / "daemon" / "legacy_program"
BROKEN = BUILD_DIR / "tests" / "daemon" / "legacy_program_broken"
EXAMPLE = BUILD_DIR / "examples" / "memtally_example_legacy_client"
TRANSPORTS = ["blocking", "hybrid", "async", "batch"]
KINDS = ["dram", "l1", "system_memory", "l1_small", "trace"]

pytestmark = pytest.mark.skipif(not (DAEMON.exists() and PROGRAM.exists()), reason=f"there is no {PROGRAM}; build it")


@pytest.fixture
def daemon(memtally):
    with Daemon(memtally.folder, environment=memtally.environment) as started:
        yield started


def setting(memtally, daemon, transport, **more):
    environment = {**memtally.environment, "TT_ALLOC_SOCKET": str(daemon.socket), "TT_ALLOC_TRANSPORT": transport}
    return {**environment, **{name: str(value) for name, value in more.items()}}


class Running:
    """The program at work; `expected` has (device, kind): bytes once it is ready."""

    def __init__(self, environment, *arguments, program=PROGRAM):
        self.process = subprocess.Popen([program, *map(str, arguments)], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.expected = {}
        self.child = 0

    def wait(self):
        for line in self.process.stdout:
            words = line.split()
            if words[0] == "ready":
                self.child = int(words[1])
                break
            self.expected[int(words[0]), KINDS[int(words[1])]] = int(words[2])
        assert self.expected, self.process.stderr.read()
        return self

    def end(self):
        _, errors = self.process.communicate("", timeout=PATIENCE)
        return errors


@contextlib.contextmanager
def running(*arguments, **options):
    program = Running(*arguments, **options)
    try:
        yield program
    finally:
        program.process.kill()
        program.process.wait(PATIENCE)


def shown(memtally, pid):
    """(device, kind): bytes of a process, without what holds nothing; and its unknown frees."""
    document = memtally.json("ps", "--all")
    for process in document["processes"]:
        if process["pid"] == pid:
            devices = {device["index"]: device["local_index"] for device in process["devices"]}
            live = {(devices[account["device"]], account["kind"]): account["live"]["bytes_requested"]
                    for account in process["accounts"] if account["live"]["count"] != 0}
            return live, process["anomalies"]["unknown_free"]["count"]
    return {}, 0


def assert_exact(memtally, program, pid=None):
    pid = pid or program.process.pid
    wait_until(lambda: shown(memtally, pid)[0] == program.expected, f"{program.expected} of {pid}, not {shown(memtally, pid)}")
    assert shown(memtally, pid)[1] == 0


def test_the_original_failure_is_reproduced_and_named(daemon, memtally):
    environment = setting(memtally, daemon, "broken", TT_ALLOC_SNDBUF=1)
    daemon.send_signal(signal.SIGSTOP)  # a server that is slower than the program
    with running(environment, 4, 8, 100, 0, program=BROKEN) as program:
        program.wait()
        daemon.send_signal(signal.SIGCONT)
        _, unknown = wait_until(lambda: (found := shown(memtally, program.process.pid))[1] > 0 and found, "unknown frees")
        assert unknown > 0
        text = memtally.run("doctor", code=None).stdout
        assert f"pid {program.process.pid} (" in text and "unknown buffers" in text
    assert daemon.stop() == 0
    assert "freed unknown buffer" in daemon.log and "the sender loses messages" in daemon.log


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("log", [0, 1])
def test_no_unknown_buffers(daemon, memtally, transport, log):
    """The same program, and all that it had against it: tiny socket buffers, signals, a server that is stopped."""
    environment = setting(memtally, daemon, transport, TT_ALLOC_SNDBUF=1, TT_BUFFER_DEBUG_LOG=log, TT_ALLOC_QUEUE=1000)
    daemon.send_signal(signal.SIGSTOP)
    with running(environment, 4, 8, 200, 2, "signals") as program:
        threading.Timer(0.3, lambda: daemon.send_signal(signal.SIGCONT)).start()
        assert_exact(memtally, program.wait())
        assert program.end() == ""
    assert daemon.stop() == 0 and "unknown buffer 0x" not in daemon.log and " 0 unknown buffers freed" in daemon.log


@pytest.mark.parametrize("transport", [*TRANSPORTS, "ledger"])
def test_a_child_of_fork_reports_for_itself(daemon, memtally, transport):
    with running(setting(memtally, daemon, transport), 2, 2, 50, 3, "fork") as program:
        program.wait()
        assert_exact(memtally, program)
        assert_exact(memtally, program, program.child)
        program.end()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_server_that_comes_back_is_told_again(memtally, transport):
    first = Daemon(memtally.folder, environment=memtally.environment).start()
    # As it works, the server dies at some instant, and another one comes.
    with running(setting(memtally, first, transport, TT_BUFFER_DEBUG_LOG=1), 2, 4, 300, 8) as program:
        wait_until(lambda: shown(memtally, program.process.pid)[0], "first reports")
        first.process.kill()
        first.process.wait(PATIENCE)
        with Daemon(memtally.folder, environment=memtally.environment) as second:
            assert_exact(memtally, program.wait())
            assert "unknown buffer 0x" not in second.log_so_far()
            program.end()


def test_no_server_at_all(memtally):
    """Reports are kept; one warning; the program is not held up."""
    for transport in TRANSPORTS:
        absent = Daemon(memtally.folder, environment=memtally.environment)
        with running(setting(memtally, absent, transport), 2, 2, 100, 2) as program:
            errors = program.wait().end()
            assert program.process.returncode == 0
            assert errors.count("no allocation server at") == 1, errors


@pytest.mark.parametrize("transport", ["async", "batch"])
def test_what_a_full_queue_loses_is_counted_and_said_once(daemon, memtally, transport):
    environment = setting(memtally, daemon, transport, TT_ALLOC_SNDBUF=1, TT_ALLOC_QUEUE=64, TT_ALLOC_QUEUE_FULL="drop",
                          TT_ALLOC_EXIT_MS=100)
    daemon.send_signal(signal.SIGSTOP)
    with running(environment, 2, 2, 200, 1) as program:
        errors = program.wait().end()
        assert program.process.returncode == 0
        assert errors.count("lost") == 2, errors  # when it began, and the sum at the end
    daemon.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("transport", [*TRANSPORTS, "ledger"])
def test_the_example(daemon, memtally, transport):
    environment = setting(memtally, daemon, transport)
    process = subprocess.Popen([EXAMPLE], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert b"two devices" in process.stdout.readline()
    each = {"dram": 384 << 20, "trace": 2 << 20, "l1": 1 << 20, "l1_small": 16384, "kernel": 65536}
    expected = {(device, kind): size for device in range(2) for kind, size in each.items()}
    wait_until(lambda: shown(memtally, process.pid)[0] == expected, f"{expected}, not {shown(memtally, process.pid)}")
    screen = memtally.run("ps").stdout
    assert "384.0 MiB" in screen
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_killed_at_random_instants(daemon, memtally, transport):
    """What a killed program leaves is a prefix of what it reported: no unknown frees, nothing that it did not hold."""
    for delay in range(6):
        with running(setting(memtally, daemon, transport), 2, 2, 100, 100000) as program:
            wait_until(lambda: shown(memtally, program.process.pid)[0], "first reports")
            threading.Event().wait(delay * 0.007)
            program.process.kill()
            program.process.wait(PATIENCE)
            wait_until(lambda: is_dead(memtally, program.process.pid), "the leaks of a dead process")
            live, unknown = shown(memtally, program.process.pid)
            assert unknown == 0
            most = 2 * sum(1000 + 7 + buffer for buffer in range(100))
            assert all(size <= most for size in live.values())


@pytest.mark.parametrize("transport", [*TRANSPORTS, "ledger"])
@pytest.mark.parametrize("trace", ["llama-1b-n150", "leak-until-oom-n150"])
def test_recorded_traces(daemon, memtally, transport, trace):
    """What a replay by a transport leaves is what it leaves by the ledger."""
    memtally.environment["TT_ALLOC_SOCKET"] = str(daemon.socket)
    sums = []
    for option in (["--transport", transport], []):
        process = memtally.start("replay", trace, "--hold", "--name", "player", *option)
        try:
            assert select.select([process.stdout], [], [], PATIENCE)[0] and b"holding" in process.stdout.readline()
            if option:
                wait_until(lambda: quiet(memtally), "the end of what is under way")
            found = player(memtally)
            assert found["unknown"] == 0
            sums.append(found["live"])
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)
    assert sums[0] == sums[1] and (sums[0] or "leak" not in trace)


def quiet(memtally):
    """Whether the totals of a player do not change any more."""
    first = player(memtally)
    threading.Event().wait(0.2)
    return first is not None and first == player(memtally)


def player(memtally):
    """Live bytes by kind of the living replay, of the kinds that the original interface has calls for."""
    for process in memtally.json("ps")["processes"]:
        if process["command"] != "player" or process["state"] != "alive":
            continue
        live = {account["kind"]: account["live"]["bytes_requested"] for account in process["accounts"]
                if account["live"]["count"] and account["kind"] in (*KINDS, "kernel")}
        return {"live": live, "unknown": process["anomalies"]["unknown_free"]["count"]}
    return None


def is_dead(memtally, pid):
    states = [process["state"] for process in memtally.json("ps", "--all")["processes"] if process["pid"] == pid]
    return states == ["dead"] or states == []


def test_nothing_is_counted_twice(daemon, memtally):
    """One process that reports by the ledger and by the socket: the ledger speaks."""
    code = "import sys, socket, os; sys.path.insert(0, sys.argv[1]); from legacy_messages import *\n" \
           "import ctypes; lib = ctypes.CDLL(sys.argv[3])\n" \
           "f = getattr(lib, '_ZN2tt8tt_metal16AllocationClient17report_allocationEimhm')\n" \
           "f.argtypes = [ctypes.c_int, ctypes.c_uint64, ctypes.c_uint8, ctypes.c_uint64]\n" \
           "f(0, 1000, 1, 5)\nc = Client(sys.argv[2]); c.send(ALLOC, size=1000, buffer_type=L1, buffer_id=5)\n" \
           "c.send(ALLOC, size=30, buffer_type=DRAM, buffer_id=6); c.query(); print('ready', flush=True); sys.stdin.read()"
    library = BUILD_DIR / "src" / "track" / "legacy_client" / "libmemtally_allocation_client.so.0"
    process = subprocess.Popen([os.sys.executable, "-c", code, os.path.dirname(__file__), daemon.socket, library],
                               env=memtally.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    document = memtally.json("ps", "--all")
    [shown_process] = [one for one in document["processes"] if one["pid"] == process.pid]
    live = {account["kind"]: (account["live"]["bytes_requested"], account["source"]) for account in shown_process["accounts"]
            if account["live"]["count"]}
    assert live == {"l1": (1000, "ledger"), "dram": (30, "legacy")}
    assert document["disagreements"] == []
    process.communicate(timeout=PATIENCE)
