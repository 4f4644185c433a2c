# SPDX-License-Identifier: Apache-2.0
"""A small program whose whole output is compared: model.py [END]; END says how it ends."""

import json
import os
import sys

import ttnn

graph = ttnn._ttnn.graph
device = ttnn.open_device(device_id=0, l1_small_size=32768)
graph.begin_graph_capture(graph.RunMode.NORMAL)
one = ttnn.ones([1, 1, 256, 256], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
two = ttnn.softmax(ttnn.matmul(one, one), memory_config=ttnn.L1_MEMORY_CONFIG)
three = ttnn.add(one, two)
nodes = graph.end_graph_capture()
# Names of objects are their addresses in the process.
NAMES = ("address", "size", "core_range_set", "type", "layout")
print(json.dumps([[node["node_type"], sorted(node["params"] or {}), [(node["params"] or {}).get(name) for name in NAMES]]
                  for node in nodes]))
print(two.shape, two.memory_config(), device.num_program_cache_entries())
end = sys.argv[1] if len(sys.argv) > 1 else ""
if end == "error":
    try:
        ttnn.empty([1, 1, 1 << 18, 1 << 17], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
    except RuntimeError as error:
        print("\n".join(line for line in str(error).split("\n")[:4] if "TT_" in line or "Out of" in line))
        sys.exit(3)
if end == "kill":
    print("ready", flush=True)
    sys.stdin.readline()
if end == "fork":
    child = os.fork()
    if child == 0:
        ttnn.deallocate(three)
        os._exit(5)
    print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
ttnn.close_device(device)
