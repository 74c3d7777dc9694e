"""A client of gofail's HTTP API: for this package's server and for Go services built with gofail."""

from __future__ import annotations

from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener


class FailpointError(Exception):
    """The API could not be reached or refused. ``status`` is its HTTP status, None when nothing answered."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class _NoRedirects(HTTPRedirectHandler):
    """An answer that leads elsewhere is an answer: it is not followed."""

    def redirect_request(self, *_: object) -> None:
        """None: then it is an HTTPError."""


class FailpointClient:
    """The failpoints of one process.

    ``url`` is the address of its API (``http://127.0.0.1:22381``), ``timeout`` the limit of each request in seconds.
    All methods raise FailpointError.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        # A proxy from the environment cannot reach loopback.
        self._opener = build_opener(ProxyHandler({}), _NoRedirects)

    def put(self, name: str, terms: str) -> None:
        """Switch the failpoint on; its count starts at 0."""
        self._request("PUT", name, terms)

    def delete(self, name: str) -> None:
        """Switch the failpoint off. One that is off already, or is not known, is fine."""
        try:
            self._request("DELETE", name)
        except FailpointError as error:
            gone = error.status in (400, 404) and ("does not exist" in str(error) or "is disabled" in str(error))
            if not gone:
                raise

    def get(self, name: str) -> str | None:
        """The terms of the failpoint, None when it is off. One that is not known is an error."""
        try:
            return self._request("GET", name).rstrip("\n")
        except FailpointError as error:
            if error.status == 404 and "is disabled" in str(error):
                return None
            raise

    def count(self, name: str) -> int:
        """How often the failpoint acted since it was switched on; ask before :meth:`delete`, which forgets it."""
        text = self._request("GET", f"{name}/count")
        try:
            return int(text)
        except ValueError:
            raise FailpointError(f"{self.url} answered {text[:80]!r} to a count: is it a failpoint API?") from None

    def list(self) -> dict[str, str]:
        """All failpoints with their terms, '' for those that are off."""
        lines = (line.partition("=") for line in self._request("GET", "").splitlines() if line)
        return {name: terms for name, _, terms in lines}

    def _request(self, method: str, path: str, body: str | None = None) -> str:
        url = f"{self.url}/{quote(path, safe='/:')}"
        data = None if body is None else body.encode()
        request = Request(url, data=data, method=method, headers={"Content-Type": "text/plain"})  # noqa: S310
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return str(response.read().decode())
        except HTTPError as error:
            with error:
                said = error.read().decode(errors="replace").strip()
            raise FailpointError(f"{method} {url}: {error.code} {said}", error.code) from None
        except (OSError, HTTPException) as error:
            raise FailpointError(
                f"{method} {url}: no answer from a failpoint API ({error}); is the service running, and was it "
                f"started with GOFAIL_HTTP={self.url.partition('//')[2]}?"
            ) from None
