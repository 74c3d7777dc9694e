"""What the environment asks for when the package is imported."""

from __future__ import annotations

from chaoskit.failpoints.points import POINTS, FailpointsError, split_items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from chaoskit.failpoints.server import Server


def start(environ: Mapping[str, str]) -> Server | None:
    """Set the failpoints and start the API that ``environ`` names. Raises FailpointsError.

    Where both spellings are given, chaoskit's wins for the address and for each failpoint.
    """
    for variable in ("GOFAIL_FAILPOINTS", "CHAOSKIT_FAILPOINTS"):
        try:
            POINTS.at_start(split_items(environ.get(variable, "")))
        except FailpointsError as error:
            raise FailpointsError(f"{variable}: {error}") from None
    if environ.get("CHAOSKIT_FAILPOINTS_AGENT") == "1":
        name_functions()
    for variable in ("CHAOSKIT_FAILPOINTS_HTTP", "GOFAIL_HTTP"):
        if environ.get(variable):
            from chaoskit.failpoints.server import serve

            try:
                return serve(environ[variable])
            except FailpointsError as error:
                raise FailpointsError(f"{variable}={environ[variable]}: {error}") from None
    return None


def name_functions() -> None:
    """Make every function a failpoint by name in this process. Raises FailpointsError for start-up terms."""
    from chaoskit.failpoints import afailpoint, failpoint
    from chaoskit.failpoints.byname import Functions

    POINTS.start_functions(Functions(POINTS, failpoint, afailpoint))
