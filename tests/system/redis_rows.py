"""R6, R7 and R9 of FAULTS.md, a Cluster, and a password that changes: a Redis among grown-ups.

``tests/system/test_redis_rows.py`` runs them once, ``tests/faults`` again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import redis

from canary_middleware import verbs
from canary_middleware.cli.failing import NOT_PERSISTED, UNREACHABLE
from canary_middleware.core.state import EVERYTHING, Document
from canary_middleware.core.weight import parse_weight
from canary_middleware.errors import StoreUnavailableError, VerbRefusedError
from canary_middleware.stores import StateStore
from tests.support.fault_proxy import FaultProxy
from tests.support.fleet import Cluster, Sentinels
from tests.support.redis import RedisServer, connect
from tests.support.servers import wait_until
from tests.system.herd import PASSWORD, connections
from tests.system.rig import Rig, Worker, follow
from tests.system.site import CANARY, STABLE
from tests.system.watch import Watch, canaries, failures

HALF = parse_weight("50%")
SERVERS = ("uvicorn", "gunicorn")
AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A master waits 5 s for more replicas before it sends what it has; a test has no time."""
HERD = 8.0
"""Seconds for which a herd is watched, from the death of its master on."""
AFTER = 5.0
"""Seconds after a fail-over within which everybody follows the new master (R9)."""


def heard_since(workers: Sequence[Worker], struck: float) -> bool:
    return all(worker.heard()[-1:] > [struck] for worker in workers)


def nobody_after(workers: Sequence[Worker], watch: Watch) -> None:
    """No canary was dispatched after its worker heard of a kill, and no request failed."""
    assert failures(watch.answers) == [], "no request fails"
    for worker in workers:
        late = [a for a in canaries(watch.between(worker.heard()[0])) if a.port == worker.port]
        assert late == [], "the kill stays in force"


def killed(store: StateStore) -> bool:
    """Whether the store says that everything is killed; it may be away."""
    try:
        document = store.load().document
    except StoreUnavailableError:
        return False
    return document is not None and EVERYTHING in document.kills


def moved(store: StateStore, weight: str) -> Document | None:
    """Set the weight, once; ``None`` where that is refused, which must have changed nothing."""
    try:
        return verbs.weight(store, "shop", parse_weight(weight), by="test")
    except (StoreUnavailableError, VerbRefusedError):  # away, or killed
        return None


def weight_of(document: Document | None) -> int:
    assert document is not None
    entry = document.entry("shop", CANARY)
    assert entry is not None
    return entry.weight


# --- memory ---------------------------------------------------------------------------------------


def r6(rig: Rig, server: RedisServer, variant: str = "") -> str:
    """Memory is full: reads go on, verbs are refused, a kill gets through and is kept later."""
    before = rig.started(HALF)
    workers = rig.serve(*SERVERS, variant=variant)
    rig.all_follow(CANARY)
    with server.client() as client, Watch(worker.port for worker in workers) as watch:
        client.config_set("maxmemory", "1")
        said = rig.cli("weight", "shop", "10%", expected=UNREACHABLE)
        assert "maxmemory" in said, "a clear line"
        assert rig.store().load().document == before, "no false success"
        time.sleep(1.0)
        assert {a.version for a in watch.answers if a.visitor == 0 and a.version} == {CANARY}
        struck = time.monotonic()
        said = rig.cli("kill", expected=NOT_PERSISTED)
        wait_until(partial(heard_since, workers, struck), timeout=3.0, what="the kill is heard")
        time.sleep(2.0)  # some looks at a store that knows of no kill
        client.config_set("maxmemory", "0")
        if not variant:
            kept = wait_until(partial(killed, rig.store()), timeout=3.0, what="the kill is kept")
            time.sleep(0.5)
    nobody_after(workers, watch)
    return f"R6: 0 of {len(watch.answers)} failed, killed at -OOM, kept {kept:.1f} s after it"


# --- a master that is none any more ---------------------------------------------------------------


