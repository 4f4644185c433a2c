# SPDX-License-Identifier: Apache-2.0
"""Tags as decorators: of functions, of coroutine functions, and of generators of both sorts."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from memtally import _native


class _Scope:
    """The tags of a coroutine or generator, present only while it runs."""

    def __init__(self, tag: _native.tag) -> None:
        self.mine: tuple[_native.CurrentTag | None, int] | None = None
        self.tag = tag
        self.outer: tuple[_native.CurrentTag | None, int] = (None, 0)

    def __enter__(self) -> None:
        if self.mine is None:
            with self.tag:
                # Entered and kept: leaving gives the caller back what it had.
                here = _native.exchange(_native.current_tag(), 0)
            self.mine = here
        self.outer = _native.exchange(*self.mine)

    def __exit__(self, *_: object) -> None:
        self.mine = _native.exchange(*self.outer)


class _Steps:
    """Drives a coroutine or generator step by step, each step with its tags; whoever drives this sees the same values."""

    def __init__(self, scope: _Scope, inner: Any) -> None:
        self.scope = scope
        self.inner = inner

    def __iter__(self) -> _Steps:
        return self

    __await__ = __iter__

    def __next__(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        with self.scope:
            return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        with self.scope:
            return self.inner.throw(*error)

    def close(self) -> None:
        with self.scope:
            self.inner.close()


async def _drive(tag: _native.tag, coroutine: Any) -> Any:
    return await _Steps(_Scope(tag), coroutine)


def _generate(tag: _native.tag, generator: Any) -> Any:
    return (yield from _Steps(_Scope(tag), generator))


def decorate(tag: _native.tag, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its allocations tagged. A coroutine or generator has the tag while it runs, not while others do."""
    if not callable(function):
        raise TypeError(f"{tag!r} decorates a function, or is entered with `with`; it was called with {function!r}")

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def tagged_coroutine(*arguments: Any, **keywords: Any) -> Any:
            return await _drive(tag, function(*arguments, **keywords))

        return tagged_coroutine

    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def tagged_async_generator(*arguments: Any, **keywords: Any) -> Any:
            # What is sent, thrown or closed by whoever drives this reaches the generator.
            scope, generator = _Scope(tag), function(*arguments, **keywords)
            step = generator.asend(None)
            try:
                while True:
                    try:
                        yielded = await _Steps(scope, step.__await__())
                    except StopAsyncIteration:
                        return
                    try:
                        step = generator.asend((yield yielded))
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        step = generator.athrow(error)
            finally:
                await _Steps(scope, generator.aclose().__await__())

        return tagged_async_generator

    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def tagged_generator(*arguments: Any, **keywords: Any) -> Any:
            return (yield from _generate(tag, function(*arguments, **keywords)))

        return tagged_generator

    @functools.wraps(function)
    def tagged(*arguments: Any, **keywords: Any) -> Any:
        with tag:
            return function(*arguments, **keywords)

    return tagged
