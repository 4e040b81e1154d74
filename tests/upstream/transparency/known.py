"""The cases that fail, each with its reason; a test keeps this list exact.

None of them is left because nobody looked: each is the server's, before our application is asked or
after it has answered, or beyond what the interface can say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

RESCUED: Final = 555
"""Status that stable answers with in ``serve_gateways.py``, and nobody else does."""

METHOD: Final = "its parser refuses methods that are not registered"
LOWER_METHOD: Final = "refuses a method in lower case"
RAW_BYTES: Final = "refuses bytes above ASCII in a target, as RFC 3986 does"
UNSAFE_BYTES: Final = "refuses quotes in a target, as RFC 3986 does"
NO_INTERIM: Final = "there is no interim answer in ASGI over HTTP/1.1"
NO_HINTS: Final = "offers no wsgi.early_hints"
ONLY_HINTS: Final = "of interim answers, only early hints can be said"
EMPTY_QUERY: Final = "an ASGI scope does not tell an empty query from none"
SERVER_CONTINUES: Final = "says 100 (Continue) itself, as soon as the body is read"
WHOLE_PIECES: Final = "a read from wsgi.input waits until the piece is whole"
BUFFERED: Final = "reads the whole body before it asks the application"
LATE_HEAD: Final = "sends the head with the first bytes of the body"
UNDERSCORE: Final = "drops names with underscores, which an environ confuses with hyphens"
NO_ABORT: Final = "hides its socket: that the client has gone shows when we write to it"
COOKIES: Final = "joins lines of Cookie by a comma, and we cannot tell it from one in a value"
NO_LENGTH_304: Final = "a 304 goes without its length: servers wait for as much of a body"
WE_DROP_304: Final = "uvicorn would cut the connection after a 304 with a length, so we send none"

INTERIM: Final = (
    "interim-103", "interim-103-twice", "interim-103-then-404", "interim-103-flows",
)  # fmt: skip
OTHER_INTERIM: Final = ("interim-100-unasked", "interim-102")
STREAMED: Final = (
    "body-flows", "body-flows-chunked", "early-answer", "early-start", "echo-in-turns",
)  # fmt: skip
RAW: Final = ("target-raw-utf-8", "target-raw-latin")
WSGI: Final = {
    "method-lower-case": LOWER_METHOD,
    "expect-refused": SERVER_CONTINUES,
    "expect-impatient": SERVER_CONTINUES,
    **dict.fromkeys(RAW, RAW_BYTES),
    "header-underscore": UNDERSCORE,
    "header-cookie-lines": COOKIES,
}
KNOWN: Final[Mapping[str, Mapping[str, str]]] = {
    "uvicorn": {
        "method-unknown": METHOD,
        "method-unknown-dash": METHOD,
        "method-lower-case": METHOD,
        "body-chunked-trailers": "puts trailers among the headers if they came with them",
        "expect-impatient": SERVER_CONTINUES,
        **dict.fromkeys(RAW, RAW_BYTES),
        "target-query-empty": EMPTY_QUERY,
        "target-absolute-no-path": "refuses an absolute form without a path",
        "status-304-length": NO_LENGTH_304,
        **dict.fromkeys((*INTERIM, *OTHER_INTERIM), NO_INTERIM),
    },
    "hypercorn": {
        "method-lower-case": "turns a method into upper case",
        "expect-refused": SERVER_CONTINUES,
        "expect-impatient": SERVER_CONTINUES,
        **dict.fromkeys(RAW, RAW_BYTES),
        "target-query-empty": EMPTY_QUERY,
        "header-upgrade-h2c": "takes the offer of h2c itself",
        "status-304-length": NO_LENGTH_304,
        **dict.fromkeys((*INTERIM, *OTHER_INTERIM), NO_INTERIM),
    },
    "granian": {
        "expect-impatient": SERVER_CONTINUES,
        "target-unsafe-ascii": UNSAFE_BYTES,
        "target-query-quotes": UNSAFE_BYTES,
        "target-raw-latin": RAW_BYTES,
        "target-query-empty": EMPTY_QUERY,
        "status-304-length": NO_LENGTH_304,
        "framing-early-head": LATE_HEAD,
        "host-missing": "gives an empty Host for none, and that one may pass",
        **dict.fromkeys((*INTERIM, *OTHER_INTERIM), NO_INTERIM),
    },
    "gunicorn": {
        **WSGI,
        **dict.fromkeys(STREAMED, WHOLE_PIECES),
        "client-gone-uploading": WHOLE_PIECES,
        **dict.fromkeys(OTHER_INTERIM, ONLY_HINTS),
    },
    "waitress": {
        **WSGI,
        **dict.fromkeys(STREAMED, BUFFERED),
        **dict.fromkeys((*INTERIM, *OTHER_INTERIM), NO_HINTS),
        "target-double-slash-first": "makes one slash of those that a path begins with",
        "target-double-slash-authority": "makes one slash of those that a path begins with",
        "status-304-length": NO_LENGTH_304,
        "framing-head-unsaid": "ends the body of an answer to HEAD that has none",
        "framing-head-chunked": "ends the body of an answer to HEAD that has none",
        "framing-early-head": LATE_HEAD,
        "client-gone-waiting": NO_ABORT,
        "client-gone-streaming": NO_ABORT,
        "cl-and-te": "goes on after both framings, instead of closing the connection",
        "te-empty": "takes an empty transfer coding for none",
    },
}
