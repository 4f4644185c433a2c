# SPDX-License-Identifier: Apache-2.0
"""Random allocations, frees and operations on a mock board: random_steps.py SEED STEPS CHIPS.

After each step one line of JSON on standard output says what the framework's own allocator says, and the program waits for a
line on standard input: meanwhile somebody else can compare. The random numbers alone decide what is done, so a seed is a
program.
"""

import json
import random
import sys
import threading

import numpy as np
import ttnn

KINDS = {"dram": "DRAM", "l1": "L1", "l1_small": "L1_SMALL", "trace": "TRACE"}
Layouts = ttnn.TensorMemoryLayout


def cores(columns, rows):
    return ttnn.CoreRangeSet({ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(columns - 1, rows - 1))})


class Program:
    def __init__(self, seed, chips):
        self.random = random.Random(seed)
        self.chips = chips
        self.tensors = []
        self.semaphores = []
        self.done = {}
        self.failed = {}
        self.device = None
        self.open()

    def open(self):
        sizes = {"l1_small_size": self.random.choice((0, 16384, 32768)), "trace_region_size": self.random.choice((0, 1 << 22))}
        if self.chips > 1:
            self.device = ttnn.open_mesh_device(ttnn.MeshShape(1, self.chips), **sizes)
        else:
            self.device = ttnn.open_device(device_id=0, **sizes)

    def close(self):
        if self.chips > 1:
            ttnn.close_mesh_device(self.device)
        else:
            ttnn.close_device(self.device)

    # What a step may do. Each may fail: the framework refuses what does not fit or does not go together.

    def memory(self, width, height):
        """A memory configuration for a matrix, and which kind it was."""
        pick = self.random.randrange(9)
        one = cores(self.random.randint(1, 4), self.random.randint(1, 4))
        count = one.num_cores()
        row = ttnn.ShardOrientation.ROW_MAJOR
        if pick == 0:
            return ttnn.L1_MEMORY_CONFIG
        if pick == 1:
            shard = ttnn.ShardSpec(one, [max(32, -(-height // count // 32) * 32), width], row)
            return ttnn.MemoryConfig(Layouts.HEIGHT_SHARDED, ttnn.BufferType.L1, shard)
        if pick == 2:
            shard = ttnn.ShardSpec(one, [height, max(32, -(-width // count // 32) * 32)], row)
            return ttnn.MemoryConfig(Layouts.WIDTH_SHARDED, ttnn.BufferType.L1, shard)
        if pick == 3:
            columns, rows = self.random.randint(1, 4), self.random.randint(1, 4)
            shard = [max(32, -(-height // rows // 32) * 32), max(32, -(-width // columns // 32) * 32)]
            return ttnn.MemoryConfig(Layouts.BLOCK_SHARDED, ttnn.BufferType.L1,
                                     ttnn.ShardSpec(cores(columns, rows), shard, row))
        if pick == 4:
            shard = ttnn.ShardSpec(one, [max(32, -(-height // count // 32) * 32), width], row)
            return ttnn.MemoryConfig(Layouts.HEIGHT_SHARDED, ttnn.BufferType.L1_SMALL, shard)
        if pick == 5:
            banks = self.random.randint(1, 8)
            shard = ttnn.ShardSpec(cores(banks, 1), [height, max(32, -(-width // banks // 32) * 32)], row)
            return ttnn.MemoryConfig(Layouts.WIDTH_SHARDED, ttnn.BufferType.DRAM, shard)
        if pick == 6:
            return ttnn.MemoryConfig(ttnn.BufferType.L1, ttnn.NdShardSpec([1, 1, 32, 32], one))
        if pick == 7:
            return ttnn.MemoryConfig(Layouts.INTERLEAVED, ttnn.BufferType.TRACE)
        return ttnn.DRAM_MEMORY_CONFIG

    def create(self, height=None):
        width = 32 * self.random.randint(1, 16)
        height = height or 32 * self.random.randint(1, 16)
        dtype = self.random.choice((ttnn.bfloat16, ttnn.float32, ttnn.uint32, ttnn.int32, ttnn.uint16, ttnn.uint8,
                                    ttnn.bfloat8_b, ttnn.bfloat4_b))
        layout = self.random.choice((ttnn.TILE_LAYOUT, ttnn.ROW_MAJOR_LAYOUT))
        if self.random.random() < 0.2 and layout == ttnn.ROW_MAJOR_LAYOUT:
            width, height = self.random.randint(1, 3000), self.random.randint(1, 40)
        return ttnn.empty([1, self.random.randint(1, 3), height, width], dtype=dtype, layout=layout, device=self.device,
                          memory_config=self.memory(width, height))

    def keep(self, tensor):
        self.tensors.append(tensor)

    def step_create(self):
        for _ in range(self.random.randint(1, 6)):
            self.attempt("tensor", lambda: self.keep(self.create()))

    def take(self):
        return self.tensors.pop(self.random.randrange(len(self.tensors)))

    def step_free(self):
        for _ in range(self.random.randint(1, 4)):
            if self.tensors:
                tensor = self.take()
                if self.random.random() < 0.5:
                    ttnn.deallocate(tensor)
                del tensor

    def step_reallocate(self):
        if self.tensors:
            self.keep(ttnn.reallocate(self.take()))

    def matrices(self):
        size = 32 * self.random.randint(1, 8)
        make = [ttnn.ones, ttnn.zeros][self.random.randrange(2)]
        where = self.random.choice((ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG))
        dtype = self.random.choice((ttnn.bfloat16, ttnn.float32))
        return [make([1, 1, size, size], dtype=dtype, layout=ttnn.TILE_LAYOUT, device=self.device, memory_config=where)
                for _ in range(2)]

    def step_operate(self):
        one, two = self.matrices()
        where = self.random.choice((ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG))
        pick = self.random.randrange(10)
        if pick == 0:
            self.keep(ttnn.matmul(one, two, memory_config=where))
        elif pick == 1:
            self.keep(ttnn.softmax(one, dim=-1, memory_config=where))
        elif pick == 2:
            self.keep(ttnn.add(one, two, memory_config=where))
        elif pick == 3:
            self.keep(ttnn.to_memory_config(one, where))
        elif pick == 4:
            self.keep(ttnn.typecast(one, ttnn.bfloat8_b))
        elif pick == 5:
            self.keep(ttnn.concat([one, two], dim=-1))
        elif pick == 6:
            self.keep(ttnn.transpose(one, -2, -1))
        elif pick == 7:
            self.keep(ttnn.to_layout(one, ttnn.ROW_MAJOR_LAYOUT))
        elif pick == 8:
            self.keep(ttnn.rms_norm(one))
        else:
            self.keep(ttnn.clone(one))

    def step_convolve(self):
        size = self.random.choice((8, 16))
        weight = ttnn.Tensor(np.zeros((32, 32, 3, 3), dtype=np.float32), ttnn.bfloat16)
        image = ttnn.ones([1, 1, size * size, 32], dtype=ttnn.bfloat16, layout=ttnn.ROW_MAJOR_LAYOUT, device=self.device)
        self.keep(ttnn.conv2d(input_tensor=image, weight_tensor=weight, in_channels=32, out_channels=32, batch_size=1,
                              input_height=size, input_width=size, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1),
                              device=self.device))

    def step_semaphore(self):
        where = self.random.choice((ttnn.BufferType.L1, ttnn.BufferType.L1_SMALL))
        self.semaphores.append(ttnn.create_global_semaphore(self.device, cores(2, 2), 0, where))
        if self.random.random() < 0.5:
            self.semaphores.pop(0)

    def step_too_large(self):
        self.keep(ttnn.empty([1, 1, 1 << 18, 1 << 17], dtype=ttnn.bfloat16, layout=ttnn.TILE_LAYOUT, device=self.device))

    def step_threads(self):
        seeds = [self.random.random() for _ in range(4)]

        def work(seed):
            numbers = random.Random(seed)
            mine = []
            for _ in range(10):
                if mine and numbers.random() < 0.4:
                    mine.pop(numbers.randrange(len(mine)))
                else:
                    where = numbers.choice((ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG))
                    mine.append(ttnn.empty([1, 1, 32, 32 * numbers.randint(1, 8)], dtype=ttnn.bfloat16,
                                           layout=ttnn.TILE_LAYOUT, device=self.device, memory_config=where))
            self.tensors += mine[: numbers.randint(0, 2)]

        threads = [threading.Thread(target=work, args=(seed,)) for seed in seeds]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def step_free_in_thread(self):
        tensors, self.tensors = self.tensors, []
        thread = threading.Thread(target=tensors.clear)
        thread.start()
        thread.join()

    def step_capture(self):
        """A capture in which nothing is really allocated."""
        graph = ttnn._ttnn.graph
        graph.begin_graph_capture(graph.RunMode.NO_DISPATCH)
        try:
            tensor = self.create(32)
            del tensor
        finally:
            graph.end_graph_capture()

    def step_programs(self):
        self.device.disable_and_clear_program_cache()
        self.device.enable_program_cache()

    def step_reopen(self):
        if self.random.random() < 0.5:
            self.tensors.clear()
        self.close()
        self.tensors.clear()
        self.semaphores.clear()
        self.open()

    def step(self):
        names = ["create"] * 12 + ["free"] * 10 + ["operate"] * 6 + ["reallocate"] * 3 + [
            "convolve", "semaphore", "too_large", "threads", "free_in_thread", "capture", "programs", "reopen"]
        name = self.random.choice(names)
        self.attempt(name, getattr(self, f"step_{name}"))
        return name

    def attempt(self, name, action):
        """What does not go together, or does not fit, is part of the test."""
        try:
            action()
            self.done[name] = self.done.get(name, 0) + 1
        except (RuntimeError, ValueError):
            self.failed[name] = self.failed.get(name, 0) + 1

    def view(self):
        """What the allocator says: for each kind bytes a bank, banks, capacity a bank, and the blocks in use."""
        view = {}
        for kind, name in KINDS.items():
            of_kind = ttnn.get_memory_view(self.device, getattr(ttnn.BufferType, name))
            try:
                blocks = [(int(block["address"]), int(block["size"])) for block in of_kind.block_table
                          if block["allocated"] == "yes"]
            except TypeError:
                blocks = None  # 0.70 cannot hand out its table
            view[kind] = {"allocated": of_kind.total_bytes_allocated_per_bank, "banks": of_kind.num_banks,
                          "capacity": of_kind.total_bytes_per_bank, "blocks": blocks}
        return view


def say(document):
    sys.stdout.write("@" + json.dumps(document) + "\n")
    sys.stdout.flush()
    return sys.stdin.readline()


def main():
    seed, steps, chips = map(int, sys.argv[1:])
    program = Program(seed, chips)
    for number in range(steps):
        name = program.step()
        if not say({"step": number, "name": name, "view": program.view()}):
            return
    program.tensors.clear()
    program.semaphores.clear()
    say({"step": steps, "name": "end", "view": program.view(), "done": program.done, "failed": program.failed})
    program.close()


if __name__ == "__main__":
    main()
