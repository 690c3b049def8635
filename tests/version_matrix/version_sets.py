"""The versions that are promised, and the pins of well-known projects."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VersionSet:
    """Versions that go together.

    Attributes:
        celery: Version of Celery.
        kombu: Version of kombu.
        redis: Version of redis-py.
        python: Version of Python.
    """

    celery: str
    kombu: str
    redis: str
    python: str = "3.11"

    @property
    def name(self) -> str:
        base = f"{self.celery}-{self.kombu}-{self.redis}"
        return base if self.python == "3.11" else f"{base}-py{self.python}"

    @property
    def requirements(self) -> list[str]:
        return [f"celery=={self.celery}", f"kombu=={self.kombu}", f"redis=={self.redis}"]


#: What pip would resolve beside a pin of Celery doesn't always work: kombu 5.7 with Celery 5.4.
SETS = (
    VersionSet("5.4.0", "5.4.2", "4.6.0"),
    VersionSet("5.5.3", "5.5.4", "5.2.1"),
    VersionSet("5.6.3", "5.6.2", "6.4.0"),
    VersionSet("5.7.0", "5.7.0", "8.1.0"),
)

#: Other Pythons, with the units only.
PYTHONS = (
    VersionSet("5.4.0", "5.4.2", "4.6.0", "3.12"),
    VersionSet("5.7.0", "5.7.0", "8.1.0", "3.13"),
)

#: Those that a continuous integration has time for.
IN_CI = (SETS[0], SETS[2])


@dataclass(frozen=True)
class Pins:
    """What a project that runs Celery pins.

    Attributes:
        name: The project.
        requirements: Its pins, and what else has to be said for them to work.
    """

    name: str
    requirements: tuple[str, ...]


PROJECTS = (
    Pins("PostHog", ("celery==5.6.3", "redis==5.3.1")),
    Pins("Dify", ("celery==5.6.2",)),
    Pins("paperless-ngx", ("celery==5.5.1", "redis==5.2.1")),
    Pins("Baserow", ("celery==5.4.0", "celery-singleton", "kombu==5.4.2")),
    Pins("Superset", ("celery==5.3.6", "redis==4.6.0", "kombu==5.3.7")),
    Pins("Superset, Celery 5.4", ("celery==5.4.0", "redis==4.6.0", "kombu==5.4.2")),
)
