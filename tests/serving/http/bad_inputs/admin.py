"""Bad calls of the admin API: bytes for its socket, and what must come back; `{token}` is the token."""

import json
from typing import Any

from serving.admin.http_server import BODY_BYTES, HEAD_BYTES
from tests.serving.http.bad_inputs.wire import Wire

SPLIT = "/models/toy/split"
DIGEST = "0" * 64


def raw(head: bytes, status: int, field: str, body: bytes = b"", *, token: bytes = b"{token}") -> Wire:
    """A request line and more headers, with the token."""
    return Wire(head + b"\r\nAuthorization: Bearer " + token + b"\r\n\r\n" + body, status, field)


def put(body: bytes | dict[str, Any], field: str, status: int = 422, path: str = SPLIT) -> Wire:
    """A change by its body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = b"PUT %s HTTP/1.1\r\nContent-Length: %d" % (path.encode(), len(content))
    return raw(head, status, field, content)


def address(line: bytes, status: int, field: str) -> Wire:
    """A call whose address or method is what is wrong."""
    return raw(line, status, field)


def load(field: str, status: int = 422, version: str = "2", **changes: Any) -> Wire:
    """Loading a version."""
    return put(
        {"release": "/r", "digest": DIGEST, **changes}, field, status, f"/models/toy/versions/{version}"
    )


def length(value: bytes, status: int, field: str, body: bytes = b"{}") -> Wire:
    """A change whose header of the body's length is wrong."""
    return raw(b"PUT /models/toy/split HTTP/1.1\r\n" + value, status, field, body)


