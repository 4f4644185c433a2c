# SPDX-License-Identifier: Apache-2.0
"""The tracker in this process, and what is reported to it."""

from __future__ import annotations

import os

from memtally import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType

LIBRARIES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib")
TRACKER = os.path.join(LIBRARIES, "libmemtally.so.0")
HOOK = os.path.join(LIBRARIES, "libmemtally_ttmetal.so")

_ANY_KIND = 0xFFFF
_OVERLAPS, _ON_HOST = 1, 2
_ID_NONE, _ID_CHIP, _ID_UUID = 0, 1, 2
_SCHEMES = {"none": _ID_NONE, "chip": _ID_CHIP, "uuid": _ID_UUID}

# Numbers of the kinds that every ledger has; those of the program follow as they are defined.
_kinds = {
    name: number
    for number, name in enumerate(
        [
            "dram",
            "l1",
            "l1_small",
            "trace",
            "system_memory",
            "cb",
            "dfb",
            "kernel",
            "cuda_device",
            "cuda_managed",
            "host_pinned",
        ]
    )
}

# Of (device, kind), as this interpreter registered them.
_banks: dict[tuple[int, int], int] = {}


class Tracking:
    """What is tracked: whether anything is, by which library, and into which ledger."""

    __slots__ = ("active", "ledger", "library", "preloaded", "why_not")

    def __init__(self, active: bool, preloaded: bool, library: str) -> None:
        self.active = active
        self.preloaded = preloaded
        self.library = library
        self.ledger = _native.ledger_path()
        self.why_not = "" if active else _why_not()

    def __bool__(self) -> bool:
        return self.active

    def __repr__(self) -> str:
        if not self.active:
            return f"<memtally: nothing is tracked: {self.why_not}>"
        how = "preloaded" if self.preloaded else "loaded"
        return f"<memtally: tracked by {self.library} ({how}), ledger {self.ledger or 'made at the first report'}>"


def _why_not() -> str:
    for name in ("MEMTALLY", "TT_ALLOC_TRACKING_ENABLED"):
        if os.environ.get(name) == "0":
            return f"{name}=0 is set: unset it before Python starts"
    return "the library that is loaded is older than this package: start without LD_PRELOAD, or preload this package's"


def track() -> Tracking:
    """Brings the tracker into this process, unless it is there: preloaded, or linked by some library. Says what is tracked.

    Tags that were entered before count from here on. With MEMTALLY=0 in the environment nothing is tracked, and every
    call does nothing.
    """
    active, preloaded, library = _native.track(TRACKER)
    return Tracking(active, preloaded, library)


def ledger_path() -> str:
    """The file that this process's ledger is; "" if there is none (yet)."""
    return _native.ledger_path()


def kind_number(kind: int | str) -> int:
    """The number of a kind by its name."""
    if not isinstance(kind, str):
        return kind
    number = _kinds.get(kind)
    if number is None:
        raise ValueError(
            f"there is no kind {kind!r}: there are {', '.join(_kinds)}; memtally.define_kind({kind!r}) makes it one"
        )
    return number


def define_kind(
    name: str,
    memory: int | str | None = None,
    inside: int | str | None = None,
    *,
    overlaps: bool = False,
    on_host: bool = False,
) -> int:
    """A kind of the program's own; the same name gives the same number.

    `memory`: the kind in whose memory it lies, if it is none itself. `inside`: the kind in whose buffers it nests.
    """
    track()
    number = _native.define_kind(
        name,
        _ANY_KIND if memory is None else kind_number(memory),
        _ANY_KIND if inside is None else kind_number(inside),
        (_OVERLAPS if overlaps else 0) | (_ON_HOST if on_host else 0),
    )
    _kinds.setdefault(name, number)
    return number


