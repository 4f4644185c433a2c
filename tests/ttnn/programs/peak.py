# SPDX-License-Identifier: Apache-2.0
"""Allocates and frees tensors, and says what the allocator itself says at the highest point: peak.py

Nothing but these allocations happens, so that the highest of what it says after each of them is the peak.
"""

import json
import random

import ttnn

KINDS = {"dram": ttnn.BufferType.DRAM, "l1": ttnn.BufferType.L1}

device = ttnn.open_device(device_id=0)
chance = random.Random(7)
held, peak = [], dict.fromkeys(KINDS, 0)
for step in range(300):
    if held and chance.random() < 0.45:
        ttnn.deallocate(held.pop(chance.randrange(len(held))))
    else:
        memory = chance.choice([ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG])
        shape = ttnn.Shape([1, 1, 32 * chance.randint(1, 8), 32 * chance.randint(1, 8)])
        held.append(ttnn.allocate_tensor_on_device(shape, ttnn.bfloat16, ttnn.TILE_LAYOUT, device, memory))
    for name, kind in KINDS.items():
        view = ttnn.get_memory_view(device, kind)
        peak[name] = max(peak[name], view.total_bytes_allocated_per_bank * view.num_banks)
print(json.dumps(peak))
