"""Bodies over the wire: however they are cut into chunks, they are the same; what is wrong is refused."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaoskit.alerting.body import BadBody, read

CHUNKED = {"transfer-encoding": "Chunked"}


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.sampled_from([b"", b";name=value", b" "]))
def test_any_chunking_gives_the_same_body(chunks: list[bytes], extension: bytes) -> None:
    """Chunk extensions and trailers are left out, and what follows is not touched."""
    wire = b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    stream = io.BytesIO(wire + b"0\r\nx-trailer: 1\r\n\r\nGET / HTTP/1.1")
    assert read(stream, CHUNKED, 1000) == b"".join(chunks)
    assert stream.read() == b"GET / HTTP/1.1"


def test_length_and_none() -> None:
    """A body of a told length ends there; without one there is none."""
    assert read(io.BytesIO(b"abcdef"), {"content-length": "3"}, 10) == b"abc"
    assert read(io.BytesIO(b"abcdef"), {}, 10) == b""


@pytest.mark.parametrize(
    ("wire", "headers", "status"),
    [
        (b"abc", {"content-length": "11"}, 413),
        (b"abc", {"content-length": "5"}, 400),
        (b"abc", {"content-length": "-1"}, 400),
        (b"abc", {"content-length": "²"}, 400),
        (b"abc", {"transfer-encoding": "gzip, chunked"}, 501),
        (b"B\r\n" + b"a" * 11 + b"\r\n0\r\n\r\n", CHUNKED, 413),
        (b"6\r\nabcdef\r\n6\r\nabcdef\r\n0\r\n\r\n", CHUNKED, 413),
        (b"3\r\nabcd\r\n0\r\n\r\n", CHUNKED, 400),
        (b"-3\r\nabc\r\n0\r\n\r\n", CHUNKED, 400),
        (b"\r\n", CHUNKED, 400),
        (b"5\r\nab", CHUNKED, 400),
        (b"", CHUNKED, 400),
    ],
)
def test_wrong_bodies_are_refused(wire: bytes, headers: dict[str, str], status: int) -> None:
    """Too large, cut off, or not what it says."""
    with pytest.raises(BadBody) as refused:
        read(io.BytesIO(wire), headers, 10)
    assert refused.value.status == status
