# SPDX-License-Identifier: Apache-2.0
"""Tags: nested, as decorators, across await, threads, forks and interpreters."""

import sys

import pytest

TAGS = "print(json.dumps({buffer.id: buffer.tag for buffer in memtally.snapshot().buffers}, sort_keys=True))"


def tags(programs, text, **options):
    return {int(key): tag for key, tag in programs.json("device = make_device()\n" + text + "\n" + TAGS, **options).items()}


def test_nested_and_left_by_exceptions(programs):
    assert tags(programs, """
with memtally.tag("model"):
    device.alloc("dram", 1, 0, 1)
    try:
        with memtally.tag("layer 3"):
            device.alloc("dram", 2, 0, 1)
            raise KeyError
    except KeyError:
        pass
    device.alloc("dram", 3, 0, 1)
device.alloc("dram", 4, 0, 1)
""") == {1: "model", 2: "model / layer 3", 3: "model", 4: ""}


def test_a_tag_is_entered_again_and_again(programs):
    assert tags(programs, """
again = memtally.tag("again")
with again, again:
    device.alloc("dram", 1, 0, 1)
with again:
    device.alloc("dram", 2, 0, 1)
@memtally.tag("f")
def f(n):
    "Documented."
    device.alloc("dram", n, 0, 1)
    if n < 12: f(n + 1)
f(10)
assert f.__name__ == "f" and f.__doc__ == "Documented."
""") == {1: "again / again", 2: "again", 10: "f", 11: "f / f", 12: "f / f / f"}


def test_tags_that_are_entered_before_tracking_count(programs):
    assert programs.json("""
        with memtally.tag("early"), memtally.tag("bird"):
            device = make_device()
            device.alloc("dram", 1, 0, 1)
        device.alloc("dram", 2, 0, 1)
        print(json.dumps([buffer.tag for buffer in sorted(memtally.snapshot().buffers)]))
        """) == ["early / bird", ""]


TASKS = """
import asyncio

async def work(n):
    with memtally.tag(f"task {n}"):
        await asyncio.sleep(0)
        device.alloc("dram", 100 + n, 0, 1)
        NATIVE(200 + n)
        await inner(n)
        await asyncio.sleep(0.001)
        NATIVE(300 + n)
    await asyncio.sleep(0)
    NATIVE(400 + n)

@memtally.tag("inner")
async def inner(n):
    with memtally.tag("deep"):
        await asyncio.sleep(0.001)
        NATIVE(500 + n)
    await asyncio.sleep(0)
    NATIVE(600 + n)
    async for value in values(n):
        NATIVE(700 + n)

@memtally.tag("values")
async def values(n):
    await asyncio.sleep(0)
    NATIVE(800 + n)
    yield n
    await asyncio.sleep(0)
    NATIVE(900 + n)

async def main():
    await asyncio.gather(*(work(n) for n in range(8)))

# As native code reports: with the tag that the thread has, and without Python's context.
import ctypes, os
class Api(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("size", ctypes.c_uint32), ("calls", ctypes.c_void_p * 17)]
library = ctypes.CDLL(memtally.track().library)
library.memtally_get_api.restype = ctypes.POINTER(Api)
alloc = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, *[ctypes.c_uint64] * 4)(
    library.memtally_get_api(1).contents.calls[3])
def NATIVE(id):
    alloc(device.handle, 0, id, 0, 1, 1)
"""


def test_tags_follow_tasks(programs):
    """Of many tasks on one loop each has its own tags; also for what native code allocates."""
    found = tags(programs, TASKS + "asyncio.run(main())\nNATIVE(1)\ndevice.alloc('dram', 2, 0, 1)\n")
    assert found.pop(1) == found.pop(2) == ""
    assert len(found) == 9 * 8
    for id, tag in found.items():
        what, n = divmod(id, 100)
        task = f"task {n}"
        assert tag == {1: task, 2: task, 3: task, 4: "", 5: f"{task} / inner / deep", 6: f"{task} / inner",
                       7: f"{task} / inner", 8: f"{task} / inner / values", 9: f"{task} / inner / values"}[what], id


def test_a_thread_has_what_it_is_handed(programs):
    assert tags(programs, """
import threading, asyncio
def thread(function):
    one = threading.Thread(target=function)
    one.start()
    one.join()
with memtally.tag("outer"), memtally.tag("here"):
    handed = memtally.current_tag()
    thread(lambda: device.alloc("dram", 1, 0, 1))
    def with_tag():
        with memtally.adopt(handed):
            device.alloc("dram", 2, 0, 1)
            with memtally.tag("more"):
                device.alloc("dram", 3, 0, 1)
        device.alloc("dram", 4, 0, 1)
    thread(with_tag)
    async def main():
        await asyncio.to_thread(lambda: device.alloc("dram", 5, 0, 1))
    asyncio.run(main())
assert handed.path == "outer / here" and memtally.current_tag() is None
""") == {1: "", 2: "outer / here", 3: "outer / here / more", 4: "", 5: "outer / here"}


