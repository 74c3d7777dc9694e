"""Services as containers, on a real daemon: life, signals, restarts, readiness, and nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from chaoskit.base.clock import wait_for
from chaoskit.base.errors import BrokenError
from chaoskit.history.rows import Log, Sample
from chaoskit.language.service import ServiceSpec
from chaoskit.observers.process_sampler import ProcessSampler
from chaoskit.services.create import PROVIDERS, create
from chaoskit.services.docker import daemon
from chaoskit.services.docker.network import Network
from chaoskit.services.docker.runtime import ContainerRuntime
from chaoskit.services.own_code import PYTHON_IMAGE
from chaoskit.system.pids import family, identify, inner_pid

REFUSAL = daemon.refusal()
pytestmark = pytest.mark.skipif(bool(REFUSAL), reason=f"needs a Docker daemon: {REFUSAL}")

SERVER = """
import http.server, os, sys
print("listening", file=sys.stderr)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/write":
            open("/tmp/written", "w").close()
        body = repr((os.path.exists("/tmp/written"), os.environ.get("WORD"))).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, form, *args):
        print("asked", self.path)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


@pytest.fixture
def network(bench):
    """A network for a test; it goes after the services."""
    made = Network(f"chaoskit-test-{bench.folder.name}-{os.getpid()}", bench.journal)
    made.create()
    yield made
    for service in bench.services:
        service.stop()
    made.remove()


@pytest.fixture
def contain(bench, network):
    """Makes services that run in containers, not started."""

    def make(name="it", **given):
        spec = ServiceSpec(**given)
        port = PROVIDERS.get(spec.provider).container_port if spec.provider else None
        runtime = ContainerRuntime(
            name, spec, network, bench.journal, aliases=[f"{name}-direct"], port=port, note=lambda _text: None
        )
        rest = {"folder": bench.folder / "run", "journal": bench.journal, "emit": bench.rows.append}
        service = create(name, spec, runtime=runtime, **rest)
        bench.services.append(service)
        return service

    return make


def server(contain, **more):
    """The little HTTP server above."""
    return contain(image=PYTHON_IMAGE, command=["python3", "-c", SERVER], **more)


def get(service, path="/"):
    """What it answers: whether its file is there, and its WORD."""
    with socket.create_connection((service.host, service.port), timeout=5) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return eval(connection.makefile().read().rpartition("\n")[2])


def test_life(contain, bench):
    """Started, ready, its output in two streams, stopped: no container is left."""
    service = server(contain, env={"WORD": "hello"}, ready={"http": "/", "within": "30s"})
    service.start()
    assert service.alive()
    assert service.ready()
    assert get(service) == (False, "hello")
    assert Path(f"/proc/{service.pid}/exe").readlink().name.startswith("python")
    name = service.container.name
    wait_for(lambda: "asked /" in bench.lines(), what="the log line", limit=5)
    streams = {row.line: row.stream for row in bench.rows if isinstance(row, Log)}
    assert streams["listening"] == "stderr"
    assert streams["asked /"] == "stdout"
    service.stop()
    assert bench.events() == ["started", "ready", "exited"]
    assert daemon.client().containers.list(all=True, filters={"name": name}) == []


def test_what_a_shell_starts_in_it_is_seen(contain, bench):
    """Its files count, an orphan's too, and when it dies and the shell starts it again the service has ended."""
    orphan = "(setsid python3 -c 'import time; kept = [open(\"/dev/null\") for _ in range(40)]; time.sleep(600)' &)"
    loop = f'{orphan}; while true; do python3 -c "$SERVER"; done'
    service = contain(
        image=PYTHON_IMAGE, command=["sh", "-c", loop], env={"SERVER": SERVER}, ready={"http": "/", "within": "30s"}
    )
    service.start()
    sampler = ProcessSampler([service], bench.rows.append)

    def seen(name):
        sampler.observe()
        return [row.value for row in bench.rows if isinstance(row, Sample) and row.name == f"process.{name}"][-1]

    wait_for(lambda: seen("open_files") >= 45, what="what the orphan and the server hold", limit=10)
    assert seen("threads") == 3
    (server,) = [pid for pid in family(identify(service.pid)) if pid.pid != service.pid]
    assert service.container.exec(["sh", "-c", f"kill -9 {inner_pid(server.pid)}"], user="0")[0] == 0
    wait_for(lambda: sampler.observe() or bench.events()[2:] == ["exited", "ready"], what="another server", limit=20)
    assert seen("pid") != service.pid
    assert service.alive()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT])
def test_a_signal_ends_it_as_it_would_end_a_process(contain, number):
    """The exit status is the signal's, although the program is the first process of its container."""
    service = server(contain, ready={"http": "/", "within": "30s"})
    service.start()
    assert service.kill(number)
    wait_for(lambda: not service.alive(), what="its death", limit=20)
    assert service.last_exit == -number
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((service.host, service.port), timeout=5)
    assert not service.kill()


