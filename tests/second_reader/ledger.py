#!/usr/bin/env python3
"""Second reader of ledgers, written from docs/formats/ledger.md alone. Usage: ledger.py FILE"""
import fcntl
import json
import os
import stat
import struct
import sys
import time

OPERATIONS = ("not kept", "alloc", "free", "alloc failed", "mark", "close", "replace", "unknown free", "ambiguous free",
              "inherited free", "after close", "duplicate reporter", "no room", "open", "bookkeeping")
ANOMALIES = ("unknown free", "replaced", "ambiguous", "inherited", "after close", "duplicate reporter", "no room",
             "failed allocation")
COUNTERS = ("lost_events", "lost_bytes", "lost_tags", "lost_groups", "lost_registrations", "signal_overflow",
            "paused_events", "refused_pages", "recorder_wait_ns")
AREAS = (("catalog", 64), ("threads", 4), ("tags", 128), ("groups", 128))
LIVE, IMPORTED, EXTENDED, EXTENSION = 1, 2, 4, 8
NONE = 0xFFFFFFFF
MAX_SLOTS = 512 * (2 ** 16 - 1)
LANE_HEAD = 135168        # lane header and sums, up to the ring
MAX_PATH = 256            # deepest tag path that is followed
TRIES = 20


class LedgerError(Exception):
    """The file is no ledger, or it contradicts the specification."""


def text(raw):
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def unpack(form, raw, at=0):
    return struct.unpack_from("<" + form, raw, at)


class Source:
    """Bounded reads of the file, with the words that an undo wrote back laid over it."""

    def __init__(self, fd):
        self.fd, self.words = fd, {}

    @property
    def size(self):
        return os.fstat(self.fd).st_size          # it grows while the process lives

    def read(self, at, count):
        if at < 0 or at + count > self.size:
            raise LedgerError(f"truncated: {count} bytes at {at} of {self.size}")
        parts, have = [], 0
        while have < count:
            part = os.pread(self.fd, count - have, at + have)
            if not part:
                raise LedgerError(f"truncated at {at + have}")
            parts.append(part)
            have += len(part)
        raw = b"".join(parts)
        if any(at - 8 < w < at + count for w in self.words):
            padded = bytearray(8) + raw + bytearray(8)
            for w, value in self.words.items():
                if at - 8 < w < at + count:
                    struct.pack_into("<Q", padded, w - at + 8, value)
            raw = bytes(padded[8:8 + count])
        return raw

    def next_data(self, at):
        """The first offset from `at` on that may hold something other than a hole, or the size."""
        try:
            found = os.lseek(self.fd, at, os.SEEK_DATA)
        except OSError as error:
            found = self.size if error.errno == 6 else at      # ENXIO: only a hole up to the end
        return min([found] + [max(at, w) for w in self.words if w > at - 8])

    def items(self, start, size, first, end):
        """Items first to end - 1 of an array, without those that lie in holes."""
        while first < end:
            first = max(first, (self.next_data(start + first * size) - start) // size)
            count = min(end - first, 4096)
            if count <= 0:
                return
            block = self.read(start + first * size, count * size)
            if block.count(0) != len(block):
                for k in range(count):
                    yield first + k, block[k * size:(k + 1) * size]
            first += count


def read_header(src):
    if src.size < 8:
        raise LedgerError("too short for a ledger")
    magic = src.read(0, 8)
    if magic == bytes(8):
        raise LedgerError("the ledger is being made, or its process died while it made it: nothing was recorded")
    if magic != b"MTALLYLG":
        raise LedgerError("not a ledger: wrong magic")
    version, header_bytes = unpack("II", src.read(8, 8))
    if version != 1:
        raise LedgerError(f"ledger version {version} is not known here (only 1)")
    if header_bytes != 1304:
        raise LedgerError(f"header of {header_bytes} bytes, not 1304")
    raw, h = src.read(0, 4096), {}
    for name, at in (("run_id", 16), ("boot_id", 32), ("machine_id", 48), ("launch_id", 1176)):
        h[name] = raw[at:at + 16].hex()
    h["pid"], h["uid"], h["gid"], h["parent_pid"] = unpack("4I", raw, 64)
    h["pid_namespace"], h["process_start_ticks"], h["created_realtime_ns"] = unpack("3Q", raw, 80)
    for name, at, size in (("comm", 104, 16), ("host_name", 120, 64), ("executable", 184, 256), ("tracker_version", 440, 32),
                           ("cgroup", 472, 256), ("container", 728, 80), ("pod", 808, 80), ("job", 888, 64)):
        h[name] = text(raw[at:at + size])
    clock = dict(zip(("kind", "shift", "hz", "start_ticks", "start_ns", "pair_sequence", "pair_ticks", "pair_ns"),
                     unpack("2I6Q", raw, 952)))
    end_state, end_time = unpack("I4xQ", raw, 1008)
    areas = {}
    for k, (name, size) in enumerate(AREAS):
        offset, capacity, count = areas[name] = unpack("QII", raw, 1096 + 16 * k)
        if count > capacity or offset % 4 or (capacity and offset < 4096):
            raise LedgerError(f"impossible area of {name}")
        if offset + capacity * size > src.size:
            raise LedgerError(f"truncated: area of {name} beyond the end")
    file_end, lane_count = unpack("QI", raw, 1160)
    if file_end > src.size:
        raise LedgerError(f"truncated: {src.size} bytes of {file_end}")
    if lane_count > 128:
        raise LedgerError(f"{lane_count} lanes, more than 128")
    lanes = list(unpack("128Q", raw, 3072)[:lane_count])
    for offset in lanes:
        if offset % 8 or (offset and offset < 4096) or offset + LANE_HEAD > src.size:
            raise LedgerError(f"impossible lane at {offset}")
    return {"identity": h, "clock": clock, "end_state": end_state, "end_time": end_time, "areas": areas,
            "counters": dict(zip(COUNTERS, unpack("9Q", raw, 1024))), "lanes": lanes}


def liveness(fd, identity):
    query = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 0, 1, 0)      # a read lock meets write locks only
    if struct.unpack_from("h", fcntl.fcntl(fd, fcntl.F_GETLK, query))[0] != fcntl.F_UNLCK:
        return "alive"
    try:
        with open(f"/proc/{identity['pid']}/stat", "rb") as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        if fields[0] not in (b"Z", b"X") and int(fields[19]) == identity["process_start_ticks"]:
            return "detached"
    except (OSError, IndexError, ValueError):
        pass
    return "dead"


