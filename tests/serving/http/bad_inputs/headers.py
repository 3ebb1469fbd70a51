"""Bodies that say to be something else than JSON as it is, or more than a route takes."""

from serving.http.bodies import BATCH_BYTES, SINGLE_BYTES
from tests.serving.http.bad_inputs.form import Bad

GOOD = b'{"row": {"width": 1.5, "height": 0.25, "letter": "A"}}'  # so good that the hot path would take it
JSON = ("content-type", "application/json")
PICKLE = b"\x80\x04\x95\x1a\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x8c\x06system\x93."
FORM = b'--x\r\nContent-Disposition: form-data; name="row"; filename="a.pkl"\r\n\r\n\x80\x04N.\r\n--x--\r\n'


def kind(sent: str, content: bytes = GOOD, url: str = "/predict") -> Bad:
    """A good body under another content type."""
    return Bad(content, 415, "content-type", url=url, headers={"content-type": sent})


def coded(sent: str) -> Bad:
    """A good body that says to be encoded."""
    return Bad(GOOD, 415, "content-encoding", headers=(JSON, ("content-encoding", sent)))


CASES = {
    "no content type": Bad(GOOD, 415, "content-type", headers={}),
    "empty content type": kind(""),
    "text/plain": kind("text/plain"),
    "text/json": kind("text/json"),
    "text/html": kind("text/html"),
    "xml by its type": kind("application/xml", b"<row/>"),
    "yaml of an object": kind("application/yaml", b"row: !!python/object/apply:os.system [true]"),
    "form": kind("application/x-www-form-urlencoded", b"row=1"),
    "multipart form": kind("multipart/form-data; boundary=x", FORM),
    "multipart mixed": kind("multipart/mixed; boundary=x", FORM),
    "multipart without a boundary": kind("multipart/form-data", FORM),
    "octet stream": kind("application/octet-stream", PICKLE),
    "pickle": kind("application/pickle", PICKLE),
    "pickle of python": kind("application/python-pickle", PICKLE),
    "pickle with x": kind("application/x-pickle", PICKLE),
    "pickle of bentoml": kind("application/vnd.bentoml+pickle", PICKLE),
    "pickle of the batch route": kind("application/vnd.bentoml+pickle", PICKLE, "/predict_batch"),
    "pickle of the claimed route": kind("application/vnd.bentoml+pickle", PICKLE, "/predict/label"),
    "stream of bentoml": kind("application/vnd.bentoml.stream_outputs", PICKLE),
    "cloudpickle": kind("application/vnd.cloudpickle", PICKLE),
    "joblib": kind("application/x-joblib", PICKLE),
    "java object": kind("application/x-java-serialized-object", b"\xac\xed\x00\x05"),
    "msgpack": kind("application/msgpack", b"\x81\xa3row\x80"),
    "msgpack with x": kind("application/x-msgpack", b"\x81\xa3row\x80"),
    "cbor": kind("application/cbor", b"\xa1crow\xa0"),
    "protobuf": kind("application/x-protobuf", b"\n\x00"),
    "grpc": kind("application/grpc+proto", b"\x00\x00\x00\x00\x00"),
    "arrow": kind("application/vnd.apache.arrow.stream", b"\xff\xff\xff\xff"),
    "parquet": kind("application/vnd.apache.parquet", b"PAR1"),
    "npy": kind("application/x-npy", b"\x93NUMPY\x01\x00"),
    "csv": kind("text/csv", b"width\n1\n"),
    "json lines": kind("application/x-ndjson"),
    "json with a suffix": kind("application/vnd.api+json"),
    "json patch": kind("application/json-patch+json"),
    "json in another type": kind("image/json"),
    "json with a letter more": kind("application/jsonp"),
    "json after another type": kind("text/plain, application/json"),
    "json before another type": kind("application/json, application/vnd.bentoml+pickle"),
    "any type": kind("*/*"),
    "latin-1": kind("application/json; charset=latin-1"),
    "utf-16 charset": kind("application/json; charset=utf-16"),
    "utf-7 charset": kind("application/json; charset=utf-7"),
    "empty charset": kind("application/json; charset="),
    "charset twice": kind("application/json; charset=utf-8; charset=utf-16"),
    "charset and another parameter": kind("application/json; charset=utf-8; boundary=x"),
    "charset that is a codec of python": kind("application/json; charset=unicode_escape"),
    "charset of twenty thousand letters": kind("application/json; charset=" + "x" * 20_000),
    "json and pickle in two headers": Bad(
        GOOD, 415, "content-type", headers=(JSON, ("content-type", "application/vnd.bentoml+pickle"))
    ),
    "json in two headers": Bad(GOOD, 415, "content-type", headers=(JSON, JSON)),
    "gzip": coded("gzip"),
    "deflate": coded("deflate"),
    "brotli": coded("br"),
    "zstandard": coded("zstd"),
    "compress": coded("compress"),
    "gzip twice": coded("gzip, gzip"),
    "gzip after identity": coded("identity, gzip"),
    "gzip in a second header": Bad(
        GOOD,
        415,
        "content-encoding",
        headers=(JSON, ("content-encoding", "identity"), ("content-encoding", "gzip")),
    ),
    "unknown encoding": coded("aes128gcm"),
    "large body": Bad(b" " * (SINGLE_BYTES + 1), 413, "body"),
    "large batch": Bad(b" " * (BATCH_BYTES + 1), 413, "body", url="/predict_batch"),
    "large body of the claimed route": Bad(b" " * (SINGLE_BYTES + 1), 413, "body", url="/predict/label"),
    "large by its header": Bad(b"{}", 413, "body", headers=(JSON, ("content-length", str(10**30)))),
    "large by one byte by its header": Bad(
        b"{}", 413, "body", headers=(JSON, ("content-length", str(SINGLE_BYTES + 1)))
    ),
}