def r7(directory: Path, variant: str = "", *, quiet: bool = False) -> str:
    """The master is demoted; whoever is connected stays connected, and the name leads elsewhere.

    Args:
        directory: for logs and files.
        variant: of the workers.
        quiet: nobody changes anything, which the workers would want to report at once.
    """
    with (
        RedisServer(directory, *AT_ONCE) as old,
        RedisServer(directory, *AT_ONCE) as new,
        FaultProxy(old.port) as name,
        Rig(directory, name.url(), "rows", identified=True) as rig,
        old.client() as demoted,
        new.client() as promoted,
    ):
        rig.started(HALF)
        workers = rig.serve(*SERVERS, variant=variant)
        rig.all_follow(CANARY)
        store = rig.store()
        store.load()  # so that it is connected, too
        promoted.replicaof("127.0.0.1", str(old.port))
        wait_until(lambda: "connected" in promoted.execute_command("ROLE"), what="it follows")
        with Watch(worker.port for worker in workers) as watch:
            name.lead_to(new.port)
            promoted.replicaof("NO", "ONE")
            demoted.replicaof("127.0.0.1", str(new.port))
            since = time.monotonic()
            if not quiet:
                refused_once(store)
            left = partial(left_alone, demoted)
            wait_until(left, timeout=10.0, what="everybody leaves the demoted master")
            late = time.monotonic() - since
            if quiet:
                refused_once(store)
            struck = time.monotonic()
            verbs.kill(store, by="R7")
            wait_until(partial(heard_since, workers, struck), timeout=3.0, what="the kill is heard")
            time.sleep(0.5)
        nobody_after(workers, watch)
    return f"R7: all at the new master after {late:.1f} s (limit 10), 0 false successes"


def refused_once(store: StateStore) -> None:
    """A change through a connection to the demoted master fails, the same again succeeds."""
    with pytest.raises(StoreUnavailableError, match="read only"):
        verbs.weight(store, "shop", parse_weight("20%"), by="R7")
    assert weight_of(store.load().document) == HALF, "no false success"
    assert moved(store, "30%") is not None, "the second attempt finds the master"


def left_alone(demoted: redis.Redis) -> bool:
    """Whether nobody looks at this server any more; subscriptions may stay, for it relays."""
    askers = [c for c in demoted.client_list(_type="normal") if c["cmd"].startswith("eval")]
    return all(int(client["idle"]) > 1 for client in askers)


def r9(rig: Rig, fleet: Sentinels, variant: str = "", *servers: str) -> str:
    """The master dies with a kill that no replica has; Sentinels promote one that knows nothing."""
    rig.started(HALF)
    workers = rig.serve(*(servers or SERVERS), variant=variant)
    rig.all_follow(CANARY)
    store, lost = rig.store(), fleet.master()
    with Watch(worker.port for worker in workers) as watch:
        time.sleep(0.5)
        struck = cut_off(fleet, lost, lambda: verbs.kill(store, by="R9"))
        wait_until(partial(heard_since, workers, struck), timeout=3.0, what="the kill is heard")
        lost.kill()
        for replica in fleet.servers:
            if replica is not lost:
                replica.resume()
        gone, refused = time.monotonic(), 0
        while moved(store, "1%") is None and not killed(store):
            refused += 1
            time.sleep(0.1)
        took = fleet.fail_over(lost) + time.monotonic() - gone
        if not variant:
            kept = partial(killed, store)
            late = wait_until(kept, timeout=AFTER, what="the new master knows of the kill")
            since = time.monotonic()
            follow(rig.serve("uvicorn"), STABLE, AFTER)
            wait_until(partial(recovered, workers), timeout=AFTER, what="all are back")
            back = time.monotonic() - since
        time.sleep(1.0)
    nobody_after(workers, watch)
    return (
        f"R9: fail-over in {took:.1f} s, the kill is kept {late:.1f} s after it, all back "
        f"{back:.1f} s (limit 5), {refused} writes refused and repeated, 0 of "
        f"{len(watch.answers)} failed"
    )


def cut_off(fleet: Sentinels, master: RedisServer, change: Callable[[], object]) -> float:
    """Make a change that no replica gets; the replicas are left stopped. Returns when it was."""
    for replica in fleet.servers:
        if replica is not master:
            replica.pause()
    with master.client() as client:
        # What was sent would wait in the sockets; now they are closed before it is.
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")
    struck = time.monotonic()
    change()
    return struck


def recovered(workers: Sequence[Worker]) -> bool:
    outputs = [worker.process.output() for worker in workers]
    return all(text.count("recovered") >= text.count("store: degraded") for text in outputs)


