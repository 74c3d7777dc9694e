"""Functions as failpoints by name, in this process."""

from __future__ import annotations

import asyncio
import inspect
import threading
import types
from collections.abc import AsyncGenerator

import pytest

from chaoskit.base.clock import wait_for
from chaoskit.failpoints import FailpointsError, Panic, UnknownFailpoint, disable, enable, hits
from chaoskit.failpoints.client import FailpointClient, FailpointError


def test_references_imported_before_meet_the_failpoint(shop: types.ModuleType) -> None:
    """The function object stays, so whoever holds it fails too; afterwards it has its very own code back."""
    charge, code = shop.charge, shop.charge.__code__
    enable("fp_shop:charge", '1*return({"id": 7})->1*panic("boom")')
    assert charge(1) == {"id": 7}
    with pytest.raises(Panic, match="boom"):
        charge(1)
    assert charge(1, 3, 4, currency="USD", x=5) == (1, 3, (4,), "USD", {"x": 5})
    assert hits("fp_shop:charge") == 2
    disable("fp_shop:charge")
    assert shop.charge is charge
    assert charge.__code__ is code
    assert charge(1) == (1, 2, (), "EUR", {})


def test_restoring_leaves_no_trace(shop: types.ModuleType) -> None:
    """Everything a function carries is the same before and after, also when set several times."""

    def traits(function: types.FunctionType) -> dict[str, object]:
        names = (
            "__code__",
            "__defaults__",
            "__kwdefaults__",
            "__closure__",
            "__globals__",
            "__name__",
            "__doc__",
        )
        return {name: getattr(function, name) for name in names} | {"dict": dict(function.__dict__)}

    for name in ("charge", "pay", "numbers", "anumbers", "add3", "decorated"):
        function = vars(shop)[name]
        before = traits(function)
        enable(f"fp_shop:{name}", "off")
        enable(f"fp_shop:{name}", "panic")
        assert function.__code__ is not before["__code__"]
        disable(f"fp_shop:{name}")
        assert all(traits(function)[key] is value for key, value in before.items() if key != "dict")
        assert traits(function)["dict"] == before["dict"]


def test_signature_and_sort_stay(shop: types.ModuleType) -> None:
    """Frameworks that look at a function while the failpoint is set see what they saw before."""
    names = ("charge", "pay", "numbers", "anumbers", "add3")
    checks = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)

    def look() -> list[object]:
        return [
            (inspect.signature(f), f.__name__, f.__code__.co_name, [check(f) for check in checks])
            for f in (vars(shop)[name] for name in names)
        ]

    before = look()
    for name in names:
        enable(f"fp_shop:{name}", "off")
    assert look() == before


def test_methods_of_every_sort(shop: types.ModuleType) -> None:
    """Methods with super(), static and class methods, properties, cached properties, closures, constructors."""
    orders = shop.Orders()
    cases = {
        "Orders.hello": (orders.hello, "orders base"),
        "Base.hello": (shop.Base().hello, "base"),
        "Orders.static": (lambda: orders.static(1), (1, 1)),
        "Orders.kind": (orders.kind, "Orders"),
        "Orders.size": (lambda: orders.size, 5),
        "Orders.cached": (lambda: shop.Orders().cached, 6),
        "add3": (lambda: shop.add3(1), 4),
        "remembered": (lambda: shop.remembered(object) is object, True),
    }
    for name, (call, value) in cases.items():
        assert call() == value
        if name == "remembered":
            shop.remembered.cache_clear()
        enable(f"fp_shop:{name}", "2*off->panic")
        assert call() == value
        enable(f"fp_shop:{name}", "panic")
        if name == "remembered":
            shop.remembered.cache_clear()
        with pytest.raises(Panic):
            call()
        disable(f"fp_shop:{name}")
        assert call() == value
    enable("fp_shop:Orders.__init__", "panic")  # inherited: the function is Base's
    with pytest.raises(Panic):
        shop.Base()


def test_coroutine_functions(shop: types.ModuleType) -> None:
    """The failpoint acts when the coroutine runs; the result is awaited as ever."""
    enable("fp_shop:pay", "1*return([1])->1*panic->1*sleep(5)")

    async def scene() -> None:
        coroutine = shop.pay(2)
        assert hits("fp_shop:pay") == 0
        assert await coroutine == [1]
        with pytest.raises(Panic):
            await shop.pay(2)
        assert await shop.pay(2) == 4
        assert await shop.pay(2) == 4

    asyncio.run(scene())
    assert hits("fp_shop:pay") == 3


