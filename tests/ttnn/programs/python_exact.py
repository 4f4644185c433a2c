# SPDX-License-Identifier: Apache-2.0
"""Random steps, after each of which memtally's snapshot and report are compared with the allocator: python_exact.py WHEN SEED STEPS CHIPS.

WHEN: early (memtally.ttnn is imported first) or late (after some steps).
"""

import json
import sys

when, seed, steps, chips = sys.argv[1], *map(int, sys.argv[2:])
sys.argv = [sys.argv[0]]
if when == "early":
    import memtally.ttnn

import random_steps as model  # noqa: E402

program = model.Program(seed, chips)
before = 0
if when == "late":
    for _ in range(30):
        program.step()
    before = sum(view["allocated"] * view["banks"] for view in program.view().values()) * chips
    import memtally.ttnn  # noqa: E402

    attached = memtally.ttnn.attached
    assert sum(one.bytes_reserved for one in attached) == before, (attached, before)
compared = 0
for number in range(steps):
    name = program.step()
    memtally.ttnn.refresh(program.device)
    now = memtally.snapshot()
    views = program.view()
    for kind, view in views.items():
        mine = sum(one.bytes_reserved for one in now.accounts if one.kind == kind)
        assert mine == view["allocated"] * view["banks"] * chips, (number, name, kind, mine, view["allocated"] * view["banks"])
        compared += mine > 0
    if number % 10 == 0:
        report = memtally.ttnn.report(program.device)
        for memory in report.memories:
            assert memory.allocated_per_bank == views[memory.kind]["allocated"]
            assert sum(block.size for block in memory.blocks) == memory.allocated_per_bank
            assert all(block.buffer is not None for block in memory.blocks), (number, memory.kind, memory.blocks)
        repr(report), report._repr_html_()
program.tensors.clear()
program.semaphores.clear()
program.close()
print("@" + json.dumps({"compared": compared, "before": before,
                        "by_tensor": sum(one.by_tensor for one in memtally.ttnn.attached)}))
