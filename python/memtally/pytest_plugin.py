# SPDX-License-Identifier: Apache-2.0
"""Limits of device memory in pytest: part of the package, found by pytest by itself.

    @pytest.mark.limit_device_memory("1 GiB")                 the most that one memory of a device may hold
    @pytest.mark.limit_device_memory("8 MiB", kind="l1")      the most that this kind may hold
    @pytest.mark.limit_device_leaks("0 B")                    what may be left behind

Processes that a test starts count, as far as they are tracked. Tests without a mark cost nothing, unless
--device-memory asks to watch all. At the end stand the tests that took most; JUnit files get their figures as properties.
"""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from memtally._region import Leaks, PeakRegion

_MEMORY, _LEAKS = "limit_device_memory", "limit_device_leaks"
_PROPERTIES = ("memtally_peak_bytes", "memtally_peak_exact", "memtally_leaked_bytes")
_HOLDERS = 5


class Limit(NamedTuple):
    """What one mark says."""

    size: int
    kind: str | None
    text: str


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("memtally", "device memory")
    group.addoption(
        "--device-memory", action="store_true", help="watch the device memory of every test, not only of marked ones"
    )
    group.addoption(
        "--device-memory-worst",
        type=int,
        default=10,
        metavar="N",
        help="how many tests to list at the end that took most (default: 10; 0: none)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{_MEMORY}(size, kind=None): fail if one memory of a device, or this kind, holds more "
        "at any moment of the test, children included",
    )
    config.addinivalue_line(
        "markers", f"{_LEAKS}(size='0 B', kind=None): fail if the test leaves more behind, children included"
    )


def limits_of(item: pytest.Item, name: str) -> list[Limit]:
    """The limits that marks of this name set, each checked; the nearest mark of a kind holds. Raises pytest.UsageError."""
    from memtally._sizes import parse_size

    found: dict[str | None, Limit] = {}
    for mark in item.iter_markers(name):
        arguments = dict(zip(("size", "kind"), mark.args, strict=False))
        unknown = sorted(set(mark.kwargs) - {"size", "kind"})
        if unknown or len(mark.args) > 2:
            raise pytest.UsageError(
                f"{item.nodeid}: {name} takes a size and perhaps a kind, not {unknown or mark.args}"
            )
        arguments.update(mark.kwargs)
        if name == _LEAKS:
            arguments.setdefault("size", 0)
        if "size" not in arguments:
            raise pytest.UsageError(f'{item.nodeid}: {name} needs a size: @pytest.mark.{name}("1 GiB")')
        try:
            size = parse_size(arguments["size"])
        except (TypeError, ValueError) as error:
            raise pytest.UsageError(f"{item.nodeid}: {name}: {error}") from None
        kind = arguments.get("kind")
        found.setdefault(kind, Limit(size, kind, str(arguments["size"])))
    return list(found.values())


def _child_leaks(paths: Iterable[str]) -> tuple[list[Any], list[str]]:
    """Buffers that children left when they died, and what is said of each such child."""
    from memtally import LedgerError, snapshot
    from memtally._sizes import show_size

    buffers, notes = [], []
    for path in paths:
        try:
            child = snapshot(path=path)
        except (OSError, LedgerError):
            continue  # it ended with nothing to show
        if child.liveness != "dead" or not child.live:
            continue
        buffers += child.live
        notes.append(
            f"process {child.pid} ({child.comm}) ended with {show_size(child.bytes_reserved)} in "
            f"{len(child.live)} buffers"
        )
    return buffers, notes


def _over_memory(region: PeakRegion, limits: list[Limit]) -> list[str]:
    from memtally._sizes import show_size

    said = []
    for limit in limits:
        peaks = [one for one in (region.kinds if limit.kind else region.memories) if limit.kind in (None, one.kind)]
        worst = max(peaks, key=lambda one: one.bytes_reserved, default=None)
        if worst is None or worst.bytes_reserved <= limit.size:
            continue
        said.append(
            f"the peak of {worst.device} {worst.kind} was {show_size(worst.bytes_reserved)} ({worst.bytes_reserved} "
            f"bytes), the limit is {limit.text}"
        )
        parts = [one for one in region.kinds if one.device == worst.device and one.memory == worst.kind and one.summed]
        said += [
            f"    {one.kind}: {show_size(one.bytes_reserved)} at most, {show_size(one.start_reserved)} of it before the test"
            for one in parts
        ]
    return said


