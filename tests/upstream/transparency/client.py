"""A client that sends exact bytes, records exact bytes and knows how the connection ended."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from tests.upstream.transparency import wire
from tests.upstream.transparency.steps import (
    PATIENCE,
    Answered,
    Close,
    GaveUpError,
    Pause,
    Received,
    Recording,
    Reset,
    Step,
    Tape,
    reset,
)
from tests.upstream.transparency.wire import Message

GRACE: Final = 0.03


@dataclass(frozen=True, slots=True)
class Got:
    """What a client got.

    Attributes:
        answers: interim ones too.
        surplus: bytes after the last answer.
        ended: "open" (all answers were there), "closed", "reset", "late" (nobody closed in time).
        seconds: from the first byte sent to the end.
    """

    raw: bytes
    answers: tuple[Message, ...]
    surplus: bytes
    ended: str
    seconds: float
    troubles: tuple[str, ...] = ()

    @property
    def finals(self) -> list[Message]:
        return [answer for answer in self.answers if answer.status >= 200 or not answer.status]

    @property
    def interims(self) -> list[Message]:
        return [answer for answer in self.answers if 0 < answer.status < 200]

    @property
    def complete(self) -> bool:
        return bool(self.finals) and all(answer.complete for answer in self.answers)


class _Visit:
    def __init__(
        self, methods: list[bytes], recording: Recording, waits: tuple[float, float]
    ) -> None:
        self._methods = methods
        self._recording = recording
        self._patience, self._grace = waits
        self._own = Tape()
        self._ended = ""
        self._troubles: list[str] = []

    async def run(self, port: int, steps: tuple[Step, ...]) -> Got:
        loop = asyncio.get_running_loop()
        started = loop.time()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        reading = asyncio.create_task(self._read(reader))
        try:
            with suppress(ConnectionError):  # the reader says so
                await self._send(writer, steps)
        except GaveUpError as error:
            self._troubles.append(f"client: {error}")
            reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        writer.close()
        return self._got(loop.time() - started)

    async def _send(self, writer: asyncio.StreamWriter, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case bytes():
                    writer.write(step)
                    await writer.drain()
                case Received():
                    await self._recording.at_origin.until(step.text)
                case Answered():
                    await self._own.until(step.text)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Reset():
                    self._recording.gone_at = asyncio.get_running_loop().time()
                    reset(writer)
                    return
                case Close():
                    writer.close()
                    return
                case _:
                    raise TypeError(f"no step of a client: {step}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            async with asyncio.timeout(self._patience):
                while not self._satisfied() and await self._more(reader):
                    pass
            if not self._ended:
                async with asyncio.timeout(self._grace):
                    while await self._more(reader):
                        pass
        except TimeoutError:
            self._ended = "open" if self._satisfied() else "late"
        except ConnectionError:
            self._ended = "reset"

    async def _more(self, reader: asyncio.StreamReader) -> bool:
        data = await reader.read(2**16)
        self._own.add(data)
        self._recording.at_client.add(data)
        self._ended = "" if data else "closed"
        return bool(data)

    def _satisfied(self) -> bool:
        if not b"HTTP/".startswith(self._own.data[:5]):
            return True  # whatever it is, it will not become an answer
        answers, _ = self._parsed()
        finals = [answer for answer in answers if answer.status >= 200 and answer.complete]
        return len(finals) == len(self._methods)

    def _parsed(self) -> tuple[list[Message], bytes]:
        closed = self._ended == "closed"
        return wire.answers(bytes(self._own.data), self._methods, closed=closed)

    def _got(self, seconds: float) -> Got:
        answers, surplus = self._parsed()
        return Got(
            bytes(self._own.data),
            tuple(answers),
            surplus,
            self._ended or "left",
            seconds,
            tuple(self._troubles),
        )


async def visit(
    port: int,
    steps: tuple[Step, ...],
    methods: list[bytes],
    recording: Recording,
    *,
    patience: float = PATIENCE,
    grace: float = GRACE,
) -> Got:
    """Do the steps on a connection of its own and read one answer for each of ``methods``.

    Args:
        patience: seconds to wait for the answers.
        grace: seconds in which bytes may still come that belong to no answer.
    """
    return await _Visit(methods, recording, (patience, grace)).run(port, steps)
