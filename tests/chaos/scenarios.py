"""What goes wrong: each scenario is one kind of harm, done again and again at random moments."""

import os
import random
import signal
import time
from typing import ClassVar

import redis

from tests.chaos.world import Layout, World
from tests.support.topologies import ClusterServers, SentinelServers


class Scenario:
    """Nothing goes wrong.

    `strike` does the harm once, undoes it unless it passes by itself, and returns what it did in
    words. `pause` is how long it may take until the next one (s).
    """

    name: ClassVar[str] = "calm"
    pause: ClassVar[float] = 0.3

    #: What the cache is on, if not on one server.
    layout: ClassVar[type[Layout] | None] = None

    def gather(self, world: World, dice: random.Random) -> None:
        """Start the processes."""
        for _ in range(world.setting.processes):
            world.join()

    def strike(self, world: World, dice: random.Random) -> str:
        return ""


class Kill(Scenario):
    """`kill -9` of a process, in the middle of whatever it does; another takes its place."""

    name = "kill"

    def strike(self, world: World, dice: random.Random) -> str:
        victim = world.pick(dice)
        world.kill(victim)
        heir = world.join()
        world.wait_until_all_work()
        return f"killed {victim.pid}, started {heir.pid}"


class Stop(Scenario):
    """A process stands still for a while, and goes on as if nothing had been."""

    name = "stop"

    def strike(self, world: World, dice: random.Random) -> str:
        victim, seconds = world.pick(dice), dice.uniform(0.02, 0.5)
        os.kill(victim.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(victim.pid, signal.SIGCONT)
        return f"stopped {victim.pid} for {seconds:.3f} s"


class Hang(Scenario):
    """The server stands still for a while."""

    name = "hang"

    def strike(self, world: World, dice: random.Random) -> str:
        seconds = dice.uniform(0.02, 0.6)
        world.server.pause()
        time.sleep(seconds)
        world.server.resume()
        return f"paused the server for {seconds:.3f} s"


class ClientKill(Scenario):
    """The server closes all connections."""

    name = "client-kill"
    pause = 0.1

    def strike(self, world: World, dice: random.Random) -> str:
        killed = world.admin().client_kill_filter(_type="normal", skipme=True)
        return f"CLIENT KILL of {killed}"


class Cut(Scenario):
    """The network ends all connections, with RST or FIN, and refuses new ones for a moment."""

    name = "cut"
    pause = 0.2

    def strike(self, world: World, dice: random.Random) -> str:
        reset, seconds = dice.random() < 0.5, dice.choice([0.0, 0.05])
        world.proxy.refuse()
        world.proxy.cut(reset=reset)
        time.sleep(seconds)
        world.proxy.accept()
        return f"cut with {'RST' if reset else 'FIN'}, refused connections for {seconds} s"


class Freeze(Scenario):
    """No byte passes for a while; then all that was sent arrives, late."""

    name = "freeze"

    def strike(self, world: World, dice: random.Random) -> str:
        seconds = dice.uniform(0.02, 0.6)
        world.proxy.freeze()
        time.sleep(seconds)
        world.proxy.thaw()
        return f"froze the network for {seconds:.3f} s"


class DropReplies(Scenario):
    """Commands are executed, and nobody hears of it."""

    name = "drop-replies"

    def strike(self, world: World, dice: random.Random) -> str:
        seconds = dice.uniform(0.02, 0.4)
        world.proxy.drop_replies()
        time.sleep(seconds)
        world.proxy.pass_replies()
        return f"dropped replies for {seconds:.3f} s"


class Delay(Scenario):
    """The network is slow, and how slow changes."""

    name = "delay"
    pause = 0.2

    def strike(self, world: World, dice: random.Random) -> str:
        seconds = dice.choice([0.0, 0.001, 0.01, 0.05, 0.1])
        world.proxy.delay(seconds)
        return f"delayed all by {seconds} s"


class FlushAll(Scenario):
    """Redis forgets everything: entries, marks and log (promise I5)."""

    name = "flush"
    pause = 0.1

    def strike(self, world: World, dice: random.Random) -> str:
        world.admin().flushall()
        return "FLUSHALL"


class Trim(Scenario):
    """The log loses records that somebody has yet to read (promise I5)."""

    name = "trim"
    pause = 0.02

    def strike(self, world: World, dice: random.Random) -> str:
        left = dice.choice([0, 0, 1, 3])
        lost = world.admin().xtrim(world.stream, maxlen=left, approximate=False)
        return f"trimmed {lost} records"


class LoseLog(Scenario):
    """Redis evicts a key of the log's, and nothing else (promise I5)."""

    name = "lose-log"
    pause = 0.1

    def strike(self, world: World, dice: random.Random) -> str:
        key = dice.choice([world.control, world.stream])
        world.admin().delete(key)
        return f"deleted {key}"


class Restart(Scenario):
    """The server ends, or crashes, and comes back empty (promise I5)."""

    name = "restart"

    def strike(self, world: World, dice: random.Random) -> str:
        crash = dice.random() < 0.5
        if crash:
            world.server.kill()
        world.server.restart()
        return "crash and restart" if crash else "restart"


class LoseTail(Scenario):
    """A failover to a server that lacks the end of the log, and goes on (promise I6).

    Entries are on other nodes of a cluster, say, and stay; or they go back with the log.
    """

    name = "lose-tail"

    def strike(self, world: World, dice: random.Random) -> str:
        client, keeps_entries = world.admin(), dice.random() < 0.5
        names = [world.control, world.stream] if keeps_entries else client.keys()
        kept = [(name, max(0, client.pttl(name)), client.dump(name)) for name in names]
        seconds = dice.uniform(0.02, 0.3)
        time.sleep(seconds)
        world.proxy.refuse()
        world.proxy.cut(reset=True)
        client.client_kill_filter(_type="normal", skipme=True)
        length = client.xlen(world.stream)
        if keeps_entries:
            client.delete(*names)
        else:
            client.flushall()
        for name, ttl, dumped in kept:
            if dumped is not None:
                client.restore(name, ttl, dumped)
        lost = length - client.xlen(world.stream)
        promote(client)
        world.proxy.accept()
        return f"lost the last {lost} records of {seconds:.3f} s"


def promote(client: redis.Redis) -> None:
    """Give a server the identity of one that was promoted; its data stays."""
    client.replicaof("127.0.0.1", 1)
    client.replicaof("NO", "ONE")


class Clock(Scenario):
    """Wall clocks differ by a minute and more; processes with other clocks come and go."""

    name = "clock"

    def gather(self, world: World, dice: random.Random) -> None:
        for number in range(world.setting.processes):
            world.join(clock=(0.0, 60.0, -60.0)[number % 3])

    def strike(self, world: World, dice: random.Random) -> str:
        clock = dice.uniform(-60, 60)
        world.kill(world.pick(dice))
        heir = world.join(clock=clock)
        world.wait_until_all_work()
        return f"started {heir.pid} with a clock that is {clock:+.1f} s off"


class ClusterFailover(Scenario):
    """On a cluster, a primary and its replica swap places. Nothing is lost."""

    name = "cluster-failover"
    layout = ClusterServers
    pause = 1.0

    def strike(self, world: World, dice: random.Random) -> str:
        cluster = world.layout
        assert isinstance(cluster, ClusterServers)
        primary = dice.choice(cluster.primaries)
        cluster.failover(primary)
        return f"swapped {primary}"


class SentinelFailover(Scenario):
    """Behind Sentinels, the master crashes; once, for there are two replicas."""

    name = "sentinel-failover"
    layout = SentinelServers
    pause = 1.0

    def strike(self, world: World, dice: random.Random) -> str:
        sentinels = world.layout
        assert isinstance(sentinels, SentinelServers)
        if len([server for server in sentinels.servers if server.running]) < len(sentinels.servers):
            return ""
        sentinels.kill_master()
        return "killed the master"


class Everything(Scenario):
    """All of it, in turn."""

    name = "everything"
    pause = 0.2

    def strike(self, world: World, dice: random.Random) -> str:
        others = {Scenario, Everything}
        kinds = [k for k in SCENARIOS.values() if k not in others and k.layout is None]
        return dice.choice(kinds)().strike(world, dice)


_ALL: list[type[Scenario]] = [Scenario, *Scenario.__subclasses__()]
SCENARIOS = {kind.name: kind for kind in _ALL}