def test_generators_lend_their_tag_to_nobody(programs):
    assert tags(programs, """
@memtally.tag("generator")
def numbers():
    for n in range(2):
        device.alloc("dram", 10 + n, 0, 1)
        got = yield n
        assert got == (None if n else "sent")
    return "end"
def caller():
    inner = numbers()
    assert next(inner) == 0
    device.alloc("dram", 1, 0, 1)
    assert inner.send("sent") == 1
    try:
        next(inner)
    except StopIteration as end:
        assert end.value == "end"
with memtally.tag("caller"):
    caller()
""") == {1: "caller", 10: "caller / generator", 11: "caller / generator"}


def test_whatever_ends_a_coroutine_or_generator(programs):
    """Exceptions, cancellation, what is sent and thrown: the same as without the decorator, and with its tag."""
    assert tags(programs, """
import asyncio, inspect
@memtally.tag("values")
async def values():
    try:
        for n in range(3):
            try:
                got = yield n
                assert got == (None if n else "sent"), got
            except KeyError:
                device.alloc("dram", 10, 0, 1)
    finally:
        await asyncio.sleep(0)
        device.alloc("dram", 11, 0, 1)
@memtally.tag("slow")
async def slow():
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        device.alloc("dram", 12, 0, 1)
        raise
@memtally.tag("wrong")
async def wrong():
    await asyncio.sleep(0)
    raise ValueError("wrong")
async def main():
    assert inspect.isasyncgenfunction(values) and inspect.iscoroutinefunction(slow)
    generator = values()
    assert [await generator.asend(None), await generator.asend("sent")] == [0, 1]
    assert await generator.athrow(KeyError()) == 2
    await generator.aclose()
    task = asyncio.create_task(slow())
    await asyncio.sleep(0)
    task.cancel()
    for one in (task, wrong()):
        try:
            await one
        except (asyncio.CancelledError, ValueError) as error:
            device.alloc("dram", 13 + isinstance(error, ValueError), 0, 1)
asyncio.run(main(), debug=True)
""") == {10: "values", 11: "values", 12: "slow", 13: "", 14: ""}


def test_a_forked_child_keeps_the_tags_that_it_is_in(programs):
    out = programs.run("""
        import os
        device = make_device()
        with memtally.tag("zero"):
            device.alloc("dram", 9, 0, 1)
        with memtally.tag("parent"), memtally.tag("step"):
            child = os.fork()
            if child == 0:
                device.alloc("dram", 1, 0, 1)
                with memtally.tag("in child"):
                    device.alloc("dram", 2, 0, 1)
                device.alloc("dram", 3, 0, 1)
        if child == 0:
            device.alloc("dram", 4, 0, 1)
            print([(one.id, one.tag) for one in sorted(memtally.snapshot().buffers)], flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """)
    assert out.strip() == str([(1, "parent / step"), (2, "parent / step / in child"), (3, "parent / step"), (4, "")])


def test_many_threads(programs):
    """Threads that tag and report at the same time: each buffer has its own thread's tag, and the sums are right."""
    out = programs.json("""
        import threading
        device = make_device()
        def work(n):
            for i in range(300):
                with memtally.tag(f"thread {n}"), memtally.tag(f"step {i % 3}"):
                    device.alloc("dram", n * 100000 + i, 0, 64, 16)
                if i % 2: device.free("dram", n * 100000 + i)
                memtally.snapshot() if i % 100 == 0 else None
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        now = memtally.snapshot()
        wrong = [one for one in now.buffers if one.tag != f"thread {one.id // 100000} / step {one.id % 100000 % 3}"]
        print(json.dumps([len(now.buffers), len(wrong), now.bytes_reserved, sum(now.anomalies.values())]))
        """)
    assert out == [8 * 150, 0, 8 * 150 * 64, 0]


@pytest.mark.parametrize("own_lock", [False, True])
def test_in_other_interpreters(programs, own_lock):
    """Each interpreter of a process has an extension of its own; they share the process's tracker."""
    from test_package import pythons

    python = pythons().get("3.13") if own_lock else sys.executable
    if python is None:
        pytest.skip("no CPython 3.13 on this machine, which has interpreters with locks of their own")
    out = programs.json("""
        try:
            import _interpreters as interpreters
            make, run = (lambda: interpreters.create("isolated")), interpreters.exec
        except ImportError:
            import _xxsubinterpreters as interpreters
            make, run = interpreters.create, interpreters.run_string
        import threading
        device = make_device()
        ids = [make() for _ in range(3)]
        text = '''
        import memtally
        device = memtally.register_device(0, vendor="acme", architecture="one")
        for i in range(200):
            with memtally.tag("interpreter NUMBER"):
                device.alloc("dram", NUMBER * 1000 + i, 0, 4, 1)
        with memtally.peak() as region:
            pass
        '''
        import textwrap
        problems = []
        def work(n, id):
            problems.append(run(id, textwrap.dedent(text).replace("NUMBER", str(n))))
        threads = [threading.Thread(target=work, args=(n, id)) for n, id in enumerate(ids, 1)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        for id in ids: interpreters.destroy(id)
        with memtally.tag("main"):
            device.alloc("dram", 1, 0, 4)
        print(json.dumps([memtally.snapshot().by("tag"), [str(one) for one in problems if one is not None]]))
        """, python=python)
    assert out == [{"interpreter 1": 800, "interpreter 2": 800, "interpreter 3": 800, "main": 4}, []]
