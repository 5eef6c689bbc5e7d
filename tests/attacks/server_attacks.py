"""Requests made to harm the service, byte by byte, and how each is to be answered."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass


@dataclass(frozen=True)
class Raw:
    """A request, and the statuses that refuse it; 0 where the connection is closed without a
    word."""

    content: bytes
    refused: tuple[int, ...]


def get(target: str, *refused: int, **headers: str) -> Raw:
    """GET of a target exactly as it is written."""
    return Raw(_head("GET", target, headers) + b"\r\n", refused)


def post(target: str, body: bytes, *refused: int, **headers: str) -> Raw:
    headers = {"content_type": "application/json", "content_length": str(len(body))} | headers
    return Raw(_head("POST", target, headers) + b"\r\n" + body, refused)


def edit(*refused: int, **changes: object) -> Raw:
    """An edit that would be one but for some of its fields."""
    pair = {"neutral": "a face", "target": "a sad face"}
    body = {"seeds": [1], "edits": [pair], "alpha": 1.0, **changes}
    return post(EDITS, json.dumps(body).encode(), *refused)


def _head(method: str, target: str, headers: dict[str, str]) -> bytes:
    told = {"host": "127.0.0.1", "connection": "close"} | headers
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in told.items() if value]
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


EDITS, PICTURES, JOBS = "/api/v1/edits", "/api/v1/pictures", "/api/v1/jobs"
_GZIP = gzip.compress(bytes(2**24))
_PARTS = b"".join(
    b'--b\r\ncontent-disposition: form-data; name="x%d"\r\n\r\ny\r\n' % i for i in range(3000)
)
_FORM = "multipart/form-data; boundary=b"
_PHOTO = b'--b\r\ncontent-disposition: form-data; name="image"; filename="a"\r\n'

ATTACKS: dict[str, Raw] = {
    # paths
    "path out of the pictures": get(f"{PICTURES}/../../../../etc/passwd", 404),
    "the same in percent signs": get(f"{PICTURES}/..%2f..%2f..%2fetc%2fpasswd", 404),
    "the same twice in percent signs": get(f"{PICTURES}/%252e%252e%252fetc%252fpasswd", 422),
    "the same in overlong UTF-8": get(f"{PICTURES}/..%c0%af..%c0%afetc%c0%afpasswd", 404, 422),
    "the same in backslashes": get(f"{PICTURES}/..%5c..%5cetc%5cpasswd", 422),
    "absolute path as a name": get(f"{PICTURES}/%2fetc%2fpasswd", 404),
    "hidden file as a name": get(f"{PICTURES}/.lock", 422),
    "file of the service as a name": get(f"{PICTURES}/jobs.sqlite", 404, 422),
    "any file of the disk, as seed 1 gave": get("/images//etc/passwd", 404),
    "any file of the disk, by its dots": get("/images/..%2f..%2fetc%2fpasswd-edited", 404),
    "device as a name": get(f"{PICTURES}/%2fdev%2fzero", 404),
    "path as latents": edit(422, seeds=None, latents="../jobs.sqlite"),
    "path as a photo": edit(422, seeds=None, photo="../../etc/passwd"),
    "path as a mapper": post(
        "/api/v1/mapper-edits", b'{"seeds": [1], "mapper": "../../etc/passwd"}', 422
    ),
    "path as a channel": get("/api/v1/channels/..%2f..%2fetc%2fpasswd", 404),
    "page that is not there, beside the page": get("/page.html", 404),
    "target of another server": get("http://evil.example/", 404, 421),
    "target that never ends": get("/" + "a" * 2**17, 400, 0),
    "SQL in place of a job": get(f"{JOBS}/x'%20OR%20'1'='1", 422),
    # null bytes and letters that are none
    "null byte in a name": get(f"{PICTURES}/a%00.png", 422),
    "null byte in a path": get("/api/v1/atlases%00.html", 404),
    "null byte in a header": get("/", 400, accept="a\0b"),
    "null byte in a prompt": edit(422, keep=["a\0b"]),
    "null byte in a question": get("/api/v1/similar?neutral=a&target=%00", 422),
    "line of its own in a prompt": edit(422, keep=["a\x1b[2Jb"]),
    "half a letter in a prompt": edit(422, keep=["\ud800"]),
    "text turned around in a prompt": edit(422, keep=["a \u202e b"]),
    # bombs
    "JSON a hundred thousand deep": post(EDITS, b"[" * 100_000, 400),
    "object a hundred thousand deep": post(EDITS, b'{"a":' * 40_000, 400),
    "JSON too large": post(EDITS, b'{"a": "' + b"x" * 2**19 + b'"}', 413, 0),
    "number of two hundred thousand digits": post(EDITS, b"9" * 200_000, 400, 422),
    "number beyond all numbers": post(EDITS, b'{"seeds": [1], "alpha": 1e999999}', 422),
    "number that is none": post(EDITS, b'{"seeds": [1], "alpha": NaN}', 422),
    "bomb of zeros, compressed": post(EDITS, _GZIP, 400, 422, content_encoding="gzip"),
    "form of thousands of parts": post(
        "/edit?prompt=a", _PARTS + b"--b--", 400, 422, content_type=_FORM
    ),
    "form without a boundary": post(
        "/edit?prompt=a", b"--b--", 400, content_type="multipart/form-data"
    ),
    "form of endless headers": post(
        "/edit?prompt=a", _PHOTO + b"x: " + b"y" * 2**17, 400, 422, content_type=_FORM
    ),
    "more seeds than there may be": edit(422, seeds=list(range(65))),
    "more edits than there may be": edit(
        422, edits=[{"neutral": "a", "target": f"b{i}"} for i in range(17)]
    ),
    "prompt of ten thousand letters": edit(422, keep=["a" * 10_000]),
    "film of a day": post(
        "/api/v1/films",
        b'{"seeds": [1], "edits": [{"neutral": "a", "target": "b"}], "seconds": 86400}', 422,
    ),
    # headers
    "no host": get("/", 400, host=""),
    "two hosts": Raw(b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", (400,)),
    "host of somebody's DNS": get("/", 421, host="evil.example"),
    "host behind a name that a proxy would tell": get(
        "/", 421, host="evil.example", x_forwarded_host="localhost"
    ),
    "host that begins like ours": get("/", 421, host="127.0.0.1.evil.example"),
    "page of another site": get("/", 403, origin="http://evil.example"),
    "page of another port": get("/", 403, origin="http://127.0.0.1:1"),
    "page without an origin": post(EDITS, b"{}", 403, origin="null"),
    "picture on another site": get(
        "/", 403, sec_fetch_site="cross-site", sec_fetch_mode="no-cors"
    ),
    "form of another site": post(EDITS, b"{}", 403, sec_fetch_site="cross-site",
                                 sec_fetch_mode="navigate"),
    "body of two lengths": Raw(
        b"POST /api/v1/edits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
        b"Content-Length: 40\r\n\r\n{}", (400,)),
    "body of a negative length": post(EDITS, b"", 400, content_length="-1"),
    "chunk of a size beyond all memory": Raw(
        _head("POST", EDITS, {"transfer-encoding": "chunked"}) + b"\r\n" + b"f" * 40 + b"\r\n",
        (400, 0)),
    "name of a header with a space": Raw(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", (400,)),
    "header of a megabyte": get("/", 400, 0, accept="x" * 2**20),
    "hundred thousand headers": Raw(
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", (400, 0)),
    "method that is none": Raw(b"\x00\x01\x02 / HTTP/1.1\r\nHost: localhost\r\n\r\n", (400,)),
    "TRACE": Raw(_head("TRACE", "/", {}) + b"\r\n", (405,)),
    "CONNECT": Raw(_head("CONNECT", "evil.example:443", {}) + b"\r\n", (400, 404, 405)),
    "TLS to a port without it": Raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9, (400, 0)),
    "key of an idempotent request that is no text": get(
        f"{JOBS}/x/events", 422, last_event_id="-1"
    ),
    "number of an event beyond all numbers": get(
        f"{JOBS}/x/events", 422, last_event_id="9" * 400
    ),
    "preference that is a book": post(EDITS, b"{}", 422, prefer="wait=1," * 1000),
    "events of somebody else's socket": get(
        "/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA", 400
    ),
    "socket of another site": get(
        "/socket.io/?EIO=4&transport=polling", 403, origin="http://evil.example"
    ),
}  # fmt: skip
"""By name."""
