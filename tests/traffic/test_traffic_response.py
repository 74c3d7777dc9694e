"""The HTTP answer parser: any framing, cut anywhere."""

from __future__ import annotations

import pytest

from chaoskit.traffic.http1 import BadAnswer, Response

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;ext=1\r\nhello\r\nA\r\n, world...\r\n0\r\nTrailer: x\r\n\r\n"
)
COUNTED = b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nSet-Cookie: a\r\nset-cookie: b\r\n\r\nhello"


def parse(wire: bytes, cut: int, method: str = "GET") -> tuple[Response, bool]:
    """``wire`` fed in pieces of ``cut`` bytes."""
    response = Response(method)
    whole = False
    for start in range(0, len(wire), cut):
        assert not whole
        whole = response.feed(wire[start : start + cut])
    return response, whole


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(("wire", "body"), [(CHUNKED, b"hello, world..."), (COUNTED, b"hello")])
def test_framing_survives_any_cut(wire: bytes, body: bytes, cut: int) -> None:
    """The same answer comes out however the bytes arrive."""
    response, whole = parse(wire, cut)
    assert whole
    assert bytes(response.body) == body
    assert response.size == len(body)
    assert response.keep_alive


def test_headers_are_lower_case_and_joined() -> None:
    """Repeated headers are one value."""
    response, _ = parse(COUNTED, 1000)
    assert response.headers == {"content-length": "5", "set-cookie": "a, b"}


def test_interim_answers_are_skipped() -> None:
    """100 Continue is not the answer."""
    response, whole = parse(b"HTTP/1.1 100 Continue\r\n\r\n" + COUNTED, 10)
    assert whole
    assert response.status == 201


@pytest.mark.parametrize(
    ("wire", "method"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "GET"),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "GET"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET"),
    ],
)
def test_answers_without_a_body(wire: bytes, method: str) -> None:
    """Whole with the head, and the connection stays usable."""
    response, whole = parse(wire, 1000, method)
    assert whole
    assert response.keep_alive


def test_body_until_close() -> None:
    """Without a length the end of the connection ends the answer; with one it breaks it."""
    response, whole = parse(b"HTTP/1.1 200 OK\r\n\r\npart", 1000)
    assert not whole
    assert response.eof()
    assert bytes(response.body) == b"part"
    cut_off, _ = parse(COUNTED[:-1], 1000)
    assert not cut_off.eof()


@pytest.mark.parametrize(
    ("wire", "kept"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n", True),
        (COUNTED + b"too much", False),
    ],
)
def test_keep_alive(wire: bytes, kept: bool) -> None:
    """A connection is used again only when both sides agree on where the answer ended."""
    response, whole = parse(wire, 1000)
    assert whole
    assert response.keep_alive is kept


@pytest.mark.parametrize(
    "wire",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000,
    ],
)
def test_what_is_not_http_is_refused(wire: bytes) -> None:
    """Garbage is an error at once, not a wait for more."""
    with pytest.raises(BadAnswer):
        parse(wire, 1 << 20)
