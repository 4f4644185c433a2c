# SPDX-License-Identifier: Apache-2.0
"""memtallyd and programs that speak the original allocation-server protocol, as memtally shows them."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from document_schemas import validate
from legacy_daemon import DAEMON, PATIENCE, Daemon, wait_until
from legacy_messages import (ALLOC, CB_ALLOC, CB_FREE, DEVICE_INFO_QUERY, DRAM, DUMP_KERNELS, FREE, GENERATIONS, KERNEL_LOAD,
                             KERNEL_UNLOAD, L1, L1_SMALL, SYSTEM_MEMORY, TRACE, Client, message)

pytestmark = pytest.mark.skipif(not DAEMON.exists(), reason=f"there is no {DAEMON}; build it")


@pytest.fixture
def daemon(memtally):
    with Daemon(memtally.folder, environment=memtally.environment) as started:
        yield started


def settings(text):
    return "[legacy]\n" + text


def legacy_processes(memtally):
    document = validate(memtally.json("ps", "--all"))
    return [process for process in document["processes"] if process["source"] == "legacy"]


def accounts(process):
    """Live bytes and buffers by kind."""
    return {account["kind"]: (account["live"]["bytes_requested"], account["live"]["count"])
            for account in process["accounts"]}


@contextlib.contextmanager
def child(daemon, code, **popen):
    """A Python process with a Client `c`; it runs `code` and then waits for its standard input to end."""
    text = f"import sys, os; sys.path.insert(0, {str(Path(__file__).parent)!r})\n" \
           f"from legacy_messages import *\nc = Client({str(daemon.socket)!r})\n{code}\n" \
           "print('ready', flush=True)\nsys.stdin.read()\n"
    process = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen)
    try:
        assert process.stdout.readline() == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_every_generation(daemon, memtally, generation):
    with Client(daemon.socket, generation) as client:
        for kind, size in ((DRAM, 1000), (L1, 200), (SYSTEM_MEMORY, 30), (L1_SMALL, 4), (TRACE, 5000)):
            client.send(ALLOC, device=3, size=size, buffer_type=kind, buffer_id=0x1000 + kind)
        client.send(ALLOC, device=3, size=77, buffer_type=DRAM, buffer_id=0x2000)
        client.send(FREE, device=3, buffer_id=0x2000)
        client.send(CB_ALLOC, device=3, size=64, buffer_id=1)
        client.send(CB_ALLOC, device=3, size=32, buffer_id=2)
        client.send(CB_FREE, device=3, size=32, buffer_id=2)
        client.send(KERNEL_LOAD, device=3, size=512, buffer_type=1, buffer_id=9)
        client.send(KERNEL_LOAD, device=3, size=8, buffer_type=0, buffer_id=10)
        client.send(KERNEL_UNLOAD, device=3, size=8, buffer_id=10)
        answer = client.query(device=3)
        assert (answer["type"], answer["device_id"]) == (4, 3)
        assert [answer[name] for name in ("dram", "l1", "l1_small", "trace")] == [1000, 200, 4, 5000]
        if generation >= 128:
            assert (answer["cb"], answer["kernel"]) == (64, 512)
        client.send(DEVICE_INFO_QUERY, device=-1)
        info = client.receive()
        assert info["type"] == 7
        if generation >= 112:
            assert info["num_devices"] == 4
        assert sorted((entry["type"], entry["size"]) for entry in client.dump()) == [
            (ALLOC, 4), (ALLOC, 30), (ALLOC, 200), (ALLOC, 1000), (ALLOC, 5000), (CB_ALLOC, 64)]
        assert [entry["size"] for entry in client.dump(DUMP_KERNELS)] == [512]
        [process] = legacy_processes(memtally)
        assert process["pid"] == os.getpid() and process["state"] == "alive"
        assert accounts(process) == {"dram": (1000, 1), "l1": (200, 1), "system_memory": (30, 1), "l1_small": (4, 1),
                                     "trace": (5000, 1), "cb": (64, 1), "kernel": (512, 1)}
        listed = validate(memtally.json("buffers"))
        assert len(str(listed)) > 0 and memtally.run("buffers").stdout.count("0x1000") >= 1


def test_what_the_original_did_with_repeated_and_unknown_ones(daemon, memtally):
    with Client(daemon.socket) as client:
        for _ in range(3):
            client.send(ALLOC, size=100, buffer_type=L1, buffer_id=7)
        assert client.query()["l1"] == 100
        client.send(FREE, buffer_id=7)
        client.send(FREE, buffer_id=7)
        assert client.query()["l1"] == 100
        client.send(FREE, buffer_id=7)
        assert client.query()["l1"] == 0
        client.send(FREE, buffer_id=7)
        client.send(CB_FREE, size=50, buffer_id=1)  # wrapped in the original
        # One address in two memories: two buffers; a free that does not say which takes the newer one.
        client.send(ALLOC, size=1, buffer_type=DRAM, buffer_id=8)
        client.send(ALLOC, size=2, buffer_type=L1, buffer_id=8)
        client.send(FREE, buffer_id=8)
        answer = client.query()
        assert (answer["dram"], answer["l1"], answer["cb"]) == (1, 0, 0)
        [process] = legacy_processes(memtally)
        counts = {name: process["anomalies"][name]["count"] for name in ("unknown_free", "replaced", "ambiguous")}
        assert counts == {"unknown_free": 2, "replaced": 2, "ambiguous": 1}
    assert daemon.stop() == 0
    assert "freed unknown buffer 0x7" in daemon.log
    assert "final statistics: 15 messages" in daemon.log and "2 unknown buffers freed" in daemon.log


def test_messages_in_pieces(daemon):
    """Whatever the pieces, also where a first message comes so slowly that it was taken for a shorter one."""
    for generation in GENERATIONS:
        stream = b"".join(message(generation, ALLOC, device=generation, size=1, buffer_id=n) for n in range(20))
        with Client(daemon.socket, generation) as client:
            for byte in stream:
                client.socket.sendall(bytes([byte]))
            assert client.query(device=generation)["dram"] == 20
    with Client(daemon.socket, 144) as client, Client(daemon.socket, 144) as other:
        data = message(144, ALLOC, device=1, size=5, buffer_id=1)
        client.socket.sendall(data[:72])
        wait_until(lambda: other.query(device=1)["dram"] == 5, "a first message of 72 bytes")
        client.socket.sendall(data[72:])
        client.send(ALLOC, device=1, size=6, buffer_id=2)
        assert client.query(device=1)["dram"] == 11


def test_disconnects_at_every_byte(daemon, memtally):
    for generation in GENERATIONS:
        data = message(generation, ALLOC, device=5, size=1, buffer_id=1)
        for cut in range(len(data)):
            with Client(daemon.socket, generation) as client:
                client.socket.sendall(data[:cut])
    with Client(daemon.socket) as client:
        client.send(ALLOC, device=6, size=9, buffer_id=1)
        assert client.query(device=6)["dram"] == 9
    assert daemon.stop() == 0


def test_death_and_disconnect_make_leaks(daemon, memtally):
    with child(daemon, "c.send(ALLOC, size=4096, buffer_id=1, buffer_type=L1); c.query()") as process:
        with Client(daemon.socket) as client:
            assert client.query()["l1"] == 4096
            [shown] = legacy_processes(memtally)
            assert (shown["pid"], shown["state"]) == (process.pid, "alive")
            process.kill()
            wait_until(lambda: client.query()["l1"] == 0, "the end of what the dead held")
    [shown] = legacy_processes(memtally)
    assert (shown["pid"], shown["state"], accounts(shown)) == (process.pid, "dead", {"l1": (4096, 1)})
    assert "4.0 KiB" in memtally.run("leaks", code=None).stdout
    with child(daemon, "c.send(ALLOC, size=10, buffer_id=1); c.query(); c.socket.close()"):
        wait_until(lambda: [p["state"] for p in legacy_processes(memtally)].count("detached") == 1, "a detached process")


def test_a_short_life_is_not_missed(daemon, memtally):
    """A process that is gone before the server has read a byte of it."""
    daemon.send_signal(signal.SIGSTOP)
    code = "c.send(ALLOC, size=123, buffer_id=1)"
    with child(daemon, code) as process:
        pass
    daemon.send_signal(signal.SIGCONT)
    [shown] = wait_until(lambda: legacy_processes(memtally), "the dead process")
    assert (shown["pid"], shown["state"], accounts(shown)) == (process.pid, "dead", {"dram": (123, 1)})


def test_the_kernel_names_the_sender(daemon, memtally):
    """Children of fork on the parent's socket, and lies."""
    code = "c.send(ALLOC, size=1, buffer_id=1, pid=1)\nc.query()\n" \
           "if os.fork() == 0:\n c.send(ALLOC, size=10, buffer_id=1)\n c.query()\n print('ready', flush=True)\n" \
           " sys.stdin.read(); os._exit(0)\n"
    with child(daemon, code) as process:
        assert process.stdout.readline() == b"ready\n"
        with Client(daemon.socket) as client:
            assert client.query()["dram"] == 11
        shown = {p["pid"]: p for p in legacy_processes(memtally)}
        forked = [pid for pid in shown if pid != process.pid]
        assert len(forked) == 1
        try:
            assert accounts(shown[process.pid]) == {"dram": (1, 1)} and accounts(shown[forked[0]]) == {"dram": (10, 1)}
            assert "1 messages named a pid that is none of its own, the last of them 1" in str(shown[process.pid])
        finally:
            os.kill(forked[0], signal.SIGKILL)


