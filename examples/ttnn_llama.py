# SPDX-License-Identifier: Apache-2.0
"""A decoder of the Llama family's shape, on TT-NN: prefill of a prompt, then decoding with a growing use of its cache.

    python examples/ttnn_llama.py [--layers N] [--tokens N] [--slow]

The weights are zeros: what it computes means nothing, what it allocates is what such a model allocates. It knows nothing of
memtally. On a mock board: scripts/ttnn/environment.py run -- examples/ttnn_llama.py
"""

import argparse
import time

import ttnn

HIDDEN, HEADS, KV_HEADS, HEAD, FEED_FORWARD, VOCABULARY = 2048, 32, 8, 64, 8192, 32000


def weights(device, rows, columns, dtype=ttnn.bfloat8_b):
    return ttnn.zeros([1, 1, rows, columns], dtype=dtype, layout=ttnn.TILE_LAYOUT, device=device)


class Layer:
    """One block: attention with a cache of keys and values, then the gated feed-forward part."""

    def __init__(self, device, batch, context):
        self.norm_attention = weights(device, 32, HIDDEN, ttnn.bfloat16)
        self.norm_feed_forward = weights(device, 32, HIDDEN, ttnn.bfloat16)
        self.query_key_value = weights(device, HIDDEN, (HEADS + 2 * KV_HEADS) * HEAD)
        self.output = weights(device, HEADS * HEAD, HIDDEN)
        self.gate = weights(device, HIDDEN, FEED_FORWARD)
        self.up = weights(device, HIDDEN, FEED_FORWARD)
        self.down = weights(device, FEED_FORWARD, HIDDEN)
        shape = [batch, KV_HEADS, context, HEAD]
        self.keys, self.values = (
            ttnn.zeros(shape, dtype=ttnn.bfloat8_b, layout=ttnn.TILE_LAYOUT, device=device) for _ in range(2))

    def attention(self, hidden, position):
        normal = ttnn.rms_norm(hidden)
        mixed = ttnn.matmul(normal, self.query_key_value)
        tokens = hidden.shape[-2]
        query = ttnn.slice(mixed, [0, 0, 0, 0], [1, 1, tokens, HEADS * HEAD])
        query = ttnn.transpose(ttnn.reshape(query, [1, tokens, HEADS, HEAD]), 1, 2)
        # Each key serves several queries.
        context = -(-(position + tokens) // 32) * 32
        keys = ttnn.slice(self.keys, [0, 0, 0, 0], [1, KV_HEADS, context, HEAD])
        values = ttnn.slice(self.values, [0, 0, 0, 0], [1, KV_HEADS, context, HEAD])
        keys, values = (ttnn.repeat_interleave(ttnn.typecast(one, ttnn.bfloat16), HEADS // KV_HEADS, dim=1)
                        for one in (keys, values))
        scores = ttnn.softmax(ttnn.matmul(query, ttnn.transpose(keys, -2, -1)), dim=-1)
        mixed = ttnn.transpose(ttnn.matmul(scores, values), 1, 2)
        return ttnn.matmul(ttnn.reshape(mixed, [1, 1, tokens, HEADS * HEAD]), self.output)

    def feed_forward(self, hidden):
        normal = ttnn.rms_norm(hidden)
        where = ttnn.L1_MEMORY_CONFIG if hidden.shape[-2] == 1 else ttnn.DRAM_MEMORY_CONFIG
        gate = ttnn.silu(ttnn.matmul(normal, self.gate, memory_config=where), memory_config=where)
        up = ttnn.matmul(normal, self.up, memory_config=where)
        return ttnn.matmul(ttnn.multiply(gate, up, memory_config=where), self.down)

    def __call__(self, hidden, position):
        hidden = ttnn.add(hidden, self.attention(hidden, position))
        return ttnn.add(hidden, self.feed_forward(hidden))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of the prompt")
    parser.add_argument("--tokens", type=int, default=32, help="tokens to decode")
    parser.add_argument("--context", type=int, default=2048, help="tokens that the cache has room for")
    parser.add_argument("--slow", action="store_true", help="a token in 0.2 s, to be watched")
    options = parser.parse_args()
    device = ttnn.open_device(device_id=0)
    layers = [Layer(device, 1, options.context) for _ in range(options.layers)]
    head = weights(device, HIDDEN, VOCABULARY)

    def run(tokens, position):
        hidden = ttnn.zeros([1, 1, tokens, HIDDEN], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
        for layer in layers:
            hidden = layer(hidden, position)
        return ttnn.matmul(hidden, head)

    run(options.prompt, 0)
    for token in range(options.tokens):
        run(1, options.prompt + token)
        if options.slow:
            time.sleep(0.2)
    view = ttnn.get_memory_view(device, ttnn.BufferType.DRAM)
    print(f"{options.layers} layers, {options.prompt} + {options.tokens} tokens; DRAM in use: "
          f"{view.total_bytes_allocated_per_bank} B in each of {view.num_banks} banks")
    ttnn.close_device(device)


if __name__ == "__main__":
    main()
