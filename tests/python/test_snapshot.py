# SPDX-License-Identifier: Apache-2.0
"""Snapshots, events and time lines as data, tables and pictures."""

import subprocess
import sys

from wheel_build import PROLOGUE, TIMEOUT

SOME = """
device = make_device()
device.register_kind("l1", 1 << 20, 8)
program = memtally.group("program 12: matmul")
with memtally.tag("model"):
    for layer in range(3):
        with memtally.tag(f"layer {layer}"):
            for n in range(4):
                device.alloc("dram", layer * 10 + n, (layer * 10 + n) << 12, 8192 * (n + 1))
            device.alloc("l1", layer, layer << 12, 2048, group=program)
    device.free("dram", 21)
memtally.mark("loaded")
device.alloc("dram", 1000, 1 << 20, 4096, imported=True)
device.alloc_failed("dram", 1 << 40)
device.free("dram", 4711)
"""


def test_as_plain_data(programs):
    found = programs.json(SOME + """
now = memtally.snapshot(events=True)
print(json.dumps(now.to_dict()))
""")
    assert len(found["buffers"]) == 15 and found["anomalies"]["unknown_free"] == 1
    assert found["exact"] is True and found["liveness"] == "alive" and found["gaps"] == []
    dram = next(one for one in found["accounts"] if one["kind"] == "dram")
    live = [one for one in found["buffers"] if one["kind"] == "dram" and not one["imported"]]
    assert dram["bytes_reserved"] == sum(one["bytes_reserved"] for one in live)
    assert dram["buffers"] == 11 and dram["imported"] == 1 and dram["failed_allocations"] == 1 and dram["banks"] == 4
    grouped = [one for one in found["buffers"] if one["group"]]
    assert {found["groups"][str(one["group"])] for one in grouped} == {"program 12: matmul"}
    assert [one["tag"] for one in found["events"] if one["operation"] == "mark"] == ["loaded"]


def test_summed(programs):
    found = programs.json(SOME + """
now = memtally.snapshot()
print(json.dumps([now.by("tag"), now.by("kind"), now.by("tag", "l1"), now.bytes_reserved, now.account("l1").bytes_reserved,
                  repr(now)]))
""")
    layers = {f"model / layer {n}": 81920 + 2048 for n in range(2)} | {"model / layer 2": 81920 + 2048 - 16384}
    assert found[0] == layers and list(found[0]) == sorted(layers)
    assert found[1] == {"dram": 3 * 81920 - 16384, "l1": 6144} and found[3] == sum(layers.values()) and found[4] == 6144
    assert "acme:0 l1: 6 KiB of 1 MiB, 3 buffers" in found[5] and "1 x unknown_free" in found[5]


def test_of_another_process_living_and_dead(programs):
    with subprocess.Popen([sys.executable, "-c", PROLOGUE + SOME + "print('ready', flush=True)\ninput()"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=programs.environment()) as process:
        assert process.stdout.readline().strip() == "ready"
        ask = f"""
now = memtally.snapshot({process.pid})
print(json.dumps([now.liveness, len(now.live), [one.pid for one in memtally.snapshots()]]))
"""
        assert programs.json(ask) == ["alive", 14, [process.pid]]
        process.kill()
        process.wait(TIMEOUT)
    assert programs.json(ask) == ["dead", 14, [process.pid]]


def test_before_anything_is_reported(programs):
    out = programs.run("print(memtally.snapshot()); memtally.track(); print(memtally.snapshot(), memtally.events())")
    assert "call memtally.track() first" in out and "has reported nothing yet" in out and out.strip().endswith("[]")


def test_events_in_order(programs):
    found = programs.json(SOME + """
events = memtally.events()
times = [one.time_ns for one in events]
print(json.dumps([times == sorted(times), [one.operation for one in memtally.events(last=4)], len(events)]))
""")
    assert found == [True, ["mark", "alloc", "alloc_failed", "unknown_free"], 12 + 3 + 1 + 4]


def test_a_timeline_ends_at_the_present(programs):
    found = programs.json(SOME + """
for n in range(9000):
    with memtally.tag("busy"):
        device.alloc("dram", 5000 + n, 0, 400)
    device.free("dram", 5000 + n)
by_kind, by_tag = memtally.timeline(), memtally.timeline("tag", kind="dram")
highest = max(map(sum, zip(*by_kind.series.values())))
print(json.dumps([{name: sums[-1] for name, sums in by_kind.series.items()}, {name: sums[-1] for name, sums in
                  by_tag.series.items()}, highest == memtally.snapshot().bytes_reserved + 400, max(by_tag.series["busy"])]))
""")
    assert found == [{"dram": 3 * 81920 - 16384, "l1": 6144},
                     {"busy": 0, "model / layer 0": 81920, "model / layer 1": 81920, "model / layer 2": 65536}, True, 400]


def test_with_pandas(programs):
    found = programs.json(SOME + """
now = memtally.snapshot()
frame = now.to_pandas()
line = memtally.timeline("tag").to_pandas()
print(json.dumps([int(frame[~frame.imported].bytes_reserved.sum()) == now.bytes_reserved, list(frame.columns)[:3],
                  len(memtally.leaks().to_pandas()), len(line) > 10, line.index.name]))
""")
    assert found == [True, ["id", "device", "kind"], 14, True, "seconds"]


def test_in_notebooks(programs):
    """Texts of the program are harmless there."""
    found = programs.json(SOME + """
with memtally.tag("<script>alert(1)</script>"):
    device.alloc("dram", 2000, 0, 4)
with memtally.peak() as region: pass
print(json.dumps([one._repr_html_() for one in (memtally.snapshot(), memtally.leaks(), region)]))
""")
    assert all(text.count("<table>") == text.count("</table>") >= 1 for text in found)
    assert "<script>" not in "".join(found) and "&lt;script&gt;" in found[0] and "model / layer 1" in found[1]


def test_pictures(programs):
    out = programs.run(SOME + """
now = memtally.snapshot()
axes = [now.plot(), now.plot(by="kind"), now.plot_addresses("dram"), now.plot_addresses("l1"), now.plot_sizes(),
        memtally.timeline("tag").plot(), memtally.timeline().plot()]
for n, ax in enumerate(axes):
    ax.figure.savefig(f"{n}.png")
print([bar.get_width() for bar in axes[1].patches if bar.get_width()])
print(len(axes[2].collections), axes[2].get_title(), "|", axes[5].get_title())
memtally.Snapshot().plot(); memtally.Snapshot().plot_addresses(); memtally.Snapshot().plot_sizes()
""")
    assert "[229376, 6144]" in out.replace("np.int64(", "").replace(")", "") or "229376.0, 6144.0" in out
    assert "acme:0 dram: one bank, 11 buffers | reserved memory by tag" in out
    assert len(list(programs.folder.glob("*.png"))) == 7
