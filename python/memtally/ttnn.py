# SPDX-License-Identifier: Apache-2.0
"""TT-NN: every buffer of its allocator, tagged by operation, and a picture of a bank's address space.

    import memtally.ttnn                       # before or after ttnn; imports it
    memtally.ttnn.tag_modules(Attention, MLP)  # tags by module, too
    ...
    print(memtally.ttnn.report())              # free, largest free block, and who owns what

Imported before ttnn, or under `memtally run`, everything is seen. Imported after it, calls between its libraries are led
through the hook from then on, and what is live already is taken from the allocator's block table: attach() says how much.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from memtally import _native
from memtally._bank_report import EARLIER, Block, MemoryReport, Report
from memtally._sizes import show_size
from memtally._snapshot import Buffer, Snapshot, snapshot
from memtally._tracking import HOOK, kind_number, track

__all__ = [
    "EARLIER",
    "Attached",
    "Block",
    "MemoryReport",
    "Report",
    "attach",
    "refresh",
    "report",
    "tag_modules",
]

_KINDS = ("dram", "l1", "l1_small", "trace")
_REPORTER = "tt-metal hook"  # the hook's: one reporter owns the buffers of a device
_SYNTHETIC = 1 << 62  # ids of blocks that no tensor is known of


def _attach_hook() -> bool:
    """Puts the hook into the process. Returns whether TT-Metal was there first."""
    if not track() or _native.is_loaded("libmemtally_ttmetal") is not None:
        return False
    late = _native.is_loaded("libtt_metal") is not None
    _native.load_hook(HOOK)
    if late:
        _native.rebind(HOOK, "_Z")
    return late


_late = _attach_hook()

import ttnn  # noqa: E402


class _Region(NamedTuple):
    """The allocator's view of one kind, and where its block table begins."""

    kind: str
    banks: int
    bytes_per_bank: int
    allocated_per_bank: int
    free_per_bank: int
    largest_free_per_bank: int
    blocks: list[tuple[int, int]]  # address in the table, size; allocated ones


def _view(device: Any, kind: str) -> _Region:
    view = ttnn.get_memory_view(device, getattr(ttnn.BufferType, kind.upper()))
    blocks = [(int(one["address"]), int(one["size"])) for one in view.block_table if one["allocated"] == "yes"]
    return _Region(
        kind, view.num_banks, view.total_bytes_per_bank, view.total_bytes_allocated_per_bank,
        view.total_bytes_free_per_bank, view.largest_contiguous_bytes_free_per_bank, sorted(blocks),
    )  # fmt: skip


