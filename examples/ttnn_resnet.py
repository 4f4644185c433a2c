# SPDX-License-Identifier: Apache-2.0
"""A convolution network of the ResNet family's shape, on TT-NN: a stem, four stages of residual blocks, a classifier.

    python examples/ttnn_resnet.py [--blocks N] [--images N] [--batch N]

The weights are zeros: what it computes means nothing, what it allocates is what such a model allocates (activations sharded
over L1, sliding windows in L1_SMALL, weights in DRAM). It knows nothing of memtally. On a mock board:
scripts/ttnn/environment.py run -- examples/ttnn_resnet.py
"""

import argparse

import numpy as np
import ttnn


class Convolution:
    """Its weights are brought into the device's layout with the first image, and stay there."""

    def __init__(self, device, inputs, outputs, size, stride=1, relu=True):
        self.device, self.inputs, self.outputs, self.size, self.stride = device, inputs, outputs, size, stride
        self.weight = ttnn.Tensor(np.zeros((outputs, inputs, size, size), dtype=np.float32), ttnn.bfloat16)
        self.bias = ttnn.Tensor(np.zeros((1, 1, 1, outputs), dtype=np.float32), ttnn.bfloat16)
        activation = ttnn.UnaryWithParam(ttnn.UnaryOpType.RELU) if relu else None
        self.config = ttnn.Conv2dConfig(weights_dtype=ttnn.bfloat16, activation=activation)

    def __call__(self, image, batch, height, width):
        image, (height, width), (self.weight, self.bias) = ttnn.conv2d(
            input_tensor=image, weight_tensor=self.weight, bias_tensor=self.bias, device=self.device,
            in_channels=self.inputs, out_channels=self.outputs, batch_size=batch, input_height=height, input_width=width,
            kernel_size=(self.size, self.size), stride=(self.stride, self.stride),
            padding=(self.size // 2, self.size // 2), conv_config=self.config, return_output_dim=True,
            return_weights_and_bias=True)
        return image, height, width


class Block:
    """Two convolutions and a way around them."""

    def __init__(self, device, inputs, outputs, stride):
        self.first = Convolution(device, inputs, outputs, 3, stride)
        self.second = Convolution(device, outputs, outputs, 3, relu=False)
        self.around = Convolution(device, inputs, outputs, 1, stride, relu=False) if stride != 1 or inputs != outputs else None

    def __call__(self, image, batch, height, width):
        around = image if self.around is None else self.around(image, batch, height, width)[0]
        image, height, width = self.first(image, batch, height, width)
        image, height, width = self.second(image, batch, height, width)
        around = ttnn.to_memory_config(around, ttnn.DRAM_MEMORY_CONFIG)
        image = ttnn.to_memory_config(image, ttnn.DRAM_MEMORY_CONFIG)
        return ttnn.relu(ttnn.add(image, around)), height, width


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--blocks", type=int, default=2, help="in each of the four stages")
    parser.add_argument("--images", type=int, default=4, help="batches to classify")
    parser.add_argument("--batch", type=int, default=1, help="images in a batch")
    options = parser.parse_args()
    device = ttnn.open_device(device_id=0, l1_small_size=32768)
    stem = Convolution(device, 16, 64, 7, 2)
    blocks, channels = [], 64
    for stage, outputs in enumerate((64, 128, 256, 512)):
        for number in range(options.blocks):
            blocks.append(Block(device, channels, outputs, 2 if stage > 0 and number == 0 else 1))
            channels = outputs
    classifier = ttnn.zeros([1, 1, channels, 1024], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=device)
    for _ in range(options.images):
        side = 128
        image = ttnn.zeros([1, 1, options.batch * side * side, 16], dtype=ttnn.bfloat16, layout=ttnn.ROW_MAJOR_LAYOUT, device=device)
        image, height, width = stem(image, options.batch, side, side)
        image = ttnn.max_pool2d(input_tensor=image, batch_size=options.batch, input_h=height, input_w=width, channels=64,
                                kernel_size=[3, 3], stride=[2, 2], padding=[1, 1], dilation=[1, 1])
        height, width = (height + 1) // 2, (width + 1) // 2
        for block in blocks:
            image, height, width = block(image, options.batch, height, width)
        ttnn.matmul(ttnn.mean(ttnn.to_layout(image, ttnn.TILE_LAYOUT), dim=-2, keepdim=True), classifier)
    del image
    for name, kind in (("DRAM", ttnn.BufferType.DRAM), ("L1", ttnn.BufferType.L1), ("L1_SMALL", ttnn.BufferType.L1_SMALL)):
        view = ttnn.get_memory_view(device, kind)
        print(f"{name} in use: {view.total_bytes_allocated_per_bank} B in each of {view.num_banks} banks")
    ttnn.close_device(device)


main()
