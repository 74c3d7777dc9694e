"""What this machine lets a fault do. Asked while scenarios are collected; changes nothing, and asks once."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from chaoskit.faults._cgroup import cannot_group, cannot_mark
from chaoskit.language.run_target import Need, Refusal, Setting

_LIBRARIES = ("usr/lib", "usr/local/lib", "usr/lib64")


def lacking(*needs: Need) -> Refusal | None:
    """The first of ``needs`` that this machine does not meet, with the reason and what to do; None if it meets all."""
    for need in needs:
        reason = _CHECKS[need]()
        if reason:
            return Refusal(need, reason)
    return None


def needs_docker(setting: Setting, hint: str) -> Refusal | None:
    """Refused on processes of this machine; ``hint`` says why, or what to use there."""
    if setting.runtime == "docker":
        return None
    return Refusal("docker", f"it acts on containers only (--chaos-runtime=docker): {hint}")


def faketime_library(root: Path = Path("/")) -> Path | None:
    """The path of libfaketime below ``root`` (``FAKETIME_LIBRARY``, else the usual places), or None."""
    named = os.environ.get("FAKETIME_LIBRARY")
    if named:
        return Path(named) if (root / named.lstrip("/")).is_file() else None
    for folder in _LIBRARIES:
        for pattern in ("faketime/libfaketimeMT.so.1", "*/faketime/libfaketimeMT.so.1"):
            found = sorted((root / folder).glob(pattern))
            if found:
                return Path("/") / found[0].relative_to(root)
    return None


@functools.cache
def cannot_match() -> Refusal | None:
    """Why iptables cannot tell here which control group a packet's sender is in, or None."""
    reason = cannot_mark() or _tried("iptables -w 5 -A OUTPUT -m cgroup --path / -j DROP")
    if not reason:
        return None
    return Refusal("cgroups", f"iptables must match control groups of version 2 to tell processes apart: {reason}")


def _root() -> str:
    return "" if os.geteuid() == 0 else "it must be root to do this; run as root or in a privileged container"


@functools.cache
def _iptables() -> str:
    missing = [program for program in ("iptables", "nsenter") if shutil.which(program) is None]
    if missing:
        return f"no {' and no '.join(missing)} on the PATH; install the packages iptables and util-linux"
    return _tried("iptables -w 5 -A OUTPUT -m statistic --mode random --probability 0.5 -j DROP")


@functools.cache
def _netem() -> str:
    if shutil.which("tc") is None:
        return "no tc on the PATH; install the package iproute2"
    seen = _tried("tc qdisc add dev lo root netem duplicate 1%")
    return f"this kernel has no netem ({seen}); packet_loss does without" if seen else ""


def _tried(command: str) -> str:
    """What went wrong when a shell command ran in a network namespace that goes away with it; empty if nothing did."""
    if shutil.which("unshare") is None:
        return "no unshare on the PATH; install the package util-linux"
    done = subprocess.run(["unshare", "-n", "sh", "-c", command], capture_output=True, text=True, timeout=10)
    return "" if done.returncode == 0 else " ".join(done.stderr.split()) or f"status {done.returncode}"


@functools.cache
def _faketime() -> str:
    found = faketime_library() is not None
    return (
        "" if found else "no libfaketimeMT.so.1 found; install the package libfaketime, or name it in FAKETIME_LIBRARY"
    )


_CHECKS: dict[Need, Callable[[], str]] = {
    "root": _root,
    "iptables": _iptables,
    "netem": _netem,
    "faketime": _faketime,
    "cgroups": cannot_group,
}