def test_a_dead_socket_is_taken_over_and_a_live_one_is_not(memtally):
    first = Daemon(memtally.folder, environment=memtally.environment).start()
    first.process.kill()
    first.process.wait()
    assert first.socket.exists()
    with Daemon(memtally.folder, environment=memtally.environment) as second:
        for stopped in (False, True):
            if stopped:
                second.send_signal(signal.SIGSTOP)
            third = Daemon(memtally.folder, environment=memtally.environment).start()
            assert third.stop() == 1 and "another memtallyd has it" in third.log
        second.send_signal(signal.SIGCONT)
        with Client(second.socket) as client:
            client.query()
        assert second.stop() == 0
        assert not second.socket.exists()
    # A server that knows no lock: the original.
    with socket.socket(socket.AF_UNIX) as original:
        original.bind(str(first.socket))
        original.listen()
        other = Daemon(memtally.folder, environment=memtally.environment).start()
        assert other.stop() == 1 and "a server is listening there" in other.log
    first.socket.unlink()
    first.socket.write_text("not a socket")
    other = Daemon(memtally.folder, environment=memtally.environment).start()
    assert other.stop() == 1 and "is there and is no socket" in other.log
    assert first.socket.read_text() == "not a socket"


def test_limits_and_refusals(memtally):
    text = settings("most_connections = 3\nmost_buffers = 2\n")
    with Daemon(memtally.folder, text, memtally.environment) as daemon:
        with Client(daemon.socket) as client:
            for number in range(5):
                client.send(ALLOC, size=10, buffer_id=number)
            assert client.query()["dram"] == 20
            [process] = legacy_processes(memtally)
            assert "3 buffers of 30 bytes were refused" in str(process)
            others = [Client(daemon.socket) for _ in range(2)]
            refused = Client(daemon.socket)
            assert refused.socket.recv(1) == b""
            for other in others:
                other.socket.close()
        wait_until(lambda: ": 0 connections" in memtally.run("doctor", code=None).stdout, "the end of all connections")
        bad = Client(daemon.socket)
        bad.socket.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert bad.socket.recv(1) == b""
        text = memtally.run("doctor", code=None).stdout
        assert "all connections are taken" in text and "no messages of any generation" in text
        assert daemon.stop() == 0
    for reason in ("all connections are taken", "no messages of any generation", "most_buffers"):
        assert reason in daemon.log


