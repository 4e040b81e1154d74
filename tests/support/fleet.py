"""Several real servers that are one Redis: a master with replicas and Sentinels, or a Cluster."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.support.redis import RedisServer, connect, server_binary
from tests.support.servers import LOCALHOST, Process, free_port, wait_until

MASTER = "shop-master"
DOWN_AFTER = 700
"""Milliseconds of silence after which a Sentinel, or a node, takes a server for lost."""


class Fleet:
    """What both kinds have in common: servers that end with the block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._stack = stack
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _begin(self) -> None:
        raise NotImplementedError

    def _server(self, *options: str) -> RedisServer:
        server = RedisServer(self.directory, *options)
        self._stack.callback(server.close)
        return server.start()


class Sentinels(Fleet):
    """A master, two replicas and three Sentinels that agree about them.

    Attributes:
        servers: the first one began as master.
        ports: of the Sentinels.
        processes: the Sentinels.
    """

    def _begin(self) -> None:
        # Promoted at once: diskless replication would first wait for more replicas to come.
        options = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"]
        first = self._server(*options)
        self.servers = [first]
        for _ in range(2):
            self.servers.append(self._server(*options, "--replicaof", f"{LOCALHOST} {first.port}"))
        self.ports = [free_port() for _ in range(3)]
        self.processes = [self._sentinel(port) for port in self.ports]
        wait_until(self._agreed, what="the Sentinels know each other", timeout=20)
        wait_until(lambda: all(map(follows, self.servers[1:])), what="the replicas follow")

    @property
    def url(self) -> str:
        hosts = ",".join(f"{LOCALHOST}:{port}" for port in self.ports)
        return f"redis+sentinel://{hosts}/{MASTER}/0"

    def sentinel_urls(self) -> list[str]:
        return [f"redis://{LOCALHOST}:{port}" for port in self.ports]

    def master(self) -> RedisServer:
        """Whom the Sentinels say is it now."""
        with connect(f"redis://{LOCALHOST}:{self.ports[0]}") as client:
            port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER)[1]
        return next(server for server in self.servers if server.port == int(port))

    def others(self) -> list[RedisServer]:
        """All but the master."""
        master = self.master()
        return [server for server in self.servers if server is not master]

    def hand_over(self) -> None:
        """Ask for a fail-over while all are well."""
        with connect(self.sentinel_urls()[0]) as client:
            client.execute_command("SENTINEL", "FAILOVER", MASTER)

    def replicated(self) -> bool:
        """Whether the replicas have all that the master has."""
        with ExitStack() as stack:
            clients = [stack.enter_context(server.client()) for server in self.servers]
            offsets = {client.info("replication")["master_repl_offset"] for client in clients}
        return len(offsets) == 1

    def fail_over(self, lost: RedisServer) -> float:
        """Wait until another server takes writes; returns the seconds from now."""
        return wait_until(lambda: self._succeeded(lost), what="another master", timeout=30)

    def _succeeded(self, lost: RedisServer) -> bool:
        server = self.master()
        if server is lost:
            return False
        with suppress(redis.RedisError), server.client() as client:
            return bool(client.info("replication")["role"] == "master")
        return False

    def _sentinel(self, port: int) -> Process:
        file = self.directory / f"sentinel-{port}.conf"
        file.write_text(
            f"port {port}\nbind {LOCALHOST}\ndir {self.directory}\n"
            f"sentinel monitor {MASTER} {LOCALHOST} {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {MASTER} 6000\n"
        )
        process = Process(
            [server_binary(), file, "--sentinel"], self.directory / f"sentinel-{port}.log"
        )
        self._stack.enter_context(process).wait_port(port)
        with connect(f"redis://{LOCALHOST}:{port}") as client:
            # Asks and tells more often than every ten and two seconds: only a test has no time.
            client.execute_command(
                "SENTINEL", "DEBUG", "info-period", 300, "publish-period", 200, "ask-period", 200
            )
        return process

    def _agreed(self) -> bool:
        for port in self.ports:
            with connect(f"redis://{LOCALHOST}:{port}") as client:
                told: dict[str, Any] = client.sentinel_masters().get(MASTER, {})
                if (told.get("num-slaves"), told.get("num-other-sentinels")) != (2, 2):
                    return False
        return True


