"""An origin that records every byte and answers by the script of the case named in the path."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tests.upstream.transparency import wire
from tests.upstream.transparency.case import Case
from tests.upstream.transparency.steps import (
    PATIENCE,
    Body,
    Close,
    GaveUpError,
    Hang,
    IfReused,
    Pause,
    Received,
    Recording,
    Reset,
    Step,
    reset,
)

NAME: Final = re.compile(rb"~([a-z0-9-]+)~")
UNKNOWN: Final = b"HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nno such case"
LONGEST_IDLE: Final = 30.0


class Origin:
    """A server on a free port of 127.0.0.1; ``recordings`` holds what it saw, by case.

    A case is named ``~like-this~`` in the target, or in a header where the target has no room.
    """

    def __init__(self, cases: Mapping[str, Case]) -> None:
        self.cases = cases
        self.recordings = {name: Recording() for name in cases}
        self.strangers: list[bytes] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**20)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(ConnectionError):
                await _Connection(self, reader, writer).run()
        except asyncio.CancelledError:
            pass  # the suite is over
        finally:
            self._connections.discard(task)
            writer.close()


class _Connection:
    def __init__(
        self, origin: Origin, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._origin = origin
        self._reader = reader
        self._writer = writer
        self._data = b""
        self._served = 0

    async def run(self) -> None:
        while await self._more(wire.request(self._data) is None):
            read = wire.request(self._data)
            if read is None:
                continue
            name = NAME.search(self._data)
            known = name.group(1).decode() if name else ""
            if known not in self._origin.cases:
                self._origin.strangers.append(self._data)
                self._writer.write(UNKNOWN)
                return
            if not await self._exchange(self._origin.cases[known], known):
                return

    async def _more(self, wanted: bool) -> bool:
        """Read once if wanted; whether there is anything to go on with."""
        if not wanted:
            return True
        try:
            async with asyncio.timeout(LONGEST_IDLE):
                data = await self._reader.read(2**16)
        except TimeoutError:
            return False
        self._data += data
        return bool(data)

    async def _exchange(self, case: Case, name: str) -> bool:
        """Play the script; whether the connection lives on."""
        recording = self._origin.recordings[name]
        recording.begins()
        recording.at_origin.add(self._data)
        self._served += 1
        place = len(recording.requests)
        read = wire.request(self._data)
        assert read is not None
        recording.requests.append(read[0])
        script = case.again if b"/again" in read[0].target else case.answer
        try:
            alive = await self._play(script, recording)
        except (GaveUpError, ConnectionError) as error:
            recording.troubles.append(f"origin: {type(error).__name__} {error}")
            alive = False
        finally:
            read = wire.request(self._data)
            if read is not None:
                recording.requests[place], self._data = read
            recording.ends()
        return alive and recording.requests[place].complete

    async def _play(self, script: tuple[Step, ...], recording: Recording) -> bool:
        for step in script:
            match step:
                case bytes():
                    self._writer.write(step)
                    await self._writer.drain()
                case Body():
                    await self._body(recording)
                case Received():
                    await recording.at_client.until(step.text)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Hang():
                    await self._hang(recording)
                case IfReused() if self._served > 1:
                    return await self._play(step.steps, recording)
                case Reset() | Close():
                    self._end(step)
                    return False
        return True

    def _end(self, step: Reset | Close) -> None:
        if isinstance(step, Reset):
            reset(self._writer)

    async def _body(self, recording: Recording) -> None:
        while (read := wire.request(self._data)) is not None and not read[0].complete:
            before = len(self._data)
            alive = await self._more(True)
            recording.at_origin.add(self._data[before:])
            if not alive or read[0].flaws:
                raise GaveUpError("the request ended before its body did")

    async def _hang(self, recording: Recording) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                with suppress(ConnectionError):
                    while await self._reader.read(2**16):
                        pass
                recording.left_at = asyncio.get_running_loop().time()