ADMIN = {
    "admin without a token": Wire(b"GET /models HTTP/1.1\r\n\r\n", 401, "authorization"),
    "admin with another token": raw(b"GET /models HTTP/1.1", 401, "authorization", token=b"x" * 43),
    "admin with a token in raw bytes": raw(b"GET /models HTTP/1.1", 401, "authorization", token=b"\xff\xfe"),
    "admin at a path that is none": address(b"GET /nowhere HTTP/1.1", 404, "path"),
    "admin at a path of another service": address(b"GET /predict HTTP/1.1", 404, "path"),
    "admin at a path with a slash too many": address(b"GET /models/ HTTP/1.1", 404, "path"),
    "admin at a path upwards": address(b"PUT /models/toy/versions/.. HTTP/1.1", 400, "body"),
    "admin at an address that is none": address(b"GET http://[x HTTP/1.1", 400, "path"),
    "admin by a method that is unknown": address(b"PATCH /models HTTP/1.1", 405, "method"),
    "admin by a method of another path": address(b"POST /models HTTP/1.1", 405, "method"),
    "admin by reading what is only written": address(b"GET /models/toy/split HTTP/1.1", 405, "method"),
    "admin by a method in lower case": address(b"get /models HTTP/1.1", 405, "method"),
    "admin in http/3": address(b"GET /models HTTP/3.0", 400, "request"),
    "admin in no version": address(b"GET /models HTTP/x", 400, "request"),
    "admin in one word": address(b"GET", 400, "request"),
    "admin in four words": address(b"GET /models now HTTP/1.1", 400, "request"),
    "admin by a tls hello": Wire(b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n", 400),
    "admin with an unknown parameter": address(b"GET /models?x=1 HTTP/1.1", 422, "x"),
    "admin with many parameters": address(
        b"GET /models?" + b"&".join(b"p%d=1" % i for i in range(50)) + b" HTTP/1.1", 400, "path"
    ),
    "admin that waits for ever": put({"split": {}}, "wait", path=SPLIT + "?wait=forever"),
    "admin that waits for nan": put({"split": {}}, "wait", path=SPLIT + "?wait=nan"),
    "admin that waits for less than nothing": put({"split": {}}, "wait", path=SPLIT + "?wait=-1"),
    "admin that waits for an hour": put({"split": {}}, "wait", path=SPLIT + "?wait=3600"),
    "admin that waits twice": put({"split": {}}, "wait", path=SPLIT + "?wait=1&wait=2"),
    "admin with a long line": Wire(b"GET /" + b"x" * 2 * HEAD_BYTES, 431, "headers"),
    "admin with a long header": raw(b"GET /models HTTP/1.1\r\nX: " + b"x" * 2 * HEAD_BYTES, 431, "headers"),
    "admin with many headers": raw(
        b"GET /models HTTP/1.1" + b"".join(b"\r\nX-%d: 1" % i for i in range(150)), 431, "request"
    ),
    "admin with headers that are large together": raw(
        b"GET /models HTTP/1.1" + b"".join(b"\r\nX-%d: %s" % (i, b"x" * 990) for i in range(40)),
        431,
        "headers",
    ),
    "admin with a large body by its length": length(
        b"Content-Length: %d" % (BODY_BYTES + 1), 413, "body", b""
    ),
    "admin with a huge length": length(b"Content-Length: " + b"9" * 400, 413, "body"),
    "admin with a length below zero": length(b"Content-Length: -5", 411, "content-length"),
    "admin with a length in words": length(b"Content-Length: many", 411, "content-length"),
    "admin with two lengths": length(b"Content-Length: 2\r\nContent-Length: 5", 411, "content-length"),
    "admin in chunks": length(b"Transfer-Encoding: chunked", 411, "content-length", b"2\r\n{}\r\n0\r\n\r\n"),
    "admin with no body": put(b"", "body", 400),
    "admin with half a json": put(b"{", "body", 400),
    "admin in bad utf-8": put(b'"\xff"', "body", 400),
    "admin nested deeply": put(b"[" * 60_000, "body", 400),
    "admin with an array": put(b"[]", "body"),
    "admin with null": put(b"null", "body"),
    "admin with a misspelt key": put({"splt": {}}, "body"),
    "admin with an extra key": put({"split": {}, "now": True}, "body"),
    "admin with a key twice": put(b'{"split": {"1": 100}, "split": {}}', "body"),
    "admin with a version twice": put(b'{"split": {"1": 50, "1": 100}}', "body"),
    "share in words": put({"split": {"1": "all"}}, "body"),
    "share that is true": put({"split": {"1": True}}, "body"),
    "share beyond all numbers": put(b'{"split": {"1": 1e999}}', "body", 400),
    "share of nan": put(b'{"split": {"1": NaN}}', "body", 400),
    "shares that sum to fifty": put({"split": {"1": 50}}, "split"),
    "shares below zero": put({"split": {"1": 150, "2": -50}}, "split"),
    "share of a version that is not loaded": put({"split": {"2": 100}}, "split"),
    "mirror to the version that answers": put({"mirror": {"1": 5}}, "mirror", path="/models/toy/mirror"),
    "mirror of a model that is unknown": put({"mirror": {}}, "model", 404, "/models/tooy/mirror"),
    "default that is not loaded": put({"version": "2"}, "version", 404, "/models/toy/default"),
    "default that is a number": put({"version": 2}, "body", path="/models/toy/default"),
    "unloading what is not loaded": address(b"DELETE /models/toy/versions/2 HTTP/1.1", 404, "version"),
    "unloading the default": address(b"DELETE /models/toy/versions/1 HTTP/1.1", 409, "version"),
    "unloading with a body": raw(
        b"DELETE /models/toy/versions/1 HTTP/1.1\r\nContent-Length: 2", 422, "body", b"{}"
    ),
    "loading without a digest": put({"release": "/r"}, "body", path="/models/toy/versions/2"),
    "loading by a short digest": load("digest", digest="abc"),
    "loading by a digest in capitals": load("digest", digest="A" * 64),
    "loading a relative path": load("release", release="../r"),
    "loading what is not there": load("release", release="/nowhere"),
    "loading under a name that is taken": load("version", 409, "1"),
    "loading under a name with a blank": load("version", version="a%20b"),
    "admin with half a request line": Wire(b"GET /mod", 408, slow=True),
    "admin with half a header": Wire(b"GET /models HTTP/1.1\r\nX: a", 408, slow=True),
    "admin with half a body": Wire(put({"split": {}}, "").content[:-3], 408, slow=True),
    "admin that says nothing": Wire(b"", 408, slow=True),
}
