"""R16 and R17 of FAULTS.md: how often, and how much at once, workers knock on a closed door."""

from __future__ import annotations

import time

import redis

from tests.support.redis import RedisServer
from tests.support.servers import wait_until
from tests.system.rig import Rig
from tests.system.site import CANARY
from tests.system.watch import Watch, failures

PASSWORD = "of-these-tests"


def connections(client: redis.Redis) -> int:
    """How many the server has accepted so far."""
    return int(client.info("stats")["total_connections_received"])


def r16(
    rig: Rig, server: RedisServer, servers: tuple[str, ...], seconds: float, variant: str = ""
) -> str:
    """The workers' user is switched off for a while."""
    rig.started(20_000)
    with server.client() as client:
        client.acl_setuser(
            "app", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", channels="*",
            categories=["+@all"],
        )  # fmt: skip
        url = rig.url.replace("//", f"//app:{PASSWORD}@")
        made = rig.serve(*servers, store=url, variant=variant)
        rig.all_follow(CANARY)
        with Watch([worker.port for worker in made]) as watch:
            client.execute_command("ACL", "SETUSER", "app", "off")
            client.execute_command("CLIENT", "KILL", "USER", "app")
            time.sleep(1.0)
            before = connections(client)
            time.sleep(seconds)
            attempts = (connections(client) - before) / len(made)
            client.execute_command("ACL", "SETUSER", "app", "on")
            given = time.monotonic()
            for worker in made:
                worker.process.wait_log("store: recovered", timeout=3)
            late = time.monotonic() - given
    assert failures(watch.answers) == []
    # One a second, and one more because the time may begin and end with one.
    assert attempts <= seconds + 1, "no storm of attempts"
    return (
        f"R16: {attempts:.1f} attempts of a worker in {seconds:.0f} s (limit 1/s), "
        f"back after {late:.1f} s (limit 3)"
    )


def r17(rig: Rig, server: RedisServer, count: int, seconds: float, variant: str = "") -> str:
    """So many workers lose their store and find it again."""
    rig.started(20_000)
    ports = rig.lazy(count, variant=variant)
    with server.client() as client:
        others = client.info("clients")["connected_clients"]
    with Watch(ports, every=0.2) as watch, server.client() as client:
        channel = f"canary:{{{rig.setup.namespace}}}:push"
        wait_until(
            lambda: dict(client.pubsub_numsub(channel)) == {channel: count},
            what="all listen",
            timeout=30,
        )
        most = client.info("clients")["connected_clients"] - others
        server.kill()
        time.sleep(seconds)
        server.start()
        counts = []
        for _ in range(30):
            counts.append(connections(client))
            time.sleep(0.1)
        again = client.info("clients")["connected_clients"] - 1
    # Two looks long, for a peak that falls between two of them.
    came = [after - before for before, after in zip(counts, counts[2:], strict=False)]
    assert failures(watch.answers) == []
    assert most <= 2 * count
    assert again <= 2 * count
    total = counts[-1] - counts[0]
    assert max(came) <= 0.5 * total, "no synchronised peak"
    return (
        f"R17: {most / count:.1f} connections/worker before and {again / count:.1f} after "
        f"(limit 2), at most {max(came)} of {total} within 0.2 s"
    )