def herd(rig: Rig, fleet: Sentinels, count: int) -> str:
    """So many workers lose their master at once: how much at once they come to the next one."""
    rig.started(HALF)
    ports, lost = rig.lazy(count), fleet.master()
    channel = f"canary:{{{rig.setup.namespace}}}:push"
    with Watch(ports, every=0.2) as watch, ExitStack() as stack:
        with lost.client() as client:
            listening = {channel: count}
            wait_until(lambda: dict(client.pubsub_numsub(channel)) == listening, what="all listen")
        others = [server for server in fleet.servers if server is not lost]
        clients = [stack.enter_context(server.client()) for server in others]
        asked = [stack.enter_context(connect(url)) for url in fleet.sentinel_urls()]
        before, known = sum(map(connections, clients)), sum(map(connections, asked))
        since = time.monotonic()
        lost.kill()
        counts = []
        while time.monotonic() - since < HERD:
            with suppress(redis.ConnectionError):  # Sentinels cut everybody off at a promotion
                counts.append(sum(map(connections, clients)) - before)
            time.sleep(0.1)
        each = (sum(map(connections, asked)) - known) / count
        heard = sum(dict(client.pubsub_numsub(channel))[channel] for client in clients)
    came = [after - earlier for earlier, after in zip(counts, counts[2:], strict=False)]
    assert failures(watch.answers) == []
    assert heard == count, "all listen to the new master"
    assert max(came) <= 0.5 * counts[-1], "no synchronised peak"
    # The first one knows of no master for a while, so the two others are asked as well, once.
    assert each <= 2.5, "the ways to the Sentinels stay open"
    return (
        f"R17 with Sentinels: {counts[-1] / count:.1f} connections of a worker, at most "
        f"{max(came)} of {counts[-1]} within 0.2 s, {each:.1f} to Sentinels"
    )


# --- a Cluster ------------------------------------------------------------------------------------


def cluster(rig: Rig, fleet: Cluster, *servers: str) -> str:
    """The slot of the namespace moves to another node under load, and that node dies."""
    rig.started(HALF)
    workers = rig.serve(*(servers or SERVERS))
    rig.all_follow(CANARY)
    store, key = rig.store(), f"canary:{{{rig.setup.namespace}}}:state"
    source, target = fleet.owner(key), fleet.servers[1]
    assert source is not target, "the namespace of this test lies elsewhere"
    with Watch(worker.port for worker in workers) as watch:
        time.sleep(0.5)
        fleet.move(key, source, target)
        changed = verbs.weight(store, "shop", parse_weight("60%"), by="cluster")
        assert weight_of(changed) == parse_weight("60%")
        time.sleep(0.5)
        target.kill()
        refused, gone = 0, time.monotonic()
        while moved(store, "70%") is None:
            refused += 1
            assert time.monotonic() - gone < 15, "the replica takes over"
            time.sleep(0.1)
        took = time.monotonic() - gone
        assert weight_of(store.load().document) == parse_weight("70%"), "nothing is lost"
        struck = time.monotonic()
        verbs.kill(store, by="cluster")
        wait_until(partial(heard_since, workers, struck), timeout=AFTER, what="the kill is heard")
        late = time.monotonic() - struck
        time.sleep(0.5)
    nobody_after(workers, watch)
    return (
        f"Cluster: slot moved, its node killed, writes go on after {took:.1f} s, {refused} refused "
        f"and repeated, a kill is heard in {late:.2f} s (limit 5), 0 of {len(watch.answers)} failed"
    )


# --- a password that changes ----------------------------------------------------------------------


def rotated(rig: Rig, server: RedisServer, file: Path, *, from_url: bool = False) -> str:
    """The password changes while all run; the workers get the new one a while after the server."""
    rig.started(HALF)
    file.write_text(f"app {PASSWORD}")
    known = rig.url.replace("//", f"//app:{PASSWORD}@")
    seconds = 2.5
    with server.client() as client:
        client.acl_setuser(
            "app", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", channels="*",
            categories=["+@all"],
        )  # fmt: skip
        stores = {"store": known} if from_url else {"credentials": str(file)}
        workers = rig.serve(*SERVERS, **stores)
        rig.all_follow(CANARY)
        with Watch(worker.port for worker in workers) as watch:
            client.acl_setuser("app", enabled=True, passwords=["+renewed", f"-{PASSWORD}"])
            client.execute_command("CLIENT", "KILL", "USER", "app")
            time.sleep(1.0)
            before = connections(client)
            time.sleep(seconds)
            attempts = (connections(client) - before) / len(workers)
            file.write_text("app renewed")
            given = time.monotonic()
            for worker in workers:
                worker.process.wait_log("store: recovered", timeout=3)
            late = time.monotonic() - given
            struck = time.monotonic()
            verbs.kill(rig.store(), by="rotated")
            # Sooner than any look at the store: the subscriptions are back as well.
            time.sleep(1.5)
            wait_until(partial(heard_since, workers, struck), timeout=3.0, what="the kill is heard")
    assert failures(watch.answers) == []
    assert attempts <= seconds + 1, "no storm of attempts"
    heard = max(worker.heard()[-1] for worker in workers) - struck
    return (
        f"password changed: {attempts:.1f} attempts of a worker in {seconds} s (limit 1/s), back "
        f"{late:.1f} s after the new one (limit 3), the kill heard in {1000 * heard:.0f} ms"
    )