def _things(wanted: type) -> list[Any]:
    """Every object of a type that something which the garbage collector knows refers to, each once."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    # Whether a tuple or dictionary holds others, the collector does not say where it has found it to be in no cycle.
    look = [gc.get_referents(holder) for holder in gc.get_objects()]
    frame = sys._getframe(1)
    while frame is not None:
        look.append(list(frame.f_locals.values()))
        frame = frame.f_back  # type: ignore[assignment]
    while look:
        for one in look.pop():
            if type(one) is wanted:
                found[id(one)] = one
            elif type(one) in (tuple, dict) and not gc.is_tracked(one) and id(one) not in seen:
                seen.add(id(one))
                look.append(gc.get_referents(one))
    return list(found.values())


def _shift(blocks: Iterable[tuple[int, int]], buffers: Iterable[tuple[int, int]]) -> int | None:
    """How far addresses are above those of the block table, if there is a distance at which all buffers are blocks."""
    table = set(blocks)
    held = sorted(set(buffers))
    if not held or len(held) > len(table):
        return None
    first, first_size = held[0]
    for start in sorted(one for one, size in table if size == first_size):
        if all((address - first + start, size) in table for address, size in held):
            return first - start
    return None


# Of (device, kind): the address at which its block table begins. The same while the device is open.
_bases: dict[tuple[int, int, str], int] = {}


def _base(device: Any, view: _Region, buffers: Iterable[Buffer]) -> int:
    """The address at which the block table begins; 0 if nothing says."""
    key = (id(device), int(device.id()), view.kind)
    if key not in _bases:
        shift = _shift(view.blocks, [(one.address, one.bytes_per_bank) for one in buffers])
        if shift is None:
            return 0
        _bases[key] = shift
    return _bases[key]


def _probe(device: Any, kind: str) -> bool:
    """Allocates a tile and looks where it lies; so the hook learns of the device, too. Returns whether the hook knows buffers
    by the ids that tensors say, which depends on TT-NN's version."""
    before = set(_view(device, kind).blocks)
    type_of_kind = getattr(ttnn.BufferType, kind.upper())
    if kind == "l1_small":  # takes sharded buffers alone
        core = ttnn.CoreRangeSet({ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(0, 0))})
        shard = ttnn.ShardSpec(core, [32, 32], ttnn.ShardOrientation.ROW_MAJOR)
        memory = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.HEIGHT_SHARDED, type_of_kind, shard)
    else:
        memory = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.INTERLEAVED, type_of_kind)
    shape = ttnn.Shape([1, 1, 32, 32])
    try:
        tensor = ttnn.allocate_tensor_on_device(shape, ttnn.bfloat16, ttnn.TILE_LAYOUT, device, memory)
    except RuntimeError:
        return False  # it is full
    address = int(tensor.buffer_address())
    new = set(_view(device, kind).blocks) - before
    ids = {one.id for one in snapshot().live if one.kind == kind and one.address == address}
    known = hasattr(tensor, "buffer_unique_id") and int(tensor.buffer_unique_id()) in ids
    ttnn.deallocate(tensor)
    if len(new) == 1:
        _bases[id(device), int(device.id()), kind] = address - min(new)[0]
    return known


def _chips(device: Any, now: Snapshot) -> list[Any]:
    numbers = [int(chip) for chip in device.get_device_ids()]
    return [one for one in now.devices if one.vendor == "tenstorrent" and one.local_index in numbers and not one.closed]


class Attached(NamedTuple):
    """What was live on a device before memtally came."""

    buffers: int
    bytes_reserved: int
    by_tensor: int  # of the buffers: those of tensors that were found in Python, whose ends will be seen

    def __repr__(self) -> str:
        return (
            f"<memtally: {self.buffers} buffers with {show_size(self.bytes_reserved)} were live before, "
            f"{self.by_tensor} of them of tensors>"
        )


def attach(device: Any) -> Attached:
    """Records what is live on a device and not yet known, from the allocator's block table, under the tag EARLIER.

    Done for open devices when memtally.ttnn is imported after ttnn, as far as they can be found. Buffers of tensors that can
    be found in Python get their own ids, and go when those do; the others are compared with the block table by refresh().
    """
    if not track():
        return Attached(0, 0, 0)
    kinds = [kind for kind in _KINDS if _view(device, kind).blocks]
    known_ids = [_probe(device, kind) for kind in kinds or ["dram"]]
    now = snapshot()
    chips = _chips(device, now)
    tensors: dict[tuple[str, int], int] = {}
    for tensor in _things(ttnn.Tensor) if any(known_ids) else ():
        if tensor.storage_type() == ttnn.StorageType.DEVICE and tensor.is_allocated():
            kind = tensor.memory_config().buffer_type.name.lower()
            tensors[kind, int(tensor.buffer_address())] = int(tensor.buffer_unique_id())
    count = by_tensor = size_sum = 0
    for kind in kinds:
        view = _view(device, kind)
        base = _base(device, view, ())
        known = {(one.address, one.bytes_per_bank) for one in now.live if one.kind == kind}
        for start, size in view.blocks:
            address = start + base
            if (address, size) in known:
                continue
            id = tensors.get((kind, address))
            by_tensor += id is not None
            count += 1
            size_sum += size * view.banks * len(chips)
            for chip in chips:
                _report(
                    chip, kind, _SYNTHETIC | address if id is None else id, address, size, view.banks, len(chips) > 1
                )
    return Attached(count, size_sum, by_tensor)


