"""What the kernel and the user's rights let faults do. The faults' own checks are asked, so that both say the same."""

from __future__ import annotations

import os
from pathlib import Path

from chaoskit.cli._doctor.parts import NotThere, Part, program, told
from chaoskit.faults._host_capabilities import faketime_library, lacking
from chaoskit.language.run_target import Need


def _meets(need: Need) -> None:
    refusal = lacking(need)
    if refusal is not None:
        raise NotThere(refusal.reason.partition(";")[0])


def _root() -> str:
    _meets("root")
    return "this is root"


def _user_namespaces() -> str:
    if not told(program("unshare"), "--user", "--map-user=1000", "sh", "-c", "echo works"):
        raise NotThere("unshare --user is not allowed here")
    return "unshare --user works"


def _cgroups() -> str:
    _meets("cgroups")
    version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
    return f"v{version}, cpu and memory writable"


def _netem() -> str:
    _meets("netem")
    return "tc qdisc add … netem works in a network namespace"


def _iptables() -> str:
    _meets("iptables")
    return f"{told('iptables', '--version') or 'iptables'}, the match statistic works"


def _faketime() -> str:
    _meets("faketime")
    return str(faketime_library())


_GROUP = "Faults on this machine"
_NOT_ROOT = "sudo, or a privileged container"

PARTS = (
    Part(_GROUP, "root", _root, "packet_loss, netem, cpu, oom and others on processes", _NOT_ROOT),
    Part(
        _GROUP,
        "user namespaces",
        _user_namespaces,
        "PostgreSQL without Docker when this is root",
        "sysctl user.max_user_namespaces=10000; else the user postgres or nobody is taken"
        if os.geteuid() == 0
        else "sysctl user.max_user_namespaces=10000",
    ),
    Part(_GROUP, "cgroups", _cgroups, "faults cpu and oom on processes", f"{_NOT_ROOT} with /sys/fs/cgroup writable"),
    Part(
        _GROUP,
        "tc netem",
        _netem,
        "fault netem (corrupt, duplicate, reorder)",
        "apt install iproute2; modprobe sch_netem",
    ),
    Part(_GROUP, "iptables", _iptables, "fault packet_loss", "apt install iptables util-linux; modprobe xt_statistic"),
    Part(_GROUP, "libfaketime", _faketime, "fault clock", "apt install libfaketime, brew install libfaketime"),
)