def test_who_is_silent_is_closed(memtally):
    with Daemon(memtally.folder, settings("idle_seconds = 1\n"), memtally.environment) as daemon:
        silent = Client(daemon.socket)
        silent.send(ALLOC, size=10, buffer_id=1)
        assert silent.socket.recv(1) == b""
        assert "silent for too long" in memtally.run("doctor", code=None).stdout
        assert daemon.stop() == 0 and "it was silent" in daemon.log


def test_who_sends_too_fast_waits_and_loses_nothing(memtally):
    with Daemon(memtally.folder, settings("most_messages_a_second = 2000\n"), memtally.environment) as daemon:
        with Client(daemon.socket) as client:
            for number in range(6000):
                client.send(ALLOC, size=1, buffer_id=number)
            assert client.query()["dram"] == 6000


def test_wrong_settings(memtally):
    for text, what in (("[legacy]\nmost_bufers = 1\n", "there is no setting most_bufers"),
                       ("[legacy]\nsocket = 5\n", "line 2: legacy: socket takes a text"),
                       ("[legacy]\nidle_seconds = -1\n", "idle_seconds takes a whole number from 0"),
                       ("[legacy\n", "line 1"), ("log_level = \"loud\"\n", "log_level takes one of"),
                       ("[legacy]\ngroup = \"no such group\"\n", "there is no such group")):
        daemon = Daemon(memtally.folder, text, memtally.environment).start()
        assert daemon.stop() == 1 and what in daemon.log, daemon.log