def _handle(chip: Any) -> int:
    return _native.register_device(
        bytes.fromhex(chip.id).ljust(16, b"\0") if chip.id else bytes(16), chip.id_scheme, chip.local_index,
        chip.pci_address, 0, chip.physical_bytes, chip.vendor, chip.architecture, _REPORTER,
    )  # fmt: skip


def _report(chip: Any, kind: str, id: int, address: int, size: int, banks: int, is_mesh: bool) -> None:
    with _native.tag(EARLIER):
        _native.alloc(
            _handle(chip), kind_number(kind), id, address, size * banks, size, (1 << 63 | id) if is_mesh else 0, False
        )


def refresh(device: Any) -> int:
    """Forgets buffers of attach() that are not in the block table any more. Returns how many; report() does it, too."""
    now = snapshot()
    gone = 0
    for kind in _KINDS:
        mine = [one for one in now.live if one.kind == kind and one.id & _SYNTHETIC and one.tag.endswith(EARLIER)]
        if not mine:
            continue
        others = {(one.device, one.address) for one in now.live if one.kind == kind and not one.id & _SYNTHETIC}
        view = _view(device, kind)
        base = _base(device, view, ())
        blocks = set(view.blocks)
        for chip in _chips(device, now):
            for one in mine:
                still = (one.address - base, one.bytes_per_bank) in blocks and (one.device, one.address) not in others
                if one.device == chip.number and not still:
                    _native.free(_handle(chip), kind_number(kind), one.id)
                    gone += 1
    return gone


# ---- tags by operation ----------------------------------------------------------------------------------------------


def _tag_operations() -> None:
    """Every operation of TT-NN runs under its name. Done when this module is imported; MEMTALLY_TTNN_TAGS=0: not."""
    if os.environ.get("MEMTALLY_TTNN_TAGS") == "0" or not _native.is_tracked():
        return
    decorators = sys.modules.get("ttnn.decorators")
    operation: Any = getattr(decorators, "FastOperation", None)
    if not getattr(getattr(ttnn, "CONFIG", None), "enable_fast_runtime_mode", True):
        operation = getattr(decorators, "Operation", None)
    if operation is None or isinstance(vars(operation).get("__call__"), _native.NamedCall):
        return
    operation.__call__ = _native.NamedCall(operation.__call__, "python_fully_qualified_name")


# ---- tags by module -------------------------------------------------------------------------------------------------


def tag_modules(*modules: Any) -> None:
    """Tags what modules allocate, when they are made and when they are called.

    Classes: each instance is tagged by its class and its number among those of the same place, "Layer 0 / Attention 0".
    Instances: they and the modules inside them are tagged by their attributes, "model / layers[3] / attention".
    """
    for module in modules:
        if isinstance(module, type):
            _tag_class(module)
        else:
            _tag_instance(module, type(module).__name__, set())


def _tag_of(instance: Any) -> _native.tag | None:
    tag: _native.tag | None = getattr(instance, "__dict__", {}).get("_memtally_tag")
    return tag


def _wrap_calls(cls: type) -> None:
    """Methods that run a module: those of the class itself, once."""
    for name in ("__call__", "forward"):
        method = cls.__dict__.get(name)
        if method is None or hasattr(method, "_memtally") or not callable(method):
            continue
        setattr(cls, name, _in_own_tag(method))


