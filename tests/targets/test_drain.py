"""Open streams of a killed canary end in order after the grace, other answers by themselves."""

import http.client
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.support.servers import LOCALHOST, Process, free_port, wait_until

# Not granian: it keeps a close back while the application waits in `receive`, so there the socket
# ends at the client's next message.
SERVERS = {
    "uvicorn": ["uvicorn", "--port", "{port}"],
    "hypercorn": ["hypercorn", "--bind", f"{LOCALHOST}:{{port}}"],
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[int, Process]]:
    port = free_port()
    command = [part.format(port=port) for part in SERVERS[request.param]]
    with Process(
        [sys.executable, "-m", *command, "tests.targets.streams:app"], tmp_path / "server.log"
    ) as process:
        process.wait_port(port)
        yield port, process


def fetch(port: int, path: str, method: str = "GET") -> bytes:
    """The whole body."""
    with closing(http.client.HTTPConnection(LOCALHOST, port, timeout=20)) as connection:
        connection.request(method, path)
        return connection.getresponse().read()


def test_streams_of_a_killed_canary_end_in_order(server: tuple[int, Process]) -> None:
    port, process = server
    with (
        ThreadPoolExecutor() as pool,
        connect(f"ws://{LOCALHOST}:{port}/checkout/socket") as client,
    ):
        assert client.recv() == "1.5.0"
        events = pool.submit(fetch, port, "/checkout/events")
        slow = pool.submit(fetch, port, "/checkout/slow")
        time.sleep(0.5)  # both have to be open; only the server knows when they are
        assert fetch(port, "/kill", "POST") == b"killed"
        begun = time.monotonic()
        with pytest.raises(ConnectionClosed) as closed:
            client.recv(timeout=10)
        waited = time.monotonic() - begun
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        # Not before the grace of 0.5 s (this clock starts a little late), and long before 60 s.
        assert 0.3 < waited < 5
        # A whole chunked body, not a cut connection: http.client would raise IncompleteRead.
        assert events.result(timeout=10) == b"data: 1.5.0\n\n"
        assert slow.result(timeout=10) == b"1.5.0 whole"
    process.wait_log("stream unwound")
    process.wait_log("socket told")
    assert "Traceback" not in process.output()


def test_streams_of_an_upstream_end_on_both_sides(tmp_path: Path) -> None:
    back, front = free_port(), free_port()
    uvicorn = [sys.executable, "-m", "uvicorn", "--port"]
    env = {"CANARY_TEST_UPSTREAM": f"http://{LOCALHOST}:{back}"}
    with (
        Process([*uvicorn, str(back), "tests.targets.streams:app"], tmp_path / "back.log") as there,
        Process(
            [*uvicorn, str(front), "tests.targets.gateway:app"], tmp_path / "front.log", env=env
        ) as here,
        ThreadPoolExecutor() as pool,
    ):
        there.wait_port(back)
        here.wait_port(front)
        wait_until(lambda: fetch(front, "/checkout/version") == b"1.5.0", what="it is ready")
        with connect(f"ws://{LOCALHOST}:{front}/checkout/socket") as client:
            assert client.recv() == "1.5.0"
            events = pool.submit(fetch, front, "/checkout/events")
            time.sleep(0.5)  # as above
            assert fetch(front, "/kill", "POST") == b"killed"
            with pytest.raises(ConnectionClosed) as closed:
                client.recv(timeout=10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
            assert events.result(timeout=10) == b"data: 1.5.0\n\n"
        there.wait_log("stream unwound")
        there.wait_log("socket told")
        assert "Traceback" not in here.output() + there.output()
