"""What a Redis or Valkey server held is there again, exactly."""

from __future__ import annotations

import contextlib
import random
import threading

import pytest
import redis

from chaoskit.base.errors import BrokenError
from chaoskit.services import redis_snapshot


@pytest.fixture
def cache(bench):
    """A server that runs."""
    service = bench.make("cache", provider="redis", args={"maxmemory": "16mb"})
    service.start()
    return service


@pytest.fixture
def client(cache):
    """As a service has it, in database 0."""
    with redis.Redis.from_url(cache.url()) as made:
        yield made


def fill(client):
    """A key of every type."""
    client.set(b"raw \x00\xff\r\n", b"\x00\r\n\xff")
    client.rpush("list", *range(300))
    client.hset("hash", mapping={"a": 1, "b": "x"})
    client.sadd("set", "a", "b")
    client.zadd("sorted", {"a": 1.5, "b": float("inf")})
    client.xadd("stream", {"a": 1}, id="5-1")
    client.xgroup_create("stream", "group", id="0")
    client.xreadgroup("group", "me", {"stream": ">"})
    client.pfadd("log", "a", "b")


def another(cache):
    """A client of database 3."""
    return redis.Redis(host=cache.host, port=cache.port, db=3)


def content(cache, client):
    """What a client sees, but for the time that is left."""
    with another(cache) as other:
        return [{key: each.dump(key) for key in each.scan_iter()} for each in (client, other)]


def test_all_that_was_there_is_there_again(cache, client):
    """Values of every type in several databases, beneath an open connection and past what is watched."""
    fill(client)
    with another(cache) as other:
        other.set("k", "three")
    was, snapshot = content(cache, client), cache.snapshot()
    who = client.client_id()
    for change in (
        lambda: client.flushall(),
        lambda: client.xack("stream", "group", "5-1"),
        lambda: client.set("more", 1) and client.delete("hash"),
        lambda: None,
    ):
        change()
        cache.restore(snapshot)
        assert content(cache, client) == was
        assert cache.snapshot() == snapshot
    assert client.client_id() == who


def test_many_keys(cache, client):
    """More than are read at a time."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"k{number}", number)
        pipe.execute()
    snapshot = cache.snapshot()
    client.flushall()
    cache.restore(snapshot)
    assert client.dbsize() == 5000


def test_an_empty_server_is_emptied(cache, client):
    """That is what was there."""
    snapshot = cache.snapshot()
    client.set("k", 1)
    assert cache.snapshot() != snapshot
    cache.restore(snapshot)
    assert client.dbsize() == 0


def test_time_that_is_left(cache, client):
    """As much as there was, counted from the reset; what has none stays for ever."""
    client.set("lock", 1, px=60_000)
    client.set("k", 1)
    snapshot = cache.snapshot()
    client.pexpire("lock", 1_000)
    client.expire("k", 5)
    cache.restore(snapshot)
    assert 50_000 < client.pttl("lock") <= 60_000
    assert client.pttl("k") == -1


def test_nobody_sees_half_of_it(cache, client):
    """It comes back in one step."""
    for number in range(3000):
        client.set(f"k{number}", "x" * 100)
    snapshot = cache.snapshot()
    seen, over = set(), threading.Event()

    def look():
        with redis.Redis.from_url(cache.url()) as other:
            while not over.is_set():
                seen.add(other.dbsize())

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(10):
        cache.restore(snapshot)
    over.set()
    looking.join()
    assert seen <= {0, 3000}


def test_a_server_that_lost_all_or_is_full(cache, client):
    """Killed, it comes back empty, without its functions; with a full memory it takes no key."""
    fill(client)
    client.function_load("#!lua name=mine\nredis.register_function('f', function() return 'here' end)")
    was, snapshot = content(cache, client), cache.snapshot()
    cache.kill()
    cache.start()
    assert client.dbsize() == 0
    cache.restore(snapshot)
    assert content(cache, client) == was
    assert client.fcall("f", 0) == b"here"
    with contextlib.suppress(redis.exceptions.OutOfMemoryError):
        for number in range(2000):
            client.set(f"full {number}", "x" * 20_000)
    with pytest.raises(redis.exceptions.OutOfMemoryError):
        client.set("more", "x" * 20_000)
    cache.restore(snapshot)
    assert content(cache, client) == was


def test_too_much_is_told(cache, client, monkeypatch):
    """With what to do."""
    monkeypatch.setattr(redis_snapshot, "SNAPSHOT_LIMIT", 1_000_000)
    client.set("k", random.Random(1).randbytes(1_100_000))
    with pytest.raises(BrokenError, match=r"cache holds more than 1MB .* say reset: none"):
        cache.snapshot()


def test_a_server_that_is_gone_is_told(cache):
    """With its port."""
    snapshot = cache.snapshot()
    cache.kill()
    for failing in (cache.snapshot, lambda: cache.restore(snapshot)):
        with pytest.raises(BrokenError, match=r"cache at port \d+: .*refused"):
            failing()


def test_what_the_server_refuses_is_told(cache):
    """With the command and its own words."""
    snapshot = cache.snapshot()
    snapshot.values[0, b"k"] = b"nonsense"
    snapshot.milliseconds[0, b"k"] = 0
    with pytest.raises(BrokenError, match=r"cache: .*ERR DUMP payload"):
        cache.restore(snapshot)


def test_reset_none(bench):
    """Data stays for those who want it."""
    service = bench.make("cache", provider="redis", args={"reset": "none"})
    service.start()
    assert service.snapshot() is None