def test_tmpfs_has_the_size_that_is_asked_for(contain):
    """A folder of the container is a file system of its own, in memory, with that much room."""
    service = server(contain, tmpfs={"/var/spool/it": "2MiB"}, ready={"http": "/", "within": "30s"})
    service.start()
    code = "import os; s = os.statvfs('/var/spool/it'); print(s.f_blocks * s.f_frsize)"
    assert service.container.exec(["python3", "-c", code]) == (0, f"{2 << 20}\n")
    mounts = Path(f"/proc/{service.pid}/mounts").read_text(encoding="utf-8").splitlines()
    assert ["tmpfs", "/var/spool/it", "tmpfs"] in [line.split()[:3] for line in mounts]


def test_restart_keeps_address_and_files_and_a_change_does_not(contain, bench):
    """A restart is the same container; what runs with other settings is a new one, at the same address."""
    service = server(contain, env={"WORD": "one"}, ready={"http": "/", "within": "30s"})
    service.start()
    first, pid = service.container.id, service.pid
    assert get(service, "/write") == (True, "one")
    service.restart()
    assert get(service) == (True, "one")
    assert service.container.id == first
    assert service.pid != pid
    service.stop()
    other = create(
        "it",
        service.spec.model_copy(update={"env": {"WORD": "two"}}),
        runtime=service.runtime,
        folder=bench.folder / "run",
        journal=bench.journal,
        emit=bench.rows.append,
    )
    bench.services.append(other)
    other.start()
    assert (other.host, other.port) == (service.host, service.port)
    assert get(other) == (False, "two")
    assert other.container.id != first


def test_supervised(contain, bench):
    """With ``restart: always`` a killed container comes back."""
    service = server(contain, restart="always", ready={"http": "/", "within": "30s"})
    service.start()
    old = service.pid
    service.kill()
    wait_for(lambda: service.pid not in (None, old) and service.ready(), what="the service to be back", limit=30)
    assert bench.events("ready") == ["started", "killed", "exited", "restarted"]


def test_paused(contain):
    """A paused container answers nothing, until it goes on; one that is paused can be stopped."""
    service = server(contain, ready={"http": "/", "within": "30s"})
    service.start()
    assert service.pause()
    with socket.create_connection((service.host, service.port), timeout=0.5) as asking:
        asking.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(TimeoutError):
            asking.recv(1)
    assert service.resume()
    assert get(service) == (False, None)
    assert service.pause()
    service.stop()
    assert not service.alive()


def test_not_ready(contain):
    """One that ends, and one that never listens, are told with their last lines."""
    ends = contain("ends", image=PYTHON_IMAGE, command=["python3", "-c", "print('no luck'); raise SystemExit(3)"])
    with pytest.raises(BrokenError, match=r"ended before it was ready: exit status 3\n(.|\n)*no luck"):
        ends.start()
    hangs = contain("hangs", image=PYTHON_IMAGE, command=["sleep", "60"], ready={"within": "500ms"})
    with pytest.raises(BrokenError, match=r"not ready within 500ms; last seen: port \d+: .*refused"):
        hangs.start()


def test_what_cannot_be_started(contain):
    """A program that is not in the image, and an image that is nowhere."""
    with pytest.raises(BrokenError, match="nosuchprogram"):
        contain("a", image=PYTHON_IMAGE, command=["nosuchprogram"]).start()
    missing = "localhost:1/chaoskit/nosuchimage:7"
    with pytest.raises(BrokenError, match=rf"the image {missing} is not on this machine(.|\n)*docker pull"):
        contain("b", image=missing).start()


def test_built(contain, bench):
    """With a name the image is built where it is not there, without one in each run; both with their arguments."""
    context = bench.folder / "context"
    context.mkdir()
    recipe = f"FROM {PYTHON_IMAGE}\nARG WORD\nENV WORD=$WORD\n"
    (context / "Own.dockerfile").write_text(recipe)
    build = {"context": str(context), "dockerfile": "Own.dockerfile", "args": {"WORD": "one"}}
    named = {"image": f"chaoskit-test-built-{os.getpid()}", "command": ["python3", "-c", SERVER]}
    service = contain(build=build, **named, ready={"http": "/", "within": "30s"})
    unnamed = contain("other", build=build, command=named["command"], ready={"http": "/", "within": "30s"})
    try:
        for each in (service, unnamed):
            each.start()
            assert get(each) == (False, "one")
            each.stop()
        (context / "Own.dockerfile").write_text(recipe.replace("=$WORD", "=two"))
        for each, word in ((service, "one"), (unnamed, "two")):
            each.start()
            assert get(each) == (False, word)
            each.stop()
    finally:
        for each in (service, unnamed):
            daemon.client().images.remove(each.plan().image, force=True)


