"""The diagnosis of a cache: findings and their remedies, made of facts; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...stores.redis.health import Health, LogHealth, ServerHealth
from .facts import Facts, Finding, Level, StaticFacts
from .package_diagnosis import judge_packages
from .usage_diagnosis import judge_usage

#: The oldest supported version of Redis.
OLDEST = (6, 2)

#: Shares of the timeout beyond which a round trip is slow, and too slow.
SLOW, TOO_SLOW = 0.1, 0.5

#: Seconds that clocks may be apart before ages look wrong.
CLOCKS_APART = 5.0

#: Pattern bans in force that are worth advice; beyond 256 the oldest end everything older.
MANY_BANS = 200

#: Reading these can't run code.
SAFE_SERIALIZERS = ("json", "msgpack", "yaml")


def diagnose(facts: Facts) -> list[Finding]:
    """Return the findings on all facts."""
    health = facts.health
    findings = list(_settings(facts))
    if not health.servers:
        findings.append(
            Finding(
                "Server",
                Level.ADVICE,
                f"it doesn't tell what it is: {health.refused}",
                "let this user ask: ACL SETUSER … +info +config|get",
            )
        )
    for server in health.servers:
        findings += [
            _version(server),
            _memory(server, shared=server.run_id in facts.broker_run_ids),
            _persistence(server, is_bound=health.log.is_bound),
            *_replication(server, facts.settings.wait_replicas),
        ]
    findings += [_latency(health, facts.settings.timeout), _clock(health), _log(health.log)]
    findings += judge_packages(facts.packages)
    findings += [_broker(facts), *_serializers(facts), *_workers(facts), *judge_usage(facts)]
    return findings


def diagnose_statically(facts: StaticFacts) -> list[Finding]:
    """Judge what is known without asking Redis, the broker or workers."""
    findings = [*_settings(facts), *judge_packages(facts.packages), *_serializers(facts)]
    if facts.settings.url is None:
        message = "there is none: each process caches in its own memory only"
        remedy = "set taskcache_url, or use a result backend in Redis"
        findings.append(Finding("Server", Level.ADVICE, message, remedy))
    return findings


def first_to_do(findings: Sequence[Finding]) -> Finding | None:
    """Return the finding to act on first: what is wrong before advice, the server before its users.

    None when there is nothing to do.
    """
    for level in (Level.WRONG, Level.ADVICE):
        for finding in findings:
            if finding.level is level and finding.remedy:
                return finding
    return None


def _settings(facts: StaticFacts) -> Iterator[Finding]:
    if not facts.settings.enabled:
        yield Finding("Settings", Level.WRONG, "caching is off", "set taskcache_enabled = True")


def _on(server: ServerHealth, about: str) -> str:
    return f"{about} ({server.name})" if server.name else about


def _version(server: ServerHealth) -> Finding:
    about, message = _on(server, "Server"), f"{server.product} {server.version}"
    if server.product == "Redis" and server.redis_version < OLDEST:
        return Finding(about, Level.WRONG, message, "upgrade to Redis 6.2 or newer, or Valkey")
    return Finding(about, Level.OK, message)


def _memory(server: ServerHealth, *, shared: bool) -> Finding:
    about, policy = _on(server, "Eviction"), server.policy
    if policy.startswith("allkeys") and shared:
        message = f"{policy}, and the broker's messages are among the keys: they can be evicted"
        remedy = "set maxmemory-policy volatile-lru, and give the cache a Redis of its own"
        return Finding(about, Level.WRONG, message, remedy)
    if not server.max_memory:
        message = (
            f"no bound: it may grow until the machine is full ({_mb(server.used_memory)} used)"
        )
        remedy = "set maxmemory, and maxmemory-policy volatile-lru"
        return Finding(about, Level.ADVICE, message, remedy)
    used = f"{_mb(server.used_memory)} of {_mb(server.max_memory)} used, {server.evicted:,} evicted"
    if policy == "noeviction":
        message = f"noeviction: when full, results aren't stored, and invalidations fail ({used})"
        return Finding(about, Level.WRONG, message, "set maxmemory-policy volatile-lru")
    if policy.startswith("allkeys"):
        message = (
            f"{policy}: it may evict the invalidation log, and then every entry misses ({used})"
        )
        remedy = "set maxmemory-policy volatile-lru: entries expire, the log doesn't"
        return Finding(about, Level.ADVICE, message, remedy)
    return Finding(about, Level.OK, f"{policy}, {used}")


def _mb(count: int) -> str:
    return f"{count / 1e6:,.1f}MB"


def _persistence(server: ServerHealth, *, is_bound: bool) -> Finding:
    about = _on(server, "Persistence")
    remedy = "a cache needs no persistence: save '', appendonly no"
    if server.aof == "always":
        return Finding(about, Level.OK, "append-only file, written always")
    if server.snapshots is None or server.aof is None:
        message = "it doesn't tell whether it saves anything"
    elif server.aof:
        message = f"append-only file, written {server.aof}"
    elif server.snapshots:
        message = "snapshots"
    else:
        return Finding(about, Level.OK, "none: a restart is a cold start")
    if is_bound:
        message += ": after a restart every entry misses all the same"
    else:
        message += ": a restart may forget invalidations, and what they ended is served"
    return Finding(about, Level.ADVICE, message, remedy)


def _replication(server: ServerHealth, wait_replicas: int) -> Iterator[Finding]:
    about = _on(server, "Replication")
    if server.role != "master":
        remedy = "point taskcache_url at its master"
        yield Finding(about, Level.WRONG, "this is a replica: it takes no results", remedy)
    elif server.replicas and not wait_replicas:
        message = f"{server.replicas} replicas, and nobody waits for them: a master that was cut "
        message += "off from them acknowledges invalidations that nobody else hears of"
        remedy = "set taskcache_wait_replicas = 1 if that matters"
        yield Finding(about, Level.ADVICE, message, remedy)
    elif server.replicas < wait_replicas:
        message = (
            f"{server.replicas} replicas, and invalidations wait for {wait_replicas}: they fail"
        )
        remedy = f"start replicas, or set taskcache_wait_replicas = {server.replicas}"
        yield Finding(about, Level.WRONG, message, remedy)


def _latency(health: Health, timeout: float) -> Finding:
    message = (
        f"{health.latency * 1e3:.2f}ms a round trip, {health.slowest * 1e3:.2f}ms the slowest; "
        f"the timeout is {timeout * 1e3:.0f}ms"
    )
    if health.latency > TOO_SLOW * timeout:
        remedy = "put the cache nearer, or raise taskcache_timeout: lookups give up as it is"
        return Finding("Latency", Level.WRONG, message, remedy)
    if health.latency > SLOW * timeout or health.slowest > TOO_SLOW * timeout:
        remedy = "look for slow commands (SLOWLOG), a busy machine, or a long way to Redis"
        return Finding("Latency", Level.ADVICE, message, remedy)
    return Finding("Latency", Level.OK, message)


def _clock(health: Health) -> Finding:
    message = f"Redis' is {abs(health.clock_offset):.1f}s "
    message += ("ahead of" if health.clock_offset > 0 else "behind") + " this machine's"
    if abs(health.clock_offset) > CLOCKS_APART:
        remedy = "synchronize the clocks (NTP): entries expire in time, but ages look wrong"
        return Finding("Clock", Level.ADVICE, message, remedy)
    return Finding("Clock", Level.OK, message)


def _log(log: LogHealth) -> Finding:
    if not log.incarnation:
        return Finding("Log", Level.OK, "none yet: it begins with the first lookup")
    size = "" if log.size is None else f" in {log.size / 1024:,.1f} KiB"
    message = f"{log.marks:,} marks{size}, {log.bans} patterns in force"
    if log.expires:
        remedy = "find out who sets it, and PERSIST the key: when it is gone, every entry misses"
        return Finding("Log", Level.WRONG, f"{message}; it has an expiry", remedy)
    if log.newest != log.sequence:
        remedy = "find out who deletes or writes our keys; the next invalidation mends it"
        message += f"; its stream ends at {log.newest:,}: memories can't follow it"
        return Finding("Log", Level.WRONG, message, remedy)
    if not log.is_bound:
        remedy = (
            "give the cache's user +info: without it, a failover that loses the end of the log "
        )
        remedy += "is noticed only by processes that had read it"
        return Finding("Log", Level.ADVICE, f"{message}; it doesn't know its server", remedy)
    if log.bans > MANY_BANS:
        remedy = "invalidate by tag: with more than 256 the oldest end everything older than them"
        return Finding("Log", Level.ADVICE, message, remedy)
    return Finding("Log", Level.OK, message)


def _broker(facts: Facts) -> Finding:
    if facts.broker_fault:
        remedy = "see to the broker: nothing was found out about workers"
        return Finding("Broker", Level.WRONG, f"can't be reached: {facts.broker_fault}", remedy)
    if not {server.run_id for server in facts.health.servers} & facts.broker_run_ids:
        return Finding("Broker", Level.OK, "not on the cache's Redis")
    return Finding(
        "Broker",
        Level.ADVICE,
        "on the cache's Redis: they share its memory, its eviction and its persistence, which "
        "messages need and a cache doesn't",
        "give the cache a Redis of its own (taskcache_url)",
    )


def _serializers(facts: StaticFacts) -> Iterator[Finding]:
    unsafe = {
        task: policy.serializer
        for task, policy in facts.policies.items()
        if policy.serializer not in SAFE_SERIALIZERS
    }
    missing = {
        name
        for policy in facts.policies.values()
        for name in (policy.serializer, policy.compression)
        if name and name not in facts.codecs
    }
    if missing:
        message = f"{', '.join(sorted(missing))} isn't there: results aren't stored"
        yield Finding("Serializer", Level.WRONG, message, "install what kombu needs for it")
    if unsafe and not facts.settings.secret:
        message = (
            f"{', '.join(sorted(unsafe))}: {', '.join(sorted(set(unsafe.values())))}, unsigned: "
        )
        remedy = "set taskcache_secret, or use json"
        message += "whoever can write to Redis can run code in workers"
        yield Finding("Serializer", Level.WRONG, message, remedy)
    elif facts.result_serializer != "json":
        message = (
            f"results are {facts.result_serializer}, entries JSON: what JSON would change isn't "
        )
        remedy = "name a cache_serializer for tasks that return tuples or integer keys"
        yield Finding("Serializer", Level.ADVICE, f"{message}stored", remedy)
    elif not missing:
        used = sorted({policy.serializer for policy in facts.policies.values()})
        yield Finding("Serializer", Level.OK, ", ".join(used) or "no task is cached")


def _workers(facts: Facts) -> Iterator[Finding]:
    if not facts.workers and not facts.broker_fault:
        remedy = "start one, or wait longer (--timeout)"
        yield Finding("Workers", Level.ADVICE, "none has answered", remedy)
    here = facts.settings.namespace
    for name, message in sorted(facts.workers.items()):
        about = f"Worker {name}"
        if message is None:
            remedy = "install this version of tta_taskcache there, and restart it"
            yield Finding(about, Level.WRONG, "doesn't know of a cache", remedy)
        elif differs := [n for n, value in facts.versions.items() if message.get(n) != value]:
            texts = (f"{n} {message.get(n)} (here {facts.versions[n]})" for n in differs)
            remedy = "install the same version everywhere: formats that differ share no entries"
            yield Finding(about, Level.WRONG, ", ".join(texts), remedy)
        elif (message["store"], message["settings"]["namespace"]) != (facts.store, here):
            text = f"uses {message['store']}, namespace {message['settings']['namespace']}"
            remedy = f"give it the same taskcache_url and namespace: here {facts.store}, {here}"
            yield Finding(about, Level.WRONG, text, remedy)
        elif message["circuit"] == "open":
            remedy = "look at its log for why, and at its way to Redis"
            yield Finding(about, Level.WRONG, "doesn't reach Redis: tasks run uncached", remedy)
        elif message["disabled"]:
            remedy = "celery -A proj control taskcache_enable"
            yield Finding(about, Level.ADVICE, "was told to leave the cache alone", remedy)
        else:
            yield Finding(about, Level.OK, f"version {message['version']}, {message['store']}")