def slot_offset(segments, slot):
    """Where a slot lies, or None if its segment is not there."""
    k = (slot // 512 + 1).bit_length() - 1
    if k > 15 or not segments[k]:
        return None
    return segments[k] + 40 * (slot - 512 * (2 ** k - 1))


def take_back(src, header):
    """Lays the undo of every interrupted call over the file. Returns the number of interrupted lanes."""
    interrupted = 0
    for lane in filter(None, header["lanes"]):
        sequence, = unpack("Q", src.read(lane, 8))
        if sequence % 2 == 0:
            continue
        interrupted += 1
        raw = src.read(lane + 1856, 608)
        undo, account, count, slot, word2 = unpack("QIIQQ", raw)
        if undo == sequence:
            if count > 32:
                raise LedgerError(f"undo of {count} words, more than 32")
            words = [unpack("QQ", raw, 96 + 16 * k) for k in reversed(range(count))]
            for at, value in words:
                if at % 8 or at + 8 > src.size:
                    raise LedgerError(f"undo of a word at {at}")
                src.words[at] = value
            if slot not in (NONE, 2 ** 64 - 1):
                at = slot_offset(unpack("16Q", src.read(lane + 64, 128)), slot)
                if at is None or at % 8 or at + 40 > src.size:
                    raise LedgerError(f"undo of slot {slot}, which is not there")
                src.words[at + 16] = word2
            if account != NONE:
                if account > 1023:
                    raise LedgerError(f"undo of account {account}")
                for k, value in enumerate(unpack("8Q", raw, 32)):
                    src.words[lane + 3072 + 64 * account + 8 * k] = value
        src.words[lane] = sequence - 1
    return interrupted


def record(words):
    w0, w1, w2, w3, w4 = words
    return {"id": w0, "address": w1, "bytes_requested": w2 & (1 << 46) - 1, "account": w2 >> 46 & 1023, "flags": w2 >> 56,
            "bytes_per_bank": w3 & (1 << 40) - 1, "thread": w3 >> 40 & 0xFFFF, "tag": w4 & 0xFFFF,
            "time_units": w4 >> 16 | (w3 >> 56) << 48}


def event(raw):
    e = record(unpack("5Q", raw))
    flags, (e["slot"], e["group_low"]) = e.pop("flags"), unpack("II", raw, 40)
    operation = flags >> 4
    e["operation"] = OPERATIONS[operation] if operation < len(OPERATIONS) else str(operation)
    e["imported"], e["extended"] = bool(flags & IMPORTED), bool(flags & EXTENDED)
    return e


def read_lane(src, index, offset, odd=False):
    """All of one lane. odd: a call was interrupted in it, so that the oldest event of the ring is not there."""
    head = src.read(offset, LANE_HEAD)
    sequence, used, ring, capacity, owner, dropped, unread = unpack("QQQIIQQ", head)
    segments = unpack("16Q", head, 64)
    if used > MAX_SLOTS:
        raise LedgerError(f"lane {index}: {used} slots, more than {MAX_SLOTS}")
    if ring != offset + LANE_HEAD or ring + 48 * capacity > src.size:
        raise LedgerError(f"lane {index}: impossible ring of {capacity} events at {ring}")
    extents = [(offset, ring + 48 * capacity)]
    buffers = []
    for k, start in enumerate(segments):
        if not start:
            continue
        if start % 8 or start < 4096 or start + 40 * (512 << k) > src.size:
            raise LedgerError(f"lane {index}: impossible segment at {start}")
        extents.append((start, start + 40 * (512 << k)))
        first = 512 * (2 ** k - 1)
        for _, raw in src.items(start, 40, 0, min(512 << k, max(0, used - first))):
            if not raw[23] & LIVE:
                continue
            b = record(unpack("5Q", raw))
            b["lane"], b["group"], b["stack"] = index, 0, 0
            if b["flags"] & EXTENDED:
                at = slot_offset(segments, b["address"]) if b["address"] < used else None
                words = unpack("5Q", src.read(at, 40)) if at else (0,) * 5
                if words[2] >> 56 == EXTENSION:
                    b["address"], b["group"], b["stack"] = words[0], words[1], words[2] & NONE
                    b["bytes_requested"], b["bytes_per_bank"] = words[3], words[4]
                else:
                    b["address"] = None                  # it was in the extension
            buffers.append(b)
    anomalies = []
    for k in range(8):
        at = 192 + 208 * k
        count, requested = unpack("QQ", head, at)
        samples = [event(head[at + 16 + 48 * (n % 4):][:48]) for n in range(max(0, count - 4), count)]
        anomalies.append((count, requested, samples))
    total, events = sequence // 2, []
    oldest = max(0, total - capacity + (1 if odd or sequence % 2 else 0))
    while oldest < total:                                # at most two runs: up to the end of the ring, and from its start
        at = oldest % capacity
        run = min(total - oldest, capacity - at)
        for i, raw in src.items(ring, 48, at, at + run):
            if raw[23] >> 4:
                events.append({"lane": index, "number": oldest + i - at, **event(raw)})
        oldest += run
    after, = unpack("Q", src.read(offset, 8))
    still = after // 2 - capacity + after % 2            # older ones may have been overwritten meanwhile
    events = [e for e in events if e["number"] >= still]
    return {"index": index, "sequence": sequence, "exact": sequence == after and sequence % 2 == 0, "head": head,
            "extents": extents, "buffers": buffers, "anomalies": anomalies, "events": events,
            "report": {"lane": index, "events": total, "slots_used": used, "ring_capacity": capacity,
                       "owner_thread": owner, "dropped_events": dropped, "unread_events": unread}}


def read_tables(src, areas):
    devices, kinds, accounts, last = {}, {}, {}, None

    def put(table, limit, index, entry):
        if index in table or index >= limit:
            raise LedgerError(f"catalog: entry {index} is there twice or beyond the limit {limit}")
        table[index] = {"index": index, **entry}

    offset, _, count = areas["catalog"]
    for _, raw in src.items(offset, 64, 0, count):
        kind, index = unpack("II", raw)
        if kind == 1:
            names = ("id_scheme", "local_index", "pci_address", "parent", "physical_bytes", "closed_at", "closes")
            put(devices, 128, index, {"id": raw[8:24].hex(), **dict(zip(names, unpack("IiIIQQI", raw, 24))),
                                      "vendor": "", "architecture": ""})
        elif kind == 2:
            if last != (1, index):
                raise LedgerError(f"catalog: rest of device {index} without its device")
            devices[index].update(vendor=text(raw[8:32]), architecture=text(raw[32:64]))
        elif kind == 3:
            memory, inside, flags = unpack("III", raw, 8)
            put(kinds, 64, index, {"memory": memory, "inside": None if inside == NONE else inside,
                                   "overlaps": bool(flags & 1), "host": bool(flags & 2), "name": text(raw[24:64])})
        elif kind == 4:
            names = ("device", "kind", "banks", "capacity_bytes", "capacity_bytes_per_bank", "peak_requested",
                     "peak_reserved", "peak_requested_bound", "peak_reserved_bound")
            put(accounts, 1023, index, dict(zip(names, unpack("HHI6Q", raw, 8))))
        last = (kind, index)
    for a in accounts.values():
        if a["device"] not in devices or a["kind"] not in kinds:
            raise LedgerError(f"account {a['index']} has no device or no kind")
    offset, _, count = areas["threads"]
    count = min(count, 65536)
    threads = unpack(f"{count}I", src.read(offset, 4 * count))
    tags, groups = {}, []
    offset, _, count = areas["tags"]
    for i, raw in src.items(offset, 128, 0, min(count, 65536)):
        parent, _, length = unpack("III", raw)
        if i and parent >= i:
            raise LedgerError(f"tag {i} has the parent {parent}")
        tags[i] = {"index": i, "parent": parent, "length": length, "name": text(raw[12:])}
    offset, _, count = areas["groups"]
    for _, raw in src.items(offset, 128, 0, min(count, 8192)):
        number, length = unpack("QI", raw)
        if number:
            groups.append({"id": number, "length": length, "name": text(raw[12:])})
    return devices, kinds, accounts, threads, tags, groups


def account_report(a, closed, lanes, buffers, exact):
    def three(values):
        return dict(zip(("count", "bytes_requested", "bytes_reserved"), values))
    sums = [unpack("8Q", lane["head"], 3072 + 64 * a["index"]) for lane in lanes]
    more = [unpack("8Q", lane["head"], 69632 + 64 * a["index"]) for lane in lanes]
    s = [sum(column) for column in zip(*sums)] or [0] * 8
    m = [sum(column) for column in zip(*more)] or [0] * 8
    allocated, freed, released = s[0:3], s[3:6], m[0:3]
    live = [x - y for x, y in zip(allocated, freed)]
    if min(live) < 0 and exact:
        raise LedgerError(f"account {a['index']}: more was freed than allocated")
    held = live = [max(0, x) for x in live]
    if closed:
        live, freed, released = [0] * 3, allocated, [x + y for x, y in zip(released, held)]
    out = {k: a[k] for k in ("index", "device", "kind", "banks", "capacity_bytes", "capacity_bytes_per_bank")}
    out.update(live=three(live), allocated=three(allocated), freed=three(freed), released=three(released))
    users = [x for x in sums if x[0]]
    for k, name in ((1, "requested"), (2, "reserved")):
        if len(users) == 1:
            peak = bound = users[0][5 + k]
        else:
            peak = max([a["peak_" + name], held[k]] + [x[5 + k] for x in users])
            bound = max(a[f"peak_{name}_bound"], s[5 + k])
        out["peak_" + name], out["slack_" + name] = peak, max(0, bound - peak)
    out["failed"] = {"count": m[3], "bytes_requested": m[4]}
    out["imported"] = {"count": 0 if closed else m[5], "bytes_requested": 0 if closed else m[6]}
    mine = [b for b in buffers if not b["released"] and not b["imported"]]
    out["listed"] = three([len(mine)] + [sum(b[n] for b in mine) for n in ("bytes_requested", "bytes_reserved")])
    return out


def report(header, state, lanes, tables, exact, interrupted):
    devices, kinds, accounts, threads, tags, groups = tables
    extents = sorted([e for lane in lanes for e in lane["extents"]] +
                     [(o, o + c * size) for (o, c, _), (_, size) in zip(header["areas"].values(), AREAS) if c])
    if any(a[1] > b[0] for a, b in zip(extents, extents[1:])):
        raise LedgerError("areas or extents overlap")
    paths = {0: []}

    def path(tag):
        if tag not in paths:
            names, at = [], tag
            while at and len(names) < MAX_PATH:
                names.append(tags[at]["name"] if at in tags else "(other)" if at == 1 else "")
                at = tags[at]["parent"] if at in tags else 0
            paths[tag] = names[::-1]
        return paths[tag]

    def thread_id(item):
        thread = item.pop("thread")
        item["thread_id"] = threads[thread] if 0 < thread < len(threads) else 0

    buffers, by_account = [], {}
    for b in (b for lane in lanes for b in lane["buffers"]):
        account = accounts.get(b["account"])
        if account is None:
            raise LedgerError(f"buffer {b['id']} of the account {b['account']}, which is not there")
        flags = b.pop("flags")
        thread_id(b)
        b.update(tag=path(b["tag"]), imported=bool(flags & IMPORTED), bytes_reserved=b["bytes_per_bank"] * account["banks"],
                 released=bool(devices[account["device"]]["closed_at"]))
        buffers.append(b)
        by_account.setdefault(b["account"], []).append(b)
    anomalies = {name: {"count": 0, "bytes_requested": 0, "samples": []} for name in ANOMALIES}
    for lane in lanes:
        for name, (count, requested, samples) in zip(ANOMALIES, lane["anomalies"]):
            total = anomalies[name]
            total["count"] += count
            total["bytes_requested"] += requested
            total["samples"] += [{"lane": lane["index"], **s} for s in samples]
    events = [e for lane in lanes for e in lane["events"]]
    for e in events + [s for a in anomalies.values() for s in a["samples"]]:
        thread_id(e)
    return {
        "identity": header["identity"], "liveness": state, "end_state": header["end_state"], "end_time": header["end_time"],
        "clock": header["clock"], "counters": header["counters"], "lanes": [lane["report"] for lane in lanes],
        "devices": [devices[i] for i in sorted(devices)], "kinds": [kinds[i] for i in sorted(kinds)],
        "accounts": [account_report(accounts[i], devices[accounts[i]["device"]]["closed_at"], lanes, by_account.get(i, []),
                                    exact) for i in sorted(accounts)],
        "anomalies": anomalies, "buffers": sorted(buffers, key=lambda b: (b["account"], b["id"])), "events": events,
        "tags": [tags[i] for i in sorted(tags)], "groups": groups, "totals_exact": exact, "interrupted": interrupted > 0}


def sequences(src, header):
    return [unpack("Q", src.read(o, 8))[0] if o else 0 for o in header["lanes"]]


def collect(fd):
    """One consistent view, or the lanes one by one after a bounded number of tries."""
    for attempt in range(TRIES):
        src = Source(fd)
        header = read_header(src)
        if os.fstat(fd).st_uid != header["identity"]["uid"]:
            raise LedgerError(f"the owner of the file is not the uid {header['identity']['uid']} of its header")
        state = liveness(fd, header["identity"])
        before = sequences(src, header)
        interrupted = 0
        if state == "dead":
            interrupted = take_back(src, header)
            header = read_header(src)
        try:
            lanes = [read_lane(src, i, o, before[i] % 2) for i, o in enumerate(header["lanes"]) if o]
            tables = read_tables(src, header["areas"])
            again = read_header(src)
            if state == "dead" or (again["lanes"] == header["lanes"] and sequences(src, again) == before and
                                   not any(s % 2 for s in before)):
                return report(again, state, lanes, tables, True, interrupted)
        except LedgerError:
            if state == "dead" or attempt + 1 == TRIES:    # while the process writes, a view may be torn
                raise
        time.sleep(0.001 * attempt)
    src = Source(fd)
    header, lanes = read_header(src), []
    for i, offset in enumerate(header["lanes"]):
        for attempt in range(TRIES if offset else 0):
            lane = read_lane(src, i, offset)
            if lane["exact"]:
                break
        if offset:
            lanes.append(lane)
    tables = read_tables(Source(fd), read_header(src)["areas"])
    return report(header, state, lanes, tables, False, 0)


def read_ledger(path):
    """Reads the ledger at `path`. Raises LedgerError for everything that is not one."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise LedgerError("not a regular file")
            return collect(fd)
        finally:
            os.close(fd)
    except (OSError, struct.error, ValueError, OverflowError) as error:
        raise LedgerError(str(error)) from error


def main(arguments):
    if len(arguments) != 2 or arguments[1].startswith("-"):
        print("usage: ledger.py FILE", file=sys.stderr)
        return 2
    try:
        result = read_ledger(arguments[1])
    except LedgerError as error:
        print(f"ledger.py: {error}", file=sys.stderr)
        return 1
    json.dump(result, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
