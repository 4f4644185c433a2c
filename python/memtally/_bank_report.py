# SPDX-License-Identifier: Apache-2.0
"""What memtally.ttnn.report() finds, as data, text and pictures."""

from __future__ import annotations

from typing import Any, NamedTuple

from memtally._sizes import show_size
from memtally._snapshot import Buffer, Snapshot

#: The tag of buffers that were live before memtally came.
EARLIER = "(before memtally)"


class Block(NamedTuple):
    """An allocated block of the table, and whose it is."""

    address: int  # an offset in each bank, as buffers have it
    size: int
    tag: str
    buffer: Buffer | None  # None: not known to memtally


class MemoryReport(NamedTuple):
    """One kind of memory of a device: one bank of it stands for all, since they are allocated in step."""

    kind: str
    banks: int
    bytes_per_bank: int
    allocated_per_bank: int
    free_per_bank: int
    largest_free_per_bank: int
    base: int  # the address at which the allocator's part of a bank begins
    blocks: list[Block]

    def owners(self) -> dict[str, int]:
        """Bytes in each bank by tag, the largest first."""
        sums: dict[str, int] = {}
        for block in self.blocks:
            sums[block.tag] = sums.get(block.tag, 0) + block.size
        return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


class Report:
    """What report() found."""

    def __init__(self, device: str, memories: list[MemoryReport], now: Snapshot) -> None:
        self.device = device
        self.memories = memories
        self.snapshot = now

    def memory(self, kind: str) -> MemoryReport:
        for memory in self.memories:
            if memory.kind == kind:
                return memory
        raise LookupError(f"the device has no {kind}: there is {', '.join(one.kind for one in self.memories)}")

    def __repr__(self) -> str:
        return "\n".join([self.device, *(line for memory in self.memories for line in _memory_lines(memory))])

    def _repr_html_(self) -> str:
        from memtally import _display

        return _display.report_html(self)

    def plot(self, kind: str = "l1", ax: Any = None) -> Any:
        """One bank's address space, all of it, and whose blocks lie where. Needs matplotlib; returns the axes."""
        from memtally import _plots

        memory = self.memory(kind)
        parts = [(block.address - memory.base, block.size, block.tag) for block in memory.blocks]
        title = (
            f"{self.device} {kind}: one bank of {memory.banks}, {show_size(memory.free_per_bank)} free, "
            f"largest block {show_size(memory.largest_free_per_bank)}"
        )
        return _plots.plot_bank(parts, memory.bytes_per_bank, memory.base, title, ax)


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_WIDTH, _OWNERS = 64, 8


def _memory_lines(memory: MemoryReport) -> list[str]:
    """A line of figures, the bank as a line of letters, and who the letters are."""
    lines = [
        f"  {memory.kind}: {show_size(memory.allocated_per_bank)} of {show_size(memory.bytes_per_bank)} in each of "
        f"{memory.banks} banks; {show_size(memory.free_per_bank)} free, largest free block "
        f"{show_size(memory.largest_free_per_bank)}"
    ]
    if not memory.blocks:
        return lines
    owners = memory.owners()
    letters = {tag: _LETTERS[place] if place < _OWNERS else "+" for place, tag in enumerate(owners)}
    lines.append(f"    |{_bank_picture(memory, letters)}|")
    for place, (tag, size) in enumerate(owners.items()):
        if place == _OWNERS:
            rest = sum(list(owners.values())[_OWNERS:])
            lines.append(f"    + {show_size(rest):>12}  {len(owners) - _OWNERS} more")
            break
        lines.append(f"    {letters[tag]} {show_size(size):>12}  {tag or '(no tag)'}")
    return lines


def _bank_picture(memory: MemoryReport, letters: dict[str, str]) -> str:
    """Each column a part of the bank: whose most of it is, or "." if nothing is in it."""
    columns: list[dict[str, int]] = [{} for _ in range(_WIDTH)]
    for block in memory.blocks:
        start = block.address - memory.base
        first = start * _WIDTH // memory.bytes_per_bank
        last = (start + block.size - 1) * _WIDTH // memory.bytes_per_bank
        for column in range(max(0, first), min(_WIDTH - 1, last) + 1):
            begin, end = (memory.bytes_per_bank * edge // _WIDTH for edge in (column, column + 1))
            covered = min(start + block.size, end) - max(start, begin)
            columns[column][block.tag] = columns[column].get(block.tag, 0) + max(1, covered)
    return "".join(letters[max(one, key=lambda tag: one[tag])] if one else "." for one in columns)
