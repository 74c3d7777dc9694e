"""All proxies of the server, and what Toxiproxy's API does with them."""

from __future__ import annotations

from chaoskit.base.blast_radius import beyond
from chaoskit.toxiproxy.server.address import AddressError, literal, split
from chaoskit.toxiproxy.server.declare import change, declared, read_toxic
from chaoskit.toxiproxy.server.decode import BodyError, Fields, decode, mismatch
from chaoskit.toxiproxy.server.errors import ApiError, bad_body
from chaoskit.toxiproxy.server.installed import Installed
from chaoskit.toxiproxy.server.listener import ListenError
from chaoskit.toxiproxy.server.proxy import Context, Proxy

_POPULATE_TYPE = 'struct { toxiproxy.Proxy; Enabled *bool "json:\\"enabled\\"" }'


class PopulateError(ApiError):
    """An error of ``/populate``, with the proxies created before it (None: none was tried)."""

    def __init__(self, error: ApiError, proxies: list[Proxy] | None) -> None:
        super().__init__(error.text, error.status)
        self.proxies = proxies


class State:
    """The proxies by name. Methods raise :class:`ApiError`."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.proxies: dict[str, Proxy] = {}

    def proxy(self, name: str) -> Proxy:
        """The proxy of that name."""
        if name not in self.proxies:
            raise ApiError("proxy not found", 404)
        return self.proxies[name]

    def create(self, body: bytes) -> Proxy:
        """Make a proxy and start it, unless it is to be disabled."""
        try:
            fields = Fields(decode(body), "Proxy", "toxiproxy.Proxy")
            name, listen, upstream = fields.text("name"), fields.text("listen"), fields.text("upstream")
            enabled = fields.flag("enabled", True)
        except BodyError as error:
            raise bad_body(error) from None
        _require("name", name)
        _require("upstream", upstream)
        if name in self.proxies:
            raise ApiError("proxy already exists", 409)
        return self._add(name, listen, upstream, enabled, declared(fields, self._seed(name)))

    def update(self, name: str, body: bytes) -> Proxy:
        """Change listen, upstream or enabled; the first two close all connections."""
        proxy = self.proxy(name)
        try:
            fields = Fields(decode(body), "Proxy", "toxiproxy.Proxy")
            listen = fields.text("listen", proxy.listen)
            upstream = fields.text("upstream", proxy.upstream)
            enabled = fields.flag("enabled", proxy.enabled)
        except BodyError as error:
            raise bad_body(error) from None
        if _differs(proxy, listen, upstream):
            self._allow(upstream)
            proxy.stop()
            proxy.listen = listen
            proxy.upstream = upstream
        if enabled:
            _start(proxy)
        else:
            proxy.stop()
        return proxy

    def delete(self, name: str) -> None:
        """Stop a proxy and forget it."""
        self.proxy(name).stop()
        del self.proxies[name]

    def populate(self, body: bytes) -> list[Proxy]:
        """Create or replace several proxies. Raises PopulateError."""
        try:
            wanted = self._populate_fields(body)
        except ApiError as error:
            raise PopulateError(error, None) from None
        done: list[Proxy] = []
        for entry in wanted:
            try:
                done.append(self._add_or_replace(*entry))
            except ApiError as error:
                raise PopulateError(error, done) from None
        return done

    def reset(self) -> None:
        """Enable all proxies, remove all toxics."""
        for proxy in self.proxies.values():
            _start(proxy)
            for toxic in list(proxy.toxics):
                proxy.remove(toxic)

    def toxic(self, proxy_name: str, name: str) -> tuple[Proxy, Installed]:
        """A toxic and its proxy."""
        proxy = self.proxy(proxy_name)
        installed = proxy.toxic(name)
        if installed is None:
            raise ApiError("toxic not found", 404)
        return proxy, installed

    def add_toxic(self, proxy_name: str, body: bytes) -> Installed:
        """Add a toxic at the end of its chain."""
        proxy = self.proxy(proxy_name)
        try:
            value = decode(body)
        except BodyError as error:
            raise bad_body(error) from None
        installed = read_toxic(value, [toxic.name for toxic in proxy.toxics], self._seed(proxy.name))
        proxy.install(installed)
        return installed

    def update_toxic(self, proxy_name: str, name: str, body: bytes) -> Installed:
        """Change attributes and toxicity, renew the lease; what is not named stays as it is."""
        proxy, installed = self.toxic(proxy_name, name)
        try:
            fields = Fields(
                decode(body),
                "",
                'struct { Attributes interface {} "json:\\"attributes\\""; Toxicity float32 "json:\\"toxicity\\"" }',
            )
            toxicity = fields.number("toxicity", installed.toxicity)
            ttl = fields.condition("ttl", 1)
        except BodyError as error:
            raise bad_body(error) from None
        change(installed.toxic, fields)
        installed.toxicity = toxicity
        if ttl is not None:
            installed.ttl = ttl
            proxy.lease(installed)
        proxy.toxic_changed(installed)
        return installed

    def remove_toxic(self, proxy_name: str, name: str) -> None:
        """Take a toxic away."""
        proxy, installed = self.toxic(proxy_name, name)
        proxy.remove(installed)

    def close(self) -> None:
        """Stop everything."""
        for proxy in self.proxies.values():
            proxy.stop()

    def _seed(self, proxy: str) -> str:
        return f"{self.context.seed}/{proxy}"

    def _allow(self, upstream: str) -> None:
        """Raises ApiError for a number beyond the blast radius; where a name leads is looked at when it is dialled."""
        radius = self.context.radius
        if radius is None:
            return
        try:
            host, _ = split(upstream)
        except AddressError:
            return  # as in the original: told when it is dialled
        if literal(host) is not None and not radius.holds(host):
            raise ApiError(beyond(host), 403)

    def _add(self, name: str, listen: str, upstream: str, enabled: bool, toxics: list[Installed]) -> Proxy:
        self._allow(upstream)
        proxy = Proxy(self.context, name, listen, upstream)
        if enabled:
            _start(proxy)
        self.proxies[name] = proxy
        for installed in toxics:
            proxy.install(installed)
        return proxy

    def _add_or_replace(self, name: str, listen: str, upstream: str, enabled: bool, toxics: list[Installed]) -> Proxy:
        existing = self.proxies.get(name)
        if existing is not None:
            if not _differs(existing, listen, upstream):
                return existing
            self._allow(upstream)
            existing.stop()
        return self._add(name, listen, upstream, enabled, toxics)

    def _populate_fields(self, body: bytes) -> list[tuple[str, str, str, bool, list[Installed]]]:
        wanted = []
        try:
            values = decode(body)
            if values is None:
                values = []
            if not isinstance(values, list):
                raise mismatch(values, "value", f"[]{_POPULATE_TYPE}")
            for value in values:
                fields = Fields(value, ".Proxy", _POPULATE_TYPE)
                texts = (fields.text("name"), fields.text("listen"), fields.text("upstream"))
                wanted.append((*texts, fields.flag("enabled", True, struct_name=""), fields))
        except BodyError as error:
            raise bad_body(error) from None
        for number, (name, _, upstream, _, _) in enumerate(wanted, 1):
            _require("name", name, f" at proxy {number}")
            _require("upstream", upstream, f" at proxy {number}")
        return [
            (name, listen, upstream, enabled, declared(fields, self._seed(name)))
            for name, listen, upstream, enabled, fields in wanted
        ]


def _require(field: str, value: str, place: str = "") -> None:
    if not value:
        raise ApiError(f"missing required field: {field}{place}", 400)


def _start(proxy: Proxy) -> None:
    try:
        proxy.start()
    except ListenError as error:
        raise ApiError(str(error), 500) from None


def _differs(proxy: Proxy, listen: str, upstream: str) -> bool:
    try:
        return proxy.differs(listen, upstream)
    except AddressError as error:
        raise ApiError(str(error), 500) from None