def _over_leaks(leaks: Leaks, notes: list[str], limits: list[Limit]) -> list[str]:
    from memtally import Leaks
    from memtally._sizes import show_size

    said = []
    for limit in limits:
        some = Leaks(one for one in leaks if limit.kind in (None, one.kind))
        if some.bytes_reserved <= limit.size:
            continue
        said.append(
            f"{show_size(some.bytes_reserved)} ({some.bytes_reserved} bytes) in {len(some)} buffers "
            f"{f'of kind {limit.kind} ' if limit.kind else ''}were left behind, the limit is {limit.text}"
        )
        sums = list(some.by("tag").items())
        said += [f"    {show_size(size)}: {tag or '(no tag)'}" for tag, size in sums[:_HOLDERS]]
        if len(sums) > _HOLDERS:
            said.append(f"    ({len(sums) - _HOLDERS} more tags)")
        said += [f"    {note}" for note in notes]
    return said


def _watched_call(item: pytest.Item) -> Generator[None, object, object]:
    memory, leaked = limits_of(item, _MEMORY), limits_of(item, _LEAKS)
    if not memory and not leaked and not item.config.getoption("--device-memory"):
        return (yield)
    import memtally

    tracking = memtally.track()
    if not tracking:
        pytest.fail(f"limits of device memory need the tracker: {tracking.why_not}", pytrace=False)
    before = memtally.snapshot()
    region = memtally.peak()
    try:
        with region:
            result = yield
    finally:
        _add_properties(item, region)
    gc.collect()
    own = memtally.leaks(before)
    buffers, notes = _child_leaks(region.child_ledgers)
    leaks = memtally.Leaks([*own, *buffers])
    item.user_properties[-1] = (_PROPERTIES[2], leaks.bytes_reserved)
    said = _over_memory(region, memory) + _over_leaks(leaks, notes, leaked)
    if said:
        pytest.fail("\n".join(said), pytrace=False)
    return result


if int(pytest.__version__.split(".")[0]) >= 8:
    pytest_runtest_call = pytest.hookimpl(wrapper=True, tryfirst=True)(_watched_call)
else:  # it cannot be told that a test failed after its call; it may run all other tests

    def pytest_runtest_setup(item: pytest.Item) -> None:
        if any(True for name in (_MEMORY, _LEAKS) for _ in item.iter_markers(name)):
            pytest.fail(f"limits of device memory need pytest 8 or newer, this is {pytest.__version__}", pytrace=False)


def _add_properties(item: pytest.Item, region: PeakRegion) -> None:
    highest = region.highest_memory()
    item.user_properties += [
        (_PROPERTIES[0], 0 if highest is None else highest.bytes_reserved),
        (_PROPERTIES[1], str(region.exact).lower()),
        (_PROPERTIES[2], 0),
    ]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The tests that took most. Under xdist the figures come with the reports of the workers."""
    from memtally._sizes import show_size

    most: int = terminalreporter.config.getoption("--device-memory-worst")
    rows = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            properties = dict(getattr(report, "user_properties", ()))
            if getattr(report, "when", None) == "call" and _PROPERTIES[0] in properties:
                rows.append(
                    (properties[_PROPERTIES[0]], properties[_PROPERTIES[2]], report.nodeid, properties[_PROPERTIES[1]])
                )
    if not rows or most <= 0:
        return
    terminalreporter.section("device memory")
    terminalreporter.write_line(f"{'peak':>12}  {'left':>12}  test")
    for peak, left, name, exact in sorted(rows, key=lambda row: (-row[0], -row[1], row[2]))[:most]:
        mark = "" if exact == "true" else "  (at least)"
        terminalreporter.write_line(f"{show_size(peak):>12}  {show_size(left):>12}  {name}{mark}")
