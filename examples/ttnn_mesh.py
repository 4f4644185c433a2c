# SPDX-License-Identifier: Apache-2.0
"""Feed-forward layers over two chips, on TT-NN: each chip has half of every weight, as in tensor parallelism.

    python examples/ttnn_mesh.py [--layers N] [--steps N]

The weights are zeros, and the sum over the chips is left out: what it computes means nothing, what it allocates is what such a
model allocates. It knows nothing of memtally. On a mock board: scripts/ttnn/environment.py run --board n300 -- examples/ttnn_mesh.py
"""

import argparse

import ttnn

HIDDEN, FEED_FORWARD, TOKENS = 1024, 4096, 64


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 2))

    def half(rows, columns):
        """As large on each chip as a mapper that cuts the matrix would make it."""
        return ttnn.zeros([1, 1, rows, columns], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=mesh)

    layers = [(half(HIDDEN, FEED_FORWARD // 2), half(HIDDEN, FEED_FORWARD // 2), half(FEED_FORWARD // 2, HIDDEN))
              for _ in range(options.layers)]
    for _ in range(options.steps):
        hidden = ttnn.zeros([1, 1, TOKENS, HIDDEN], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=mesh)
        for gate, up, down in layers:
            wide = ttnn.multiply(ttnn.silu(ttnn.matmul(hidden, gate)), ttnn.matmul(hidden, up))
            hidden = ttnn.add(hidden, ttnn.matmul(wide, down, memory_config=ttnn.L1_MEMORY_CONFIG))
    view = ttnn.get_memory_view(mesh, ttnn.BufferType.DRAM)
    print(f"DRAM in use: {view.total_bytes_allocated_per_bank} B in each of {view.num_banks} banks of each chip")
    ttnn.close_mesh_device(mesh)


main()
