# SPDX-License-Identifier: Apache-2.0
"""Does what it is told, a word a line on standard input, and says "done" after each: questions.py CHIPS."""

import json
import sys

import ttnn

graph = ttnn._ttnn.graph
chips = int(sys.argv[1])
if chips > 1:
    device = ttnn.open_mesh_device(ttnn.MeshShape(1, chips))
else:
    device = ttnn.open_device(device_id=0)
kept = {}


def matrix(where):
    return ttnn.ones([1, 1, 256, 256], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=where)


def answer(word):
    if word == "submesh":
        kept["submesh"] = device.create_submesh(ttnn.MeshShape(1, 1))
        kept["of submesh"] = [matrix(kept["submesh"]) for _ in range(3)]
        kept["of submesh"].pop()
    elif word == "close submesh":
        ttnn.close_mesh_device(kept["submesh"])
    elif word == "allocate":
        kept["tensor"] = matrix(device)
    elif word == "operate":
        one = matrix(device)
        graph.begin_graph_capture(graph.RunMode.NORMAL)
        ttnn.add(one, one)
        ttnn.rms_norm(one)
        ttnn.softmax(one)
        return graph.end_graph_capture()
    elif word == "forget programs":
        device.disable_and_clear_program_cache()
    elif word == "too large":
        try:
            ttnn.empty([1, 1, 1 << 18, 1 << 17], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
        except RuntimeError:
            return "refused"
    elif word == "close":
        (ttnn.close_mesh_device if chips > 1 else ttnn.close_device)(device)
    return None


for line in sys.stdin:
    result = answer(line.strip())
    if isinstance(result, list):
        result = [{"node_type": node["node_type"], "params": dict(node["params"] or {})} for node in result]
    print("@" + json.dumps(result), flush=True)
