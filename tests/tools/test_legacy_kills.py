# SPDX-License-Identifier: Apache-2.0
"""Clients of every generation, killed at random instants: what the server then says each had is what a plain model says
after the last message that it had sent, or the one that it was sending."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest
from legacy_daemon import DAEMON, PATIENCE, Daemon, wait_until
from legacy_messages import ALLOC, CB_ALLOC, CB_FREE, DRAM, FREE, GENERATIONS, KERNEL_LOAD, L1, L1_SMALL, TRACE

pytestmark = pytest.mark.skipif(not DAEMON.exists(), reason=f"there is no {DAEMON}; build it")
ROUNDS = int(os.environ.get("MEMTALLY_LEGACY_KILLS", "12"))
KINDS = {DRAM: "dram", L1: "l1", L1_SMALL: "l1_small", TRACE: "trace"}
MOST = 200_000


def operations(seed):
    """What a client sends: (type, id, size, kind), without end."""
    chance = random.Random(seed)
    live, number = [], 0
    while True:
        pick = chance.random()
        if live and pick < 0.45:
            type, id, size, kind = live.pop(chance.randrange(len(live)))
            yield (CB_FREE if type == CB_ALLOC else FREE, id, size, kind)
        else:
            number += 1
            type = CB_ALLOC if pick > 0.97 else KERNEL_LOAD if pick > 0.96 else ALLOC
            made = (type, number, chance.randrange(1, 1 << 20), chance.choice(list(KINDS)) if type == ALLOC else 0)
            if type != KERNEL_LOAD:
                live.append(made)
            yield made


class Model:
    """Bytes and buffers by kind."""

    def __init__(self):
        self.live = {}

    def take(self, operation):
        type, id, size, kind = operation
        if type in (FREE, CB_FREE):
            del self.live[("cb", id) if type == CB_FREE else (KINDS[kind], id)]
        else:
            self.live[({CB_ALLOC: "cb", KERNEL_LOAD: "kernel"}.get(type) or KINDS[kind], id)] = size

    def sums(self):
        sums = {}
        for (kind, _), size in self.live.items():
            bytes_, count = sums.get(kind, (0, 0))
            sums[kind] = (bytes_ + size, count + 1)
        return sums


def client(path, generation, seed):
    """The client's process: sends, and says on standard output how many messages were sent as a whole."""
    from legacy_messages import Client
    connection = Client(path, generation)
    for number, (type, id, size, kind) in zip(range(MOST), operations(seed)):
        connection.send(type, size=size, buffer_type=kind, buffer_id=id, device=seed % 8)
        os.write(1, (number + 1).to_bytes(8, "little"))
    os.write(1, b"enough")
    time.sleep(PATIENCE)


def last_count(pipe):
    """The last number that the client wrote; it is dead, so the pipe ends."""
    data = pipe.read()
    return int.from_bytes(data[len(data) // 8 * 8 - 8 : len(data) // 8 * 8], "little") if len(data) >= 8 else 0


def test_killed_clients(memtally):
    chance = random.Random(5)
    with Daemon(memtally.folder, "[legacy]\nkeep_dead = 4096\n", memtally.environment) as daemon:
        checked = 0
        for round in range(ROUNDS):
            started = []
            for number, generation in enumerate(GENERATIONS):
                seed = round * 100 + number
                words = [sys.executable, __file__, daemon.socket, generation, seed]
                # Its output goes to a file: a pipe would fill, and hold the client up.
                output = open(memtally.folder / f"sent.{seed}", "w+b", buffering=0)
                started.append((seed, output, subprocess.Popen([str(word) for word in words], stdout=output)))
            for _, output, process in started:
                wait_until(lambda: os.fstat(output.fileno()).st_size > 0 or process.poll() is not None, "the client")
            time.sleep(chance.random() * 0.3)
            for _, _, process in started:
                process.send_signal(signal.SIGKILL)
            for seed, output, process in started:
                assert process.wait(PATIENCE) == -signal.SIGKILL
                output.seek(0)
                sent = last_count(output)
                output.close()
                found = wait_until(lambda: [each for each in memtally.json("ps", "--all")["processes"]
                                            if each["pid"] == process.pid and each["state"] == "dead"], "its death to be known")
                said = {account["kind"]: (account["live"]["bytes_requested"], account["live"]["count"])
                        for account in found[0]["accounts"] if account["live"]["count"]}
                model, possible = Model(), []
                stream = operations(seed)
                for _ in range(sent):
                    model.take(next(stream))
                possible.append(model.sums())
                model.take(next(stream))
                possible.append(model.sums())
                assert said in possible, (seed, sent)
                assert found[0]["anomalies"]["unknown_free"]["count"] == 0
                checked += sent
        assert daemon.stop() == 0
        assert "0 unknown buffers freed" in daemon.log and checked > 100 * ROUNDS


if __name__ == "__main__":
    client(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