class Cluster(Fleet):
    """Three masters that share the slots, and a replica of the second.

    Attributes:
        servers: the masters in the order of their slots, then the replica.
    """

    def _begin(self) -> None:
        self.servers: list[Node] = [self._node() for _ in range(4)]
        first = self.servers[0].client()
        self._stack.callback(first.close)
        for server in self.servers[1:]:
            first.execute_command("CLUSTER", "MEET", LOCALHOST, server.port, server.bus)
        for number, server in enumerate(self.servers[:3]):
            low, high = 16384 * number // 3, 16384 * (number + 1) // 3 - 1
            self.ask(server, "CLUSTER", "ADDSLOTSRANGE", low, high)
        wait_until(lambda: self._all_say("cluster_known_nodes:4"), what="all meet", timeout=20)
        self.ask(self.servers[3], "CLUSTER", "REPLICATE", self.name(self.servers[1]))
        self.settle()
        wait_until(lambda: follows(self.servers[3]), what="the replica follows")

    def settle(self) -> None:
        """Wait until all nodes say that all is well."""
        wait_until(lambda: self._all_say("cluster_state:ok"), what="all agree", timeout=20)

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'{LOCALHOST}:{s.port}' for s in self.servers)}"

    def ask(self, server: RedisServer, *words: str | int) -> Any:
        """One command to one node, whatever slots it has."""
        with server.client() as client:
            return client.execute_command(*words)

    def name(self, server: RedisServer) -> str:
        return str(self.ask(server, "CLUSTER", "MYID"))

    def owner(self, key: str) -> RedisServer:
        """Which master has the slot of a key."""
        slot = key_slot(key.encode())
        return self.servers[min(2, slot * 3 // 16384)]

    def move(self, key: str, source: RedisServer, target: RedisServer) -> None:
        """Give the slot of a key with all that is in it to another master, as redis-cli does."""
        slot = key_slot(key.encode())
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.name(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.name(target))
        while keys := self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 10):
            self.ask(source, "MIGRATE", LOCALHOST, target.port, "", 0, 5000, "KEYS", *keys)
            time.sleep(0.05)  # so that some questions meet a slot that is half here, half there
        for server in (target, source, *self.servers):
            with suppress(redis.ResponseError):  # the replica has no say
                self.ask(server, "CLUSTER", "SETSLOT", slot, "NODE", self.name(target))

    def fail_over(self) -> float:
        """Wait until the replica has taken over; returns the seconds from now."""
        return wait_until(
            lambda: self.ask(self.servers[3], "ROLE")[0] == "master",
            what="the replica is master", timeout=30,
        )  # fmt: skip

    def _node(self) -> Node:
        node = Node(self.directory)
        self._stack.callback(node.close)
        node.start()
        return node

    def _all_say(self, text: str) -> bool:
        return all(text in self.ask(server, "CLUSTER", "INFO") for server in self.servers)


def follows(replica: RedisServer) -> bool:
    """Whether a replica has all that its master has."""
    with replica.client() as client:
        found: list[object] = client.execute_command("ROLE")
    return "connected" in found


class Node(RedisServer):
    """One node of a cluster.

    Attributes:
        bus: port on which the nodes talk among themselves.
    """

    def __init__(self, directory: Path) -> None:
        self.bus = free_port()
        port = free_port()
        super().__init__(
            directory, "--cluster-enabled", "yes", "--cluster-port", str(self.bus),
            "--cluster-config-file", f"nodes-{port}.conf",
            "--cluster-node-timeout", str(DOWN_AFTER), "--repl-diskless-sync-delay", "0",
            port=port,
        )  # fmt: skip
