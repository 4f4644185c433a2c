"""Checks the second reader on ledgers that are built byte by byte from docs/formats/ledger.md."""
import json
import os
import struct
import subprocess
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from ledger import LedgerError, read_ledger  # noqa: E402

RUN_ID = bytes(range(16))
RING = 135168
ALLOC, FREE, REPLACE, UNKNOWN_FREE = 1, 2, 6, 7
LIVE, IMPORTED, EXTENDED, EXTENSION = 1, 2, 4, 8
CATALOG, THREADS, TAGS, GROUPS, EXTENTS = 4096, 8192, 12288, 16384, 20480


def gone_pid():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def record(id, address=0, requested=0, account=0, flags=LIVE, bank=0, thread=1, tag=0, time=0):
    return struct.pack("<5Q", id, address, requested | account << 46 | flags << 56,
                       bank | thread << 40 | (time >> 48) << 56, tag | (time & (1 << 48) - 1) << 16)


def event(operation, slot=0, group=0, flags=0, **fields):
    return record(flags=operation << 4 | flags, **fields) + struct.pack("<II", slot, group)


class Ledger:
    """The bytes of one ledger: a catalog with one device and two accounts, no lanes yet."""

    def __init__(self, pid=None, ticks=1):
        self.pid = pid or gone_pid()
        self.raw = bytearray(EXTENTS)
        self.lanes, self.entries, self.tag_count, self.group_count = [], 0, 0, 0
        self.put("8sII", 0, b"MTALLYLG", 1, 1304)
        self.put("16s16s16s", 16, RUN_ID, b"b" * 16, b"m" * 16)
        self.put("4I3Q", 64, self.pid, os.getuid(), os.getgid(), 1, 7, ticks, 1000)
        self.put("16s64s256s32s", 104, b"trainer", b"host", b"/bin/trainer", b"1.0")
        self.put("II", 952, 1, 0)
        self.put("Q", 1024, 3)
        self.put("QII", 1096, CATALOG, 64, 0)
        self.put("QII", 1112, THREADS, 1024, 3)
        self.put("3I", THREADS, 0, 4001, 4002)
        self.put("QII", 1128, TAGS, 32, 0)
        self.put("QII", 1144, GROUPS, 32, 0)
        self.device(0)
        self.kind(0, b"dram")
        self.kind(1, b"l1")
        self.account(0, kind=0, banks=8)
        self.account(1, kind=1, banks=4)
        for parent, name in ((0, b""), (0, b"(other)"), (0, b"model"), (2, b"layer")):
            self.put("III116s", TAGS + 128 * self.tag_count, parent, 0, len(name), name)
            self.tag_count += 1
            self.put("I", 1140, self.tag_count)

    def put(self, form, at, *values):
        struct.pack_into("<" + form, self.raw, at, *values)

    def entry(self, form, *values):
        self.put(form, CATALOG + 64 * self.entries, *values)
        self.entries += 1
        self.put("I", 1108, self.entries)
        return CATALOG + 64 * (self.entries - 1)

    def device(self, index, closed_at=0, closes=0):
        self.device_at = self.entry("II16sIiIIQQI", 1, index, b"c" * 16, 1, -1, 0x10800, 0xFFFFFFFF, 1 << 34, closed_at, closes)
        self.entry("II24s32s", 2, index, b"acme", b"arch")

    def kind(self, index, name):
        self.entry("IIIII4x40s", 3, index, index, 0xFFFFFFFF, 0, name)

    def account(self, index, kind, banks, device=0, peaks=(0, 0, 0, 0)):
        return self.entry("IIHHIQQ4Q", 4, index, device, kind, banks, 1 << 33, 1 << 30, *peaks)

    def peaks(self, entry, *values):
        self.put("4Q", CATALOG + 64 * entry + 32, *values)

    def group(self, number, name):
        self.put("QI116s", GROUPS + 128 * self.group_count, number, len(name), name)
        self.group_count += 1
        self.put("I", 1156, self.group_count)

    def extent(self, size):
        at = len(self.raw)
        self.raw += bytes(-(-size // 4096) * 4096)
        self.put("Q", 1160, len(self.raw))
        return at

    def lane(self, sequence=0, ring=64, slots=0):
        at = self.extent(RING + 48 * ring)
        self.put("QQQII", at, sequence, slots, at + RING, ring, 1)
        if slots:
            segment = self.extent(512 * 40)
            self.put("Q", at + 64, segment)
        self.put("Q", 3072 + 8 * len(self.lanes), at)
        self.lanes.append(at)
        self.put("I", 1168, len(self.lanes))
        return at

    def slot(self, lane, slot, raw):
        segment, = struct.unpack_from("<Q", self.raw, lane + 64)
        self.raw[segment + 40 * slot:segment + 40 * slot + 40] = raw
        return segment + 40 * slot

    def event(self, lane, number, raw, ring=64):
        at = lane + RING + 48 * (number % ring)
        self.raw[at:at + 48] = raw

    def sums(self, lane, account, *values):
        self.put(f"{len(values)}Q", lane + 3072 + 64 * account, *values)

    def more(self, lane, account, *values):
        self.put(f"{len(values)}Q", lane + 69632 + 64 * account, *values)

    def write(self, directory):
        self.put("Q", 1160, len(self.raw))
        path = os.path.join(directory, f"memtally-{os.getuid()}-{self.pid}-{RUN_ID.hex()}.ledger")
        with open(path, "wb") as file:
            file.write(self.raw)
        return path

    def read(self, directory):
        return read_ledger(self.write(directory))


def three(count, requested, reserved):
    return {"count": count, "bytes_requested": requested, "bytes_reserved": reserved}


def test_empty(tmp_path):
    r = Ledger().read(tmp_path)
    assert r["identity"]["run_id"] == RUN_ID.hex() and r["identity"]["comm"] == "trainer"
    assert r["liveness"] == "dead" and r["totals_exact"] and not r["interrupted"]
    assert r["counters"]["lost_events"] == 3
    assert r["buffers"] == [] and r["events"] == [] and r["lanes"] == []
    assert r["devices"][0]["local_index"] == -1 and r["devices"][0]["vendor"] == "acme"
    assert r["kinds"][1]["name"] == "l1" and r["kinds"][1]["inside"] is None
    assert r["accounts"][0]["live"] == three(0, 0, 0) and r["accounts"][0]["slack_reserved"] == 0


def test_buffers(tmp_path):
    book = Ledger()
    lane = book.lane(sequence=6, slots=3)
    book.slot(lane, 0, record(9, 0x1000, 100, 1, LIVE, 32, 2, 3, 5 + (3 << 48)))
    book.slot(lane, 1, record(4, 0x2000, 200, 0, LIVE, 64, 1, 2, 6))
    book.slot(lane, 2, record(5, 0x3000, 300, 0, 0, 64, 1, 2, 6))
    book.slot(lane, 3, record(6, 0x3000, 300, 0, LIVE, 64, 1, 2, 6))       # beyond slots_used
    book.sums(lane, 0, 2, 500, 1024, 1, 300, 512, 500, 1024)
    book.sums(lane, 1, 1, 100, 128, 0, 0, 0, 100, 128)
    book.event(lane, 0, event(ALLOC, slot=0, id=9, address=0x1000, requested=100, account=1))
    r = book.read(tmp_path)
    assert [(b["account"], b["id"]) for b in r["buffers"]] == [(0, 4), (1, 9)]
    b = r["buffers"][1]
    assert b["tag"] == ["model", "layer"] and b["thread_id"] == 4002 and b["time_units"] == 5 + (3 << 48)
    assert (b["address"], b["bytes_requested"], b["bytes_per_bank"], b["bytes_reserved"]) == (0x1000, 100, 32, 128)
    a = r["accounts"][0]
    assert a["live"] == three(1, 200, 512) == a["listed"] and a["freed"] == three(1, 300, 512)
    assert (a["peak_requested"], a["peak_reserved"], a["slack_requested"]) == (500, 1024, 0)
    assert [e["operation"] for e in r["events"]] == ["alloc"] and r["events"][0]["number"] == 0


def test_second_segment(tmp_path):
    book = Ledger()
    lane = book.lane(sequence=2, slots=1)
    second = book.extent(1024 * 40)
    book.put("Q", lane + 8, 514)
    book.put("Q", lane + 72, second)
    book.raw[second + 40:second + 80] = record(77, 1, 1)
    assert [b["id"] for b in book.read(tmp_path)["buffers"]] == [77]


def test_extended(tmp_path):
    book = Ledger()
    book.group(1 << 40, b"graph")
    lane = book.lane(sequence=4, slots=4)
    most, bank = (1 << 46) - 1, (1 << 40) - 1
    book.slot(lane, 0, record(1, 2, most, 0, LIVE | EXTENDED, bank))
    book.slot(lane, 2, struct.pack("<5Q", 0xABC, 1 << 40, 17 | EXTENSION << 56, 1 << 50, 1 << 45))
    book.slot(lane, 1, record(2, 3, 10, 0, LIVE | EXTENDED, 20))
    book.slot(lane, 3, struct.pack("<5Q", 0xABC, 5, (EXTENSION | LIVE | 16) << 56, 1, 1))
    book.put("Q", lane + 8, 3)                  # the extension of the second buffer is out of reach
    r = book.read(tmp_path)
    one, two = r["buffers"]
    assert (one["address"], one["group"], one["stack"]) == (0xABC, 1 << 40, 17)
    assert (one["bytes_requested"], one["bytes_per_bank"]) == (1 << 50, 1 << 45)
    assert (two["address"], two["bytes_requested"], two["bytes_per_bank"]) == (None, 10, 20)
    assert r["groups"] == [{"id": 1 << 40, "length": 5, "name": "graph"}]


def test_imported_is_listed_only(tmp_path):
    book = Ledger()
    lane = book.lane(sequence=2, slots=1)
    book.slot(lane, 0, record(1, 2, 10, 0, LIVE | IMPORTED, 20))
    book.more(lane, 0, 0, 0, 0, 2, 22, 1, 10)
    r = book.read(tmp_path)
    a = r["accounts"][0]
    assert r["buffers"][0]["imported"] and a["live"] == three(0, 0, 0) == a["listed"]
    assert a["imported"] == {"count": 1, "bytes_requested": 10} and a["failed"] == {"count": 2, "bytes_requested": 22}


def test_closed_device(tmp_path):
    book = Ledger()
    book.put("QI", CATALOG + 48, 12, 1)
    lane = book.lane(sequence=2, slots=1)
    book.slot(lane, 0, record(1, 2, 10, 0, LIVE, 20))
    book.sums(lane, 0, 5, 50, 800, 2, 20, 320, 40, 640)
    book.more(lane, 0, 1, 10, 160)
    r = book.read(tmp_path)
    a = r["accounts"][0]
    assert r["buffers"][0]["released"] and r["devices"][0]["closes"] == 1
    assert a["live"] == three(0, 0, 0) and a["freed"] == a["allocated"] == three(5, 50, 800)
    assert a["released"] == three(1 + 3, 10 + 30, 160 + 480) and a["peak_requested"] == 40


def test_two_lanes(tmp_path):
    book = Ledger()
    one, two = book.lane(sequence=2), book.lane(sequence=2)
    book.peaks(4, 90, 180, 95, 185)
    book.sums(one, 0, 3, 100, 200, 1, 40, 80, 60, 120)
    book.sums(two, 0, 2, 70, 140, 1, 30, 60, 50, 100)
    book.sums(two, 1, 2, 70, 140, 1, 30, 60, 50, 100)       # one lane alone: exact
    r = book.read(tmp_path)
    a, b = r["accounts"]
    assert a["live"] == three(3, 100, 200)
    assert (a["peak_requested"], a["peak_reserved"]) == (100, 200)      # the live sum is higher than 90 and 180
    assert (a["slack_requested"], a["slack_reserved"]) == (10, 20)      # the lanes' peaks: 110 and 220
    assert (b["peak_requested"], b["slack_requested"], b["peak_reserved"], b["slack_reserved"]) == (50, 0, 100, 0)


def test_peak_bound_of_the_account(tmp_path):
    book = Ledger()
    one, two = book.lane(sequence=2), book.lane(sequence=2)
    book.peaks(4, 105, 205, 130, 240)
    book.sums(one, 0, 3, 100, 200, 3, 100, 200, 60, 120)
    book.sums(two, 0, 2, 70, 140, 2, 70, 140, 50, 100)
    a = book.read(tmp_path)["accounts"][0]
    assert (a["peak_requested"], a["peak_reserved"], a["slack_requested"], a["slack_reserved"]) == (105, 205, 25, 35)


def test_anomalies(tmp_path):
    book = Ledger()
    lane = book.lane(sequence=12)
    book.put("QQ", lane + 192, 6, 600)
    for n in range(2, 6):
        at = lane + 192 + 16 + 48 * (n % 4)
        book.raw[at:at + 48] = event(UNKNOWN_FREE, id=n, account=1023)
    book.put("QQ", lane + 192 + 208 * 7, 1, 5)
    r = book.read(tmp_path)["anomalies"]
    assert r["unknown free"]["count"] == 6 and r["unknown free"]["bytes_requested"] == 600
    assert [(s["id"], s["operation"]) for s in r["unknown free"]["samples"]] == [(n, "unknown free") for n in range(2, 6)]
    assert r["failed allocation"]["count"] == 1 and r["replaced"]["samples"] == []


def test_ring_wraps(tmp_path):
    book = Ledger()
    lane = book.lane(sequence=20, ring=4)
    for n in range(10):
        book.event(lane, n, event(FREE, slot=n, group=n + 1, id=n, time=n), ring=4)
    r = book.read(tmp_path)["events"]
    assert [(e["number"], e["id"], e["slot"], e["group_low"]) for e in r] == [(n, n, n, n + 1) for n in range(6, 10)]


def interrupted(undo_sequence):
    """Three calls were done; the fourth, a free of slot 0, was interrupted."""
    book = Ledger()
    lane = book.lane(sequence=7, slots=1, ring=4)
    whole = record(1, 2, 10, 0, LIVE, 20)
    at = book.slot(lane, 0, record(1, 2, 10, 0, 0, 20))
    book.sums(lane, 0, 1, 10, 160, 1, 10, 160, 10, 160)
    book.put("Q", lane + 32, 99)
    for n in range(3):
        book.event(lane, n, event(ALLOC, id=n), ring=4)
    book.event(lane, 3, event(FREE, id=666), ring=4)
    book.put("QIIQQ", lane + 1856, undo_sequence, 0, 2, 0, struct.unpack_from("<Q", whole, 16)[0])
    book.put("8Q", lane + 1856 + 32, 1, 10, 160, 0, 0, 0, 10, 160)
    book.put("4Q", lane + 1856 + 96, lane + 32, 5, lane + 32, 98)       # last first: 5 stays
    return book, lane, at


def test_interrupted_call_is_taken_back(tmp_path):
    r = interrupted(7)[0].read(tmp_path)
    assert r["interrupted"] and r["totals_exact"] and r["liveness"] == "dead"
    assert [b["id"] for b in r["buffers"]] == [1] and r["accounts"][0]["live"] == three(1, 10, 160)
    assert [e["number"] for e in r["events"]] == [0, 1, 2]
    assert r["lanes"][0]["dropped_events"] == 5


def test_interrupted_before_it_changed_anything(tmp_path):
    r = interrupted(5)[0].read(tmp_path)
    assert r["interrupted"] and r["buffers"] == [] and r["lanes"][0]["dropped_events"] == 99


def test_interrupted_call_spoils_the_oldest_event(tmp_path):
    book, lane, _ = interrupted(9)
    book.put("Q", lane, 9)                      # event 4 was being written over event 0
    assert [e["number"] for e in book.read(tmp_path)["events"]] == [1, 2, 3]


def test_undo_without_slot_and_account(tmp_path):
    book, lane, _ = interrupted(7)
    book.put("IIQ", lane + 1864, 0xFFFFFFFF, 0, 0xFFFFFFFF)
    r = book.read(tmp_path)
    assert r["interrupted"] and r["buffers"] == [] and r["accounts"][0]["freed"] == three(1, 10, 160)


@pytest.mark.parametrize("at, form, value", [
    (1868, "I", 33), (1868, "I", 0xFFFFFFFF), (1864, "I", 5000), (1872, "Q", 1 << 60), (1872, "Q", 600),
    (1952, "Q", 1 << 62), (1952, "Q", 12345)])
def test_hostile_undo(tmp_path, at, form, value):
    book, lane, _ = interrupted(7)
    book.put(form, lane + at, value)
    with pytest.raises(LedgerError):
        book.read(tmp_path)


def full():
    book = Ledger()
    lane = book.lane(sequence=4, slots=2)
    book.slot(lane, 0, record(1, 2, 10))
    book.sums(lane, 0, 1, 10, 0)
    return book, lane


@pytest.mark.parametrize("size", [0, 7, 100, 1304, 3071, 4095, 4096, 20480, 100000, 135168 + 20480, -1])
def test_truncated(tmp_path, size):
    path = full()[0].write(tmp_path)
    os.truncate(path, size if size >= 0 else os.path.getsize(path) - 1)
    with pytest.raises(LedgerError):
        read_ledger(path)


@pytest.mark.parametrize("at, form, value", [
    (0, "8s", b"MTALLYLX"), (0, "8s", bytes(8)), (8, "I", 2), (8, "I", 0), (12, "I", 1296), (68, "I", os.getuid() + 1),
    (1096, "Q", 1 << 63), (1104, "I", 0xFFFFFFFF), (1108, "I", 65), (1128, "Q", CATALOG), (1160, "Q", 1 << 50),
    (1168, "I", 129), (3072, "Q", (1 << 64) - 8), (3072, "Q", 20484), (EXTENTS + 8, "Q", 1 << 40), (EXTENTS + 16, "Q", 0),
    (EXTENTS + 24, "I", 0xFFFFFFFF), (EXTENTS + 64, "Q", (1 << 64) - 8), (EXTENTS + 64, "Q", EXTENTS),
    (CATALOG + 4, "I", 1), (CATALOG + 64 * 3 + 4, "I", 0), (CATALOG + 64 * 4 + 8, "H", 9), (TAGS + 128 * 3, "I", 3)])
def test_hostile_numbers(tmp_path, at, form, value):
    book, _ = full()
    path = book.write(tmp_path)
    book.put(form, at, value)
    with open(path, "wb") as file:
        file.write(book.raw)
    with pytest.raises(LedgerError):
        read_ledger(path)


def test_launch(tmp_path):
    book = Ledger()
    assert book.read(tmp_path)["identity"]["launch_id"] == "00" * 16
    book.put("16s", 1176, bytes(range(1, 17)))
    assert book.read(tmp_path)["identity"]["launch_id"] == bytes(range(1, 17)).hex()


def test_newer_version_names_the_number(tmp_path):
    book = Ledger()
    book.put("I", 8, 41)
    with pytest.raises(LedgerError, match="41"):
        book.read(tmp_path)


def test_buffer_of_no_account(tmp_path):
    book, lane = full()
    book.slot(lane, 1, record(1, 2, 10, account=1000))
    with pytest.raises(LedgerError):
        book.read(tmp_path)


def test_every_flipped_byte_is_an_answer_or_a_ledger_error(tmp_path):
    book, lane = full()
    path = book.write(tmp_path)
    places = list(range(1024, 1304, 3)) + list(range(3072, 3090)) + list(range(CATALOG, CATALOG + 448, 5)) + \
        list(range(lane, lane + 2464, 11))
    for at in places:
        for byte in (0xFF, 0x80):
            raw = bytearray(book.raw)
            raw[at] ^= byte
            with open(path, "wb") as file:
                file.write(raw)
            try:
                json.dumps(read_ledger(path))
            except LedgerError:
                pass


def test_sparse_giant_is_read_without_its_holes(tmp_path):
    book, lane = full()
    end = len(book.raw)
    for k in range(1, 16):
        book.put("Q", lane + 64 + 8 * k, end)
        end += 40 * (512 << k)
    book.put("Q", lane + 8, 512 * (2 ** 16 - 1))
    path = book.write(tmp_path)
    os.truncate(path, end)
    assert [b["id"] for b in read_ledger(path)["buffers"]] == [1]


def test_alive_and_detached(tmp_path):
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    book = Ledger(os.getpid(), ticks)
    lane = book.lane(sequence=2)
    path = book.write(tmp_path)
    assert read_ledger(path)["liveness"] == "detached"
    code = "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.lockf(f, fcntl.LOCK_EX, 1); print(1, flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        r = read_ledger(path)
        assert r["liveness"] == "alive" and r["totals_exact"]
        with open(path, "r+b") as file:
            file.seek(lane)
            file.write(struct.pack("<Q", 3))
        r = read_ledger(path)
        assert r["liveness"] == "alive" and not r["totals_exact"] and not r["interrupted"]
    finally:
        child.communicate()


def test_command(tmp_path):
    def run(*arguments):
        return subprocess.run([sys.executable, os.path.join(HERE, "ledger.py"), *arguments], capture_output=True, text=True)
    done = run(full()[0].write(tmp_path))
    assert done.returncode == 0 and json.loads(done.stdout)["buffers"][0]["id"] == 1
    gone = run(os.path.join(tmp_path, "none"))
    assert gone.returncode == 1 and gone.stdout == "" and "Traceback" not in gone.stderr and gone.stderr
    assert run().returncode == 2 and run("a", "b").returncode == 2
    assert run(str(tmp_path)).returncode == 1