def test_health_check_of_the_image(contain, bench):
    """Where nothing else is said, the service is ready when its image says so."""
    image = f"chaoskit-test-health-{os.getpid()}"
    context = bench.folder / "context"
    context.mkdir()
    check = "HEALTHCHECK --interval=1s CMD python3 -c \"import os; assert os.path.exists('/tmp/well')\""
    (context / "Dockerfile").write_text(f"FROM {PYTHON_IMAGE}\n{check}\n")
    code = "import time; time.sleep(2); open('/tmp/well', 'w').close(); print('well', flush=True); time.sleep(600)"
    try:
        service = contain(
            image=image, build={"context": str(context)}, command=["python3", "-c", code], ready={"within": "30s"}
        )
        service.start()
        assert bench.lines() == ["well"]
        service.stop()
    finally:
        daemon.client().images.remove(image, force=True)


def test_postgres(contain):
    """The provider: a database, the same data after a kill, and after a reset what was there at first."""
    service = contain("db", provider="postgres", ready={"within": "60s"}, restart="always")
    service.start()
    assert service.inside == ("db-direct", 5432)
    assert service.read("select current_database()") == [["shop"]]
    with psycopg.connect(service.url(), autocommit=True) as connection:
        connection.execute("create table t (a int)")
        connection.execute("insert into t values (1)")
        first = service.snapshot()
        connection.execute("insert into t values (2)")
    old = service.pid
    service.kill()
    wait_for(lambda: service.pid not in (None, old) and service.ready(), what="the database to be back", limit=60)
    assert service.read("select a from t order by a") == [[1], [2]]
    service.restore(first)
    assert service.read("select a from t") == [[1]]


def test_redis_and_stub(contain):
    """The other providers answer; what a store held is brought back."""
    redis = contain("cache", provider="redis", ready={"within": "30s"})
    redis.start()
    redis.command("SET a 1")
    first = redis.snapshot()
    redis.command("SET b 2")
    redis.command("DEL a")
    redis.restore(first)
    assert (redis.command("GET a"), redis.command("GET b")) == ("$1", "$-1")
    stub = contain("stub", provider="http_stub", args={"routes": [{"path": "/ok", "json": 7}]}, ready={"within": "30s"})
    stub.start()
    assert get(stub, "/ok") == 7


def test_container_handle(contain):
    """What faults are given: exec, limits, off the network and back on it under the same names."""
    service = server(contain, ready={"http": "/", "within": "30s"})
    service.start()
    container = service.container
    assert container.pid == service.pid
    assert container.exec(["sh", "-c", "echo out; echo err >&2; exit 3"]) in ((3, "out\nerr\n"), (3, "err\nout\n"))
    container.update(mem_limit=64 << 20, memswap_limit=64 << 20)
    assert container.inspect()["HostConfig"]["Memory"] == 64 << 20
    container.disconnect()
    assert container.inspect()["NetworkSettings"]["Networks"] == {}
    container.connect()
    (joined,) = container.inspect()["NetworkSettings"]["Networks"].values()
    assert joined["NetworkID"] == container.network_id
    assert "it-direct" in joined["Aliases"]
    assert get(service) == (False, None)


def test_labels_and_names(contain, network, bench):
    """All of ours says whose it is, and a service has no other name than it is given."""
    service = server(contain, ready={"http": "/", "within": "30s"})
    service.start()
    me = identify(os.getpid())
    marks = {"chaoskit.run": bench.journal.run_id, "chaoskit.owner": f"{me.pid}:{me.start}"}
    assert marks.items() <= service.container.inspect()["Config"]["Labels"].items()
    assert daemon.client().networks.get(network.name).attrs["Labels"] == marks
    look = "import socket\ntry: socket.gethostbyname('it')\nexcept OSError: print('unknown')"
    service.container.exec(["true"])
    assert service.container.exec(["python3", "-c", look]) == (0, "unknown\n")  # the proxy's name, where there is one


def test_undone_by_another_process(contain, network, bench):
    """What the journal says is enough to remove all; a second time it is the same."""
    service = server(contain, ready={"http": "/", "within": "30s"})
    service.start()
    name = service.container.name
    bench.journal.undo_all()
    client = daemon.client()
    assert client.containers.list(all=True, filters={"name": name}) == []
    assert client.networks.list(names=[network.name]) == []
    wait_for(lambda: not service.alive(), what="its end to be seen", limit=10)


def test_a_port_that_somebody_else_holds(contain):
    """Docker publishes no port that is held already: broken, and nobody else is taken for the service."""
    service = server(contain)
    with (
        socket.create_server((service.host, service.port)),
        pytest.raises(BrokenError, match=r"address already in use|port is already allocated"),
    ):
        service.start()
    service.start()
    assert service.ready()
