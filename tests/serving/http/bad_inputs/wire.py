"""Bad inputs that no HTTP library would send: bytes for a socket, and what must come back."""

from dataclasses import dataclass

BODY = b'{"row": {"width": 1.5}}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"
BATCH = b"/predict_batch"
LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Wire:
    """Bytes for a connection of their own; the first answer must have the status and name the field."""

    content: bytes
    status: int
    field: str = "request"
    slow: bool = False  # the answer is a matter of the deadline


def post(
    status: int, field: str = "request", *, more: bytes = b"", length: bytes | None = None, body: bytes = BODY
) -> Wire:
    """A POST to /predict with `more` headers; `length` replaces the header that says the body's length."""
    length = b"Content-Length: %d\r\n" % len(body) if length is None else length
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return Wire(head + length + more + b"\r\n" + body, status, field)


def slow(content: bytes) -> Wire:
    """A request whose rest never comes."""
    return Wire(content, 408, slow=True)


def line(content: bytes, status: int = 400, field: str = "request") -> Wire:
    """A request line, with a host behind it."""
    return Wire(content + b"\r\nHost: x\r\n\r\n", status, field)


GOOD = post(200).content
HEAD = GOOD[: -len(BODY)]
WIRE = {
    "a tls handshake": Wire(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "http/2 without asking": Wire(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a redis command": Wire(b"*1\r\n$4\r\nPING\r\n", 400),
    "an smtp greeting": Wire(b"EHLO example.org\r\n", 400),
    "zeros": Wire(b"\0" * 64, 400),
    "http/3 by its version": line(b"GET /status HTTP/3.0"),
    "unknown minor version": line(b"GET /status HTTP/1.9"),
    "version in words": line(b"GET /status HTTP/one"),
    "another protocol": line(b"GET /status FTP/1.1"),
    "method in lower case": line(b"get /status HTTP/1.1"),
    "unknown method on the wire": line(b"BREW /predict HTTP/1.1"),
    "method without a path": line(b"GET HTTP/1.1"),
    "proxy by connect": line(b"CONNECT example.org:443 HTTP/1.1", 405, "method"),
    "proxy by an address": line(b"GET http://example.org/nope HTTP/1.1", 404, "path"),
    "options of everything": line(b"OPTIONS * HTTP/1.1", 404, "path"),
    "path without a slash": line(b"GET status HTTP/1.1"),
    "path with a blank": line(b"GET /models/a b/contract HTTP/1.1"),
    "path with a raw control character": line(b"GET /a\x01b HTTP/1.1"),
    "path with raw bytes": line(b"GET /\xff HTTP/1.1"),
    "path without an end": Wire(b"GET /" + b"x" * 100_000, 431, "headers"),
    "path of forty thousand letters": line(b"GET /" + b"x" * 40_000 + b" HTTP/1.1", 431, "headers"),
    "post to the metrics": line(b"POST /metrics HTTP/1.1", 405, "method"),
    "delete of readiness": line(b"DELETE /readyz HTTP/1.1", 405, "method"),
    "put of liveness": line(b"PUT /livez HTTP/1.1", 405, "method"),
    "post to the health": line(b"POST /healthz HTTP/1.1", 405, "method"),
    "patch of the schema": line(b"PATCH /schema.json HTTP/1.1", 405, "method"),
    "length below zero": post(400, length=b"Content-Length: -5\r\n"),
    "length in words": post(400, length=b"Content-Length: many\r\n"),
    "length with a sign": post(400, length=b"Content-Length: +23\r\n"),
    "length in hexadecimal": post(400, length=b"Content-Length: 0x17\r\n"),
    "length with a fraction": post(400, length=b"Content-Length: 23.0\r\n"),
    "length that is empty": post(400, length=b"Content-Length: \r\n"),
    "length beyond 64 bits": post(400, length=b"Content-Length: 99999999999999999999999\r\n"),
    "length as a list": post(400, length=b"Content-Length: 23, 23\r\n"),
    "two lengths": post(400, length=b"Content-Length: 23\r\nContent-Length: 5\r\n"),
    "two equal lengths": post(400, length=b"Content-Length: 23\r\nContent-Length: 23\r\n"),
    "length and chunks": post(400, more=CHUNKED),
    "length that is too short": post(400, "body", length=b"Content-Length: 10\r\nConnection: close\r\n"),
    "no length": post(400, length=b""),
    "large by its length": post(413, "body", length=b"Content-Length: %d\r\n" % (LIMIT + 1), body=b""),
    "large batch by its length": Wire(
        post(0, length=b"Content-Length: 99999999\r\n", body=b"").content.replace(
            b"/predict", b"/predict_batch"
        ),
        413,
        "body",
    ),
    "large, waiting to go on": post(
        413, "body", length=b"Content-Length: 99999999\r\n", more=b"Expect: 100-continue\r\n", body=b""
    ),
    "large in chunks": post(
        413, "body", length=CHUNKED, body=(b"10000\r\n" + b" " * 65536 + b"\r\n") * 17 + b"0\r\n\r\n"
    ),
    "large in chunks without an end": post(
        413, "body", length=CHUNKED, body=(b"10000\r\n" + b" " * 65536 + b"\r\n") * 17
    ),
    "wrong type in chunks": Wire(
        post(0, length=CHUNKED, body=b"0\r\n\r\n").content.replace(b"application/json", b"text/plain"),
        415,
        "content-type",
    ),
    "empty in chunks": post(400, "body", length=CHUNKED, body=b"0\r\n\r\n"),
    "chunk size in words": post(400, length=CHUNKED, body=b"many\r\nabc\r\n0\r\n\r\n"),
    "chunk size below zero": post(400, length=CHUNKED, body=b"-1\r\nabc\r\n0\r\n\r\n"),
    "chunk size beyond 64 bits": post(400, length=CHUNKED, body=b"f" * 20 + b"\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than it says": post(400, length=CHUNKED, body=b"5\r\nabcdefgh\r\n0\r\n\r\n"),
    "chunks under another coding": post(400, length=b"Transfer-Encoding: gzip\r\n"),
    "chunks that are none": post(400, length=b"Transfer-Encoding: xchunked\r\n"),
    "chunks by a list": post(400, length=b"Transfer-Encoding: chunked, identity\r\n"),
    "two hundred headers": post(431, "headers", more=b"".join(b"X-%d: 1\r\n" % i for i in range(200))),
    "large header": post(431, "headers", more=b"X: " + b"x" * 40_000 + b"\r\n"),
    "many headers that are large together": post(
        431, "headers", more=b"".join(b"X-%d: %s\r\n" % (i, b"x" * 990) for i in range(50))
    ),
    "header without an end": Wire(b"GET /status HTTP/1.1\r\nX: " + b"x" * 100_000, 431, "headers"),
    "header without a colon": post(400, more=b"X\r\n"),
    "header without a name": post(400, more=b": x\r\n"),
    "header with a blank before its colon": post(400, more=b"X-Length : 5\r\n"),
    "header over two lines": post(400, more=b"X: a\r\n b\r\n"),
    "header with a nul": post(400, more=b"X: a\0b\r\n"),
    "header name in raw bytes": post(400, more=b"X\xff: a\r\n"),
    "lines that end in a line feed": Wire(GOOD.replace(b"\r\n", b"\n"), 400),
    "lines that end in a carriage return": Wire(GOOD.replace(b"\r\n", b"\r"), 400),
    "an offer of websockets": line(
        b"GET /predict HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13",
        405,
        "method",
    ),
    "an offer of http/2 with a bad body": post(
        400, "body", more=b"Connection: upgrade\r\nUpgrade: h2c\r\n", body=b"x"
    ),
    "garbage after an empty line": Wire(b"\r\n\r\n\x01", 400),
    "half a request line": slow(b"POST /pre"),
    "half a header": slow(b"POST /predict HTTP/1.1\r\nHost: x\r\nX-Slow: a"),
    "headers without their end": slow(b"POST /predict HTTP/1.1\r\nHost: x\r\n"),
    "half a body": slow(HEAD + BODY[:10]),
    "no body at all": slow(HEAD),
    "half a chunk": slow(post(0, length=CHUNKED, body=b"17\r\n" + BODY[:10]).content),
    "chunks without their end": slow(post(0, length=CHUNKED, body=b"17\r\n" + BODY + b"\r\n").content),
    "length that is too long": slow(post(0, length=b"Content-Length: 28\r\n").content),
    "empty lines": slow(b"\r\n\r\n"),
}
