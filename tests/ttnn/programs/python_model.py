# SPDX-License-Identifier: Apache-2.0
"""A model of two layers with tags by operation and module, and a layer that leaks; what memtally says of it as JSON."""

import json

import memtally.ttnn
import ttnn

device = ttnn.open_device(device_id=0)


def ones(size=256):
    return ttnn.ones([1, 1, size, size], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)


class Attention:
    def __init__(self):
        self.weight = ones()

    def __call__(self, x):
        return ttnn.matmul(x, self.weight, memory_config=ttnn.L1_MEMORY_CONFIG)


class Layer:
    kept = []

    def __init__(self, number):
        self.number = number
        self.attention = Attention()

    def forward(self, x):
        out = self.attention(x)
        if self.number == 1:
            self.kept.append(ttnn.clone(out))
        return out

    def __call__(self, x):
        return self.forward(x)


class Model:
    def __init__(self):
        self.layers = [Layer(number) for number in range(2)]

    def __call__(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


memtally.ttnn.tag_modules(Layer, Attention)
model = Model()
weights = memtally.snapshot().by("tag", "dram")
x = ones()
model(x)
before = memtally.snapshot()
peaks = {"dram": 0, "l1": 0}
with memtally.peak() as region:
    for step in range(3):
        model(x)
leaks = memtally.leaks(before).by("tag")
memtally.ttnn.tag_modules(model)
before = memtally.snapshot()
model(x)
named = memtally.leaks(before).by("tag")
report = memtally.ttnn.report()
l1 = report.memory("l1")
view = ttnn.get_memory_view(device, ttnn.BufferType.L1)

# The peak of a region, against the highest of what the allocator says after each allocation.
import random  # noqa: E402

chance, held = random.Random(7), []
with memtally.peak() as exact:
    want = {}
    for step in range(300):
        if held and chance.random() < 0.45:
            ttnn.deallocate(held.pop(chance.randrange(len(held))))
        else:
            memory = chance.choice([ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG])
            shape = ttnn.Shape([1, 1, 32 * chance.randint(1, 8), 32 * chance.randint(1, 8)])
            held.append(ttnn.allocate_tensor_on_device(shape, ttnn.bfloat16, ttnn.TILE_LAYOUT, device, memory))
        for kind in ("dram", "l1"):
            now = ttnn.get_memory_view(device, getattr(ttnn.BufferType, kind.upper()))
            want[kind] = max(want.get(kind, 0), now.total_bytes_allocated_per_bank * now.num_banks)
text = repr(report)
ttnn.close_device(device)
print("@" + json.dumps({
    "weights": weights, "leaks": leaks, "named": named, "peak": {kind: exact.of(kind) for kind in want}, "want": want,
    "exact": exact.exact and region.exact, "text": text,
    "l1": [l1.free_per_bank == view.total_bytes_free_per_bank,
           l1.largest_free_per_bank == view.largest_contiguous_bytes_free_per_bank, list(l1.owners())]}))
