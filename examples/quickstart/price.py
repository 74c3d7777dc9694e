"""GET /price: a price in euros. Another service knows the rate and has 300 ms to tell it."""

import os

from aiohttp import ClientError, ClientSession, ClientTimeout, web

RATES_URL = os.environ["RATES_URL"]
LIMIT = ClientTimeout(total=float(os.environ.get("RATES_LIMIT_S", "0.3")))
known = {"rate": 0.9}


async def price(request: web.Request) -> web.Response:
    headers = {"x-request-id": request.headers.get("x-request-id", "")}
    try:
        async with ClientSession(timeout=LIMIT) as session, session.get(RATES_URL + "/eur", headers=headers) as answer:
            answer.raise_for_status()
            known.update(await answer.json())
    except (ClientError, TimeoutError):
        headers["x-degraded"] = "last-known-rate"
    return web.json_response({"eur": round(99 * known["rate"], 2)}, headers=headers)


app = web.Application()
app.router.add_get("/price", price)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]), print=None)