def test_generator_functions(shop: types.ModuleType) -> None:
    """A list is yielded item by item; else sending, throwing and returning work as ever."""
    enable("fp_shop:numbers", "1*return([7, 8])->1*panic->off")
    assert list(shop.numbers(3)) == [7, 8]
    with pytest.raises(Panic):
        next(shop.numbers(3))
    generator = shop.numbers(3)
    assert [next(generator), generator.send("a"), generator.throw(KeyError)] == [0, 1, 2]
    with pytest.raises(StopIteration) as stop:
        generator.send("b")
    assert stop.value.value == ["a", "key", "b"]


def test_async_generator_functions(shop: types.ModuleType) -> None:
    """The same for async generators, and closing reaches the function's own ``finally``."""
    enable("fp_shop:anumbers", "1*return([7, 8])->1*panic->off")

    async def scene() -> None:
        assert [x async for x in shop.anumbers(3)] == [7, 8]
        with pytest.raises(Panic):
            await anext(shop.anumbers(3))
        generator: AsyncGenerator[object, object] = shop.anumbers(3)
        assert [await anext(generator), await generator.asend("a")] == [0, 1]
        assert await generator.athrow(KeyError) == 2
        assert await generator.asend("b") == ["a", "key", "b"]
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
        generator = shop.anumbers(4)
        await anext(generator)
        await generator.aclose()
        generator = shop.anumbers(5)
        await anext(generator)
        with pytest.raises(ZeroDivisionError):
            await generator.athrow(ZeroDivisionError)
        assert shop.closed == [3, 4, 5]

    asyncio.run(scene())


def test_hang_by_name_in_a_thread(shop: types.ModuleType) -> None:
    """Switched off, the call that hung goes on and returns what it always did."""
    enable("fp_shop:charge", "hang")
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(shop.charge(1)), daemon=True)
    thread.start()
    wait_for(lambda: hits("fp_shop:charge") == 1, what="the hit", limit=10)
    assert thread.is_alive()
    disable("fp_shop:charge")
    thread.join(10)
    assert got == [(1, 2, (), "EUR", {})]


@pytest.mark.parametrize(
    ("name", "status", "why"),
    [
        ("fp_shop:nope", 404, "fp_shop has no attribute 'nope'"),
        ("fp_shop:Orders.nope", 404, "fp_shop:Orders has no attribute 'nope'"),
        ("fp_nowhere:x", 404, "there is no module 'fp_nowhere'"),
        ("json.nowhere:x", 404, "there is no module 'json.nowhere'"),
        ("fp_shop.sub:x", 404, "there is no module 'fp_shop.sub'"),
        ("fp_shop:Orders", 400, "fp_shop:Orders.__init__"),
        ("fp_shop:builtin", 400, "builtin_function_or_method, not a function written in Python"),
        ("fp_shop:constant", 400, "is a int"),
        ("chaoskit.failpoints.points:Points.set", 400, "by its own means"),
        ("fp_shop:a-b", 404, "does not exist"),
    ],
)
def test_names_that_lead_nowhere(
    shop: types.ModuleType, api: FailpointClient, name: str, status: int, why: str
) -> None:
    """The API tells what is missing (404) from what cannot be a failpoint (400); nothing is left behind."""
    with pytest.raises(FailpointError) as error:
        api.put(name, "panic")
    assert error.value.status == status
    assert why in str(error.value)
    assert api.list() == {}


def test_the_same_function_under_another_name_is_refused(shop: types.ModuleType) -> None:
    """One function, one failpoint; the other name is free when the first is lifted."""
    code = shop.Base.__init__.__code__
    enable("fp_shop:Base.__init__", "panic")
    with pytest.raises(FailpointsError, match=r"same function as fp_shop:Base\.__init__"):
        enable("fp_shop:Orders.__init__", "panic")
    disable("fp_shop:Base.__init__")
    enable("fp_shop:Orders.__init__", "panic")
    disable("fp_shop:Orders.__init__")
    assert shop.Base.__init__.__code__ is code


def test_names_need_the_agent() -> None:
    """Without it a function's name is unknown, and the text says what is needed."""
    with pytest.raises(UnknownFailpoint, match=r"python -m chaoskit\.failpoints\.agent"):
        enable("json:dumps", "panic")


def test_the_api_answers_whatever_is_set(by_name: None, api: FailpointClient) -> None:
    """No failpoint acts in the threads of the API itself."""
    api.put("http.server:BaseHTTPRequestHandler.send_response", "hang")
    api.put("socketserver:TCPServer.get_request", "panic")
    assert set(api.list()) == {
        "http.server:BaseHTTPRequestHandler.send_response",
        "socketserver:TCPServer.get_request",
    }
    assert api.count("socketserver:TCPServer.get_request") == 0