def _in_own_tag(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def tagged(self: Any, *arguments: Any, **keywords: Any) -> Any:
        tag = _tag_of(self)
        current = _native.current_tag()
        # __call__ that calls forward is one level, not two.
        if tag is None or (current is not None and current.path.endswith(tag.name)):
            return method(self, *arguments, **keywords)
        with tag:
            return method(self, *arguments, **keywords)

    tagged._memtally = True  # type: ignore[attr-defined]
    return tagged


def _tag_class(cls: type) -> None:
    init: Any = cls.__init__  # type: ignore[misc]
    if hasattr(init, "_memtally"):
        return
    made: dict[str, int] = {}

    @functools.wraps(init)
    def tagged(self: Any, *arguments: Any, **keywords: Any) -> None:
        if type(self) is not cls:  # a subclass, which may be tagged by its own name
            init(self, *arguments, **keywords)
            return
        current = _native.current_tag()
        place = current.path if current is not None else ""
        number = made[place] = made.get(place, -1) + 1
        tag = _native.tag(f"{cls.__name__} {number}")
        self.__dict__["_memtally_tag"] = tag
        with tag:
            init(self, *arguments, **keywords)

    tagged._memtally = True  # type: ignore[attr-defined]
    cls.__init__ = tagged  # type: ignore[misc]
    _wrap_calls(cls)


def _is_module(value: Any) -> bool:
    cls = type(value)
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, type)
        and cls.__module__.partition(".")[0] not in ("ttnn", "torch", "numpy", "builtins", "types", "functools")
        and any(name in vars(base) for base in cls.__mro__ for name in ("__call__", "forward"))
    )


def _tag_instance(module: Any, name: str, seen: set[int]) -> None:
    if id(module) in seen or not hasattr(module, "__dict__"):
        return
    seen.add(id(module))
    module.__dict__["_memtally_tag"] = _native.tag(name)
    for base in type(module).__mro__[:-1]:
        if base.__module__.partition(".")[0] not in ("ttnn", "torch", "builtins"):
            _wrap_calls(base)
    for attribute, value in list(vars(module).items()):
        if attribute == "_memtally_tag":
            continue
        parts: Iterable[tuple[str, Any]] = [(attribute, value)]
        if isinstance(value, (list, tuple)):
            parts = [(f"{attribute}[{place}]", part) for place, part in enumerate(value)]
        elif isinstance(value, dict):
            parts = [(f"{attribute}[{key!r}]", part) for key, part in value.items()]
        for part_name, part in parts:
            if _is_module(part):
                _tag_instance(part, part_name, seen)


# ---- the report -----------------------------------------------------------------------------------------------------


def report(device: Any = None) -> Report:
    """What each memory of a device holds at this point: free, the largest free block, and who owns what.

    The figures and the blocks are the allocator's own, the owners memtally's. Without a device: the one that is open.
    """
    if device is None:
        device = _only_device()
    refresh(device)
    now = snapshot()
    chips = _chips(device, now)
    number = chips[0].number if chips else -1
    memories = []
    for kind in _KINDS:
        view = _view(device, kind)
        if not view.bytes_per_bank:
            continue
        buffers = [one for one in now.live if one.kind == kind and one.device == number]
        base = _base(device, view, buffers)
        owner = {one.address - base: one for one in buffers}
        blocks = []
        for start, size in view.blocks:
            one = owner.get(start)
            blocks.append(Block(start + base, size, EARLIER if one is None else one.tag, one))
        memories.append(
            MemoryReport(kind, view.banks, view.bytes_per_bank, view.allocated_per_bank, view.free_per_bank,
                         view.largest_free_per_bank, base, blocks)
        )  # fmt: skip
    name = now.device_name(number) if chips else f"device {device.id()}"
    return Report(f"{name} (and {len(chips) - 1} more chips in step)" if len(chips) > 1 else name, memories, now)


def _open_devices() -> list[Any]:
    """Devices that are found and answer."""
    found = []
    closed = {one.local_index for one in snapshot().devices if one.closed}
    for device in _things(ttnn.MeshDevice):
        try:
            if not closed.intersection(map(int, device.get_device_ids())):
                _view(device, "dram")
                found.append(device)
        except RuntimeError:
            continue  # closed
    return found


def _only_device() -> Any:
    devices = _open_devices()
    if len(devices) == 1:
        return devices[0]
    raise ValueError(
        f"{len(devices) or 'no'} open devices were found: say which one, as in memtally.ttnn.report(device)"
    )


if _native.is_tracked():
    _tag_operations()
    #: What was live before, for each device that was open when this module was imported.
    attached = [attach(device) for device in _open_devices()] if _late else []