class Device:
    """A device that this program reports buffers of. Made by register_device()."""

    __slots__ = ("handle", "name")

    def __init__(self, handle: int, name: str) -> None:
        self.handle = handle
        self.name = name

    def __repr__(self) -> str:
        return f"<memtally.Device {self.name}{'' if self.handle else ', not tracked'}>"

    def register_kind(
        self, kind: int | str, capacity_bytes: int = 0, banks: int = 1, capacity_bytes_per_bank: int | None = None
    ) -> None:
        """Says that the device has this kind of memory, and how much of it in how many banks; 0 for what is not known."""
        if banks < 1:
            raise ValueError(f"a memory has at least one bank, not {banks}")
        if capacity_bytes_per_bank is None:
            capacity_bytes_per_bank = capacity_bytes // banks
        _banks[self.handle, kind_number(kind)] = banks
        _native.register_kind(self.handle, kind_number(kind), capacity_bytes, banks, capacity_bytes_per_bank)

    def alloc(
        self,
        kind: int | str,
        id: int,
        address: int,
        bytes_requested: int,
        bytes_per_bank: int | None = None,
        *,
        group: Group | int = 0,
        imported: bool = False,
    ) -> None:
        """A buffer was allocated: report it after that succeeded."""
        alloc(self, kind, id, address, bytes_requested, bytes_per_bank, group=group, imported=imported)

    def free(self, kind: int | str | None, id: int) -> None:
        """A buffer is about to be given back."""
        free(self, kind, id)

    def alloc_failed(self, kind: int | str, bytes_requested: int, bytes_per_bank: int | None = None) -> None:
        """An allocation did not succeed."""
        alloc_failed(self, kind, bytes_requested, bytes_per_bank)

    def close(self) -> None:
        """What is live on it is released by that, and listed apart from leaks."""
        _native.close_device(self.handle)


def register_device(
    local_index: int = 0,
    *,
    vendor: str = "",
    architecture: str = "",
    id: bytes = b"",
    id_scheme: str = "none",
    pci_address: int | None = None,
    parent: Device | None = None,
    physical_bytes: int = 0,
    reporter: str = "python",
) -> Device:
    """Makes a device known, and brings the tracker in if it is not there. The same device again gives the same handle.

    `id`, with `id_scheme` "chip" or "uuid", names it across processes; without, it is this process's own.
    """
    if id_scheme not in _SCHEMES:
        raise ValueError(f"id_scheme is one of {', '.join(_SCHEMES)}, not {id_scheme!r}")
    if len(id) > 16:
        raise ValueError(f"a device's id has at most 16 bytes, not {len(id)}")
    track()
    handle = _native.register_device(
        id.ljust(16, b"\0"),
        _SCHEMES[id_scheme],
        local_index,
        pci_address,
        parent.handle if parent else 0,
        physical_bytes,
        vendor,
        architecture,
        reporter,
    )
    return Device(handle, f"{vendor or 'device'}:{local_index}")


def _per_bank(device: Device, kind: int, size: int) -> int:
    banks = _banks.get((device.handle, kind), 1)
    return size if banks == 1 else -(-size // banks)


def alloc(
    device: Device,
    kind: int | str,
    id: int,
    address: int,
    bytes_requested: int,
    bytes_per_bank: int | None = None,
    *,
    group: Group | int = 0,
    imported: bool = False,
) -> None:
    """A buffer was allocated: report it after that succeeded.

    `bytes_per_bank`: what the allocator took in each bank; without it, what was asked for is spread over the banks that
    register_kind() was told of. `imported`: another process's memory, listed but not summed.
    """
    number = kind_number(kind)
    _native.alloc(
        device.handle,
        number,
        id,
        address,
        bytes_requested,
        _per_bank(device, number, bytes_requested) if bytes_per_bank is None else bytes_per_bank,
        group.number if isinstance(group, Group) else group,
        imported,
    )


def free(device: Device, kind: int | str | None, id: int) -> None:
    """A buffer is about to be given back. `kind` None: whatever kind it has."""
    _native.free(device.handle, _ANY_KIND if kind is None else kind_number(kind), id)


def alloc_failed(device: Device, kind: int | str, bytes_requested: int, bytes_per_bank: int | None = None) -> None:
    """An allocation did not succeed."""
    number = kind_number(kind)
    if bytes_per_bank is None:
        bytes_per_bank = _per_bank(device, number, bytes_requested)
    _native.alloc_failed(device.handle, number, bytes_requested, bytes_per_bank)


class Group:
    """What ties buffers together, under a name: give it to alloc(). Made by group()."""

    __slots__ = ("name", "number")

    def __init__(self, number: int, name: str) -> None:
        self.number = number
        self.name = name

    def __repr__(self) -> str:
        return f"<memtally.Group {self.name!r}>"

    def forget(self) -> None:
        """Its name is not needed any more."""
        _native.name_group(self.number, None)


# Far from numbers that other reporters count from 1.
_groups_made = int.from_bytes(os.urandom(6), "little") << 8


def group(name: str, number: int | None = None) -> Group:
    """A new group of buffers, or the one of that number."""
    global _groups_made
    if number is None:
        _groups_made += 1
        number = _groups_made
    _native.name_group(number, name)
    return Group(number, name)


class pause:
    """What this thread reports inside is counted, and not recorded: `with memtally.pause():`"""

    __slots__ = ()

    def __enter__(self) -> pause:
        _native.pause(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _native.pause(False)
