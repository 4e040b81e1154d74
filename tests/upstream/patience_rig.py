"""What tests of clients that try an upstream's patience share."""

from __future__ import annotations

from typing import Final

from canary_middleware.upstream.patience import LONG
from tests.upstream.origins import Peer

GIVES_UP: Final = 1.3 * LONG
LARGE: Final = 32 * 2**20
UPLOAD: Final = b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n%b\r\n"
ASK: Final = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n"


def tires_of_readers(peer: Peer) -> None:
    """Sends more than anybody buffers, and gives up on who does not take it."""
    peer.head()
    peer.sock.settimeout(GIVES_UP)
    try:
        peer.sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE + bytes(LARGE))
    except OSError:
        peer.reset()


def tires_of_senders(peer: Peer) -> None:
    """As servers with a time-out for bodies do."""
    peer.head()
    peer.sock.settimeout(GIVES_UP)
    peer.body(10)


def breaks(peer: Peer) -> None:
    peer.head()
    peer.body(10)


def breaks_later(peer: Peer) -> None:
    peer.head()
    peer.body(10)
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n1")
    peer.over.wait(GIVES_UP)