def test_group(memtally):
    if os.geteuid() != 0:
        pytest.skip("needs root, to be another user")
    with Daemon(memtally.folder, settings('group = "daemon"\n'), memtally.environment) as daemon:
        memtally.folder.chmod(0o755)
        code = "import sys, socket; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(60)\n" \
               "try:\n s.sendall(bytes([1]) + bytes(19) + (1).to_bytes(4, 'little') + bytes(48))\n print(len(s.recv(1)))\n" \
               "except (ConnectionResetError, BrokenPipeError): print(0)"
        run = [sys.executable, "-c", code, str(daemon.socket)]
        assert subprocess.run(run, user=65534, group=65534, extra_groups=[], capture_output=True, check=True,
                              timeout=PATIENCE).stdout == b"0\n"
        process = subprocess.Popen(run, user=65534, group=65534, extra_groups=[1])
        with Client(daemon.socket) as client:
            wait_until(lambda: client.dump(), "the buffer of a member of the group")
        process.kill()
        process.wait()
    assert "not in the group" in daemon.log_so_far()


def test_many_connections_and_devices(daemon, memtally):
    clients = [Client(daemon.socket, GENERATIONS[n % 4]) for n in range(1000)]
    for number, client in enumerate(clients):
        client.send(ALLOC, device=number, size=number + 1, buffer_id=number)
        client.send(ALLOC, device=number, size=0, buffer_id=5000)
    for number, client in enumerate(clients):
        assert client.query(device=number)["dram"] == number + 1
    [process] = legacy_processes(memtally)
    assert len(process["accounts"]) == 1000
    for client in clients:
        client.socket.close()


def test_a_stopped_server_does_not_stop_memtally(daemon, memtally):
    daemon.send_signal(signal.SIGSTOP)
    document = validate(memtally.json("ps"))
    assert any("memtallyd does not answer" in problem["what"] for problem in document["problems"])


def test_monitor(memtally):
    text = settings("[[legacy.device]]\nnumber = 1\ndram_bytes = 1000000\nl1_bytes = 1000\narchitecture = 2\n")
    with Daemon(memtally.folder, text, memtally.environment) as daemon, Client(daemon.socket) as client:
        client.send(ALLOC, device=1, size=500_000, buffer_type=DRAM, buffer_id=1)
        client.send(ALLOC, device=1, size=950, buffer_type=L1, buffer_id=2)
        client.send(ALLOC, device=2, size=7, buffer_type=L1, buffer_id=2)
        client.query()
        client.send(DEVICE_INFO_QUERY, device=1)
        info = client.receive()
        assert (info["total_dram_size"], info["arch_type"], info["is_available"], info["num_devices"]) == (1000000, 2, 1, 3)
        frame = memtally.run("monitor", "-d", "1", "-n", "1").stdout
        assert "[" + "#" * 15 + "." * 15 + "] 50" in frame and "Device 2" not in frame and frame.count("Device") == 1
        assert "\x1b[31m" in memtally.run("--color", "always", "monitor", "-d", "1", "-n", "1").stdout
        every = memtally.run("monitor", "-a", "-r", "10", "-n", "3").stdout
        assert every.count("Device ") == 6
        assert "No process" in memtally.run("monitor", "-n", "1").stdout
        assert memtally.run("monitor", "-r", "1", code=2).stderr
