"""What the environment asks for at start-up."""

from __future__ import annotations

import os

from chaoskit.failpoints.errors import FailpointsError
from chaoskit.failpoints.points import POINTS, afailpoint, failpoint, split_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# "PID ADDRESS" of the process that serves: a child that inherits the address must not claim it as well.
_SERVED_BY = "CHAOSKIT_FAILPOINTS_SERVED_BY"


def start(by_name: bool) -> None:
    """Set the failpoints and serve the API that the environment names. Raises FailpointsError.

    ``by_name``: functions are failpoints by name. Where both spellings of a variable are given, chaoskit's wins
    for the address and for each failpoint.
    """
    for variable in ("GOFAIL_FAILPOINTS", "CHAOSKIT_FAILPOINTS"):
        text = os.environ.get(variable, "")
        _explained(variable, lambda text: POINTS.at_start(split_items(text)), text)
    if by_name:
        _name_functions()
    for variable in ("CHAOSKIT_FAILPOINTS_HTTP", "GOFAIL_HTTP"):
        address = os.environ.get(variable)
        if address:
            _explained(variable, _serve, address)
            return


def _explained(variable: str, work: Callable[[str], None], text: str) -> None:
    try:
        work(text)
    except FailpointsError as error:
        raise FailpointsError(f"{variable}={text}: {error}") from None


def _serve(address: str) -> None:
    pid, _, served = os.environ.get(_SERVED_BY, "").partition(" ")
    if served == address and pid != str(os.getpid()):
        return
    from chaoskit.failpoints.server import serve

    serve(address)
    os.environ[_SERVED_BY] = f"{os.getpid()} {address}"


def _name_functions() -> None:
    from chaoskit.failpoints.byname import Functions

    POINTS.start_functions(Functions(failpoint, afailpoint))
