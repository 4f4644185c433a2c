# SPDX-License-Identifier: Apache-2.0
"""A client of the original allocation-server protocol, written from docs/formats/legacy-protocol.md alone."""

import os
import socket
import struct
import time

ALLOC, FREE, QUERY, RESPONSE, DUMP_REMAINING, DEVICE_INFO_QUERY, DEVICE_INFO_RESPONSE = range(1, 8)
CB_ALLOC, CB_FREE, KERNEL_LOAD, KERNEL_UNLOAD, DUMP_KERNELS = range(8, 13)
DRAM, L1, SYSTEM_MEMORY, L1_SMALL, TRACE = range(5)
ANSWER_ME = 255
GENERATIONS = (72, 112, 128, 144)

_HEAD = "=B3xiQB3xiQQ4Q"
_LAYOUT = {72: _HEAD, 112: _HEAD + "2Q6I", 128: _HEAD + "2Q2Q6I", 144: _HEAD + "2Q2Q6I4I"}
_HEAD_NAMES = ["type", "device_id", "size", "buffer_type", "process_id", "buffer_id", "timestamp", "dram", "l1", "l1_small",
               "trace"]
_CB_NAMES = ["cb", "kernel"]
_DEVICE_NAMES = ["total_dram_size", "total_l1_size", "arch_type", "num_dram_channels", "dram_size_per_channel",
                 "l1_size_per_core", "is_available", "num_devices"]
_RING_NAMES = ["ring_buffer_total", "ring_buffer_used", "num_programs", "pad"]
_NAMES = {72: _HEAD_NAMES, 112: _HEAD_NAMES + _DEVICE_NAMES, 128: _HEAD_NAMES + _CB_NAMES + _DEVICE_NAMES,
          144: _HEAD_NAMES + _CB_NAMES + _DEVICE_NAMES + _RING_NAMES}
assert all(struct.calcsize(layout) == size for size, layout in _LAYOUT.items())


def message(generation, type, device=0, size=0, buffer_type=0, buffer_id=0, pid=None):
    """The bytes of a request."""
    values = [type, device, size, buffer_type, os.getpid() if pid is None else pid, buffer_id, time.monotonic_ns()]
    return struct.pack(_LAYOUT[generation], *values, *[0] * (len(_NAMES[generation]) - len(values)))


class Client:
    def __init__(self, path, generation=144):
        self.generation = generation
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(60)
        self.socket.connect(str(path))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, type, **fields):
        self.socket.sendall(message(self.generation, type, **fields))

    def receive(self):
        data = b""
        while len(data) < self.generation:
            more = self.socket.recv(self.generation - len(data))
            assert more, f"the server closed the connection after {len(data)} bytes of an answer"
            data += more
        return dict(zip(_NAMES[self.generation], struct.unpack(_LAYOUT[self.generation], data)))

    def query(self, device=0):
        """What the server says once it has taken in all that was sent here before."""
        self.send(QUERY, device=device)
        return self.receive()

    def dump(self, type=DUMP_REMAINING, device=-1):
        self.send(type, device=device, buffer_type=ANSWER_ME)
        found = []
        while (answer := self.receive())["type"] != type:
            found.append(answer)
        assert answer["size"] == len(found)
        return found
