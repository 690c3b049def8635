"""docker-compose.yml names only what exists: files, modules, commands, options, pinned images."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import click
import flower.options  # noqa: F401 - defines the options below
import pytest
import yaml
from celery.bin.celery import celery
from tornado.options import options as tornado_options

ROOT = Path(__file__).parents[3]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())[
    "services"
]
PINNED = re.compile(r"^[\w./-]+:(?!latest$)[\w.-]*\d[\w.-]*$")


def words(command: str | list[str]) -> list[str]:
    """The words of a service's command or health check, as the container sees them."""
    if isinstance(command, str):
        return shlex.split(command.replace("$$", "$"))
    match command:
        case ["CMD-SHELL", line]:
            return words(line)
        case ["CMD", *rest]:
            return rest
    return command


COMMANDS = {
    f"{name}-{role}": words(command)
    for name, service in SERVICES.items()
    for role, command in (
        ("command", service.get("command")),
        ("healthcheck", service["healthcheck"]["test"]),
    )
    if command
}
CELERY = {name: command for name, command in COMMANDS.items() if command[0] == "celery"}
BUILDS = {name: service["build"] for name, service in SERVICES.items() if "build" in service}


def parse(command: click.Command, args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Options and remaining arguments; an option that the command doesn't have is an error."""
    parser = command.make_parser(click.Context(command, **command.context_settings))
    values, rest, _ = parser.parse_args(args)
    return dict(values), rest


def check_flower(args: list[str]) -> None:
    """Flower lets click pass everything and gives it to tornado."""
    for arg in args:
        name, _, value = arg.removeprefix("--").partition("=")
        assert name in tornado_options, f"flower has no option {arg}"
        assert value


def check_celery(args: list[str]) -> None:
    values, (name, *rest) = parse(celery, args)
    module = values["app"].partition(":")[0]
    assert importlib.util.find_spec(module), f"no module {module}"
    command = celery.commands[name]
    if name == "flower":
        check_flower(rest)
    else:
        parse(command, rest)


def dockerfile(service: str) -> Path:
    build = BUILDS[service]
    return ROOT / build["context"] / build["dockerfile"]


def lines(service: str, instruction: str) -> list[list[str]]:
    """The words after each such instruction of the service's Dockerfile, flags left out."""
    text = dockerfile(service).read_text().replace("\\\n", " ")
    found = (line.split() for line in text.splitlines() if line.startswith(f"{instruction} "))
    return [[word for word in line[1:] if not word.startswith("--")] for line in found]


def test_has_the_services_of_the_example() -> None:
    assert set(SERVICES) == {"redis", "worker", "beat", "flower", "prometheus", "grafana"}
    assert {name.split("-")[0] for name in CELERY} == {"worker", "beat", "flower"}


@pytest.mark.parametrize("name", CELERY)
def test_celery_commands_exist(name: str) -> None:
    check_celery(CELERY[name][1:])


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("-A no_such_module worker", AssertionError),
        ("-A examples.no_such_app worker", AssertionError),
        ("-A tests.support.app wroker", KeyError),
        ("-A tests.support.app worker --concurency=2", click.NoSuchOption),
        ("-A tests.support.app flower --prot=5555", AssertionError),
        ("--ap tests.support.app worker", click.NoSuchOption),
    ],
)
def test_wrong_commands_are_found_out(line: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_celery(shlex.split(line))


def test_other_commands_are_in_their_images() -> None:
    programs = {name: command[0] for name, command in COMMANDS.items() if name not in CELERY}
    assert programs == {
        "redis-command": "redis-server",
        "redis-healthcheck": "redis-cli",
        "beat-healthcheck": "kill",  # of the shell
        "flower-healthcheck": "python",
        "prometheus-healthcheck": "wget",  # of the image's busybox
        "grafana-healthcheck": "wget",  # likewise
    }


def test_beat_check_reads_the_pidfile_that_beat_writes() -> None:
    _, (_, *rest) = parse(celery, COMMANDS["beat-command"][1:])
    values, _ = parse(celery.commands["beat"], rest)
    assert f"$(cat {values['pidfile']})" in " ".join(COMMANDS["beat-healthcheck"])


@pytest.mark.parametrize("service", BUILDS)
def test_build_files_exist(service: str) -> None:
    assert dockerfile(service).is_file()
    for *sources, _ in lines(service, "COPY"):
        for source in sources:
            assert (ROOT / BUILDS[service]["context"] / source).exists(), source


@pytest.mark.parametrize("service", BUILDS)
def test_copied_files_are_not_ignored(service: str) -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    for *sources, _ in lines(service, "COPY"):
        assert {f"!{source}" for source in sources} <= set(kept)


@pytest.mark.parametrize("service", SERVICES)
def test_mounted_files_exist(service: str) -> None:
    for volume in SERVICES[service].get("volumes", []):
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).exists(), source


def test_images_are_pinned() -> None:
    pulled = [service["image"] for service in SERVICES.values() if "build" not in service]
    pulled += [words[0] for service in BUILDS for words in lines(service, "FROM")]
    assert pulled
    assert [image for image in pulled if not PINNED.match(image)] == []


def test_ports_are_local() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_waits_for_healthy_services() -> None:
    for service in SERVICES.values():
        for name, how in service.get("depends_on", {}).items():
            assert how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[name]


def test_urls_point_to_the_redis_service() -> None:
    for service in BUILDS:
        environment = SERVICES[service]["environment"]
        urls = [url for name, url in environment.items() if "METRICS" not in name]
        assert environment.keys() >= {"CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "TASKCACHE_URL"}
        assert len(set(urls)) == len(urls) == 3, "a database for each"
        assert all(url.startswith("redis://redis:6379/") for url in urls)


def test_prometheus_scrapes_the_port_that_the_worker_serves() -> None:
    config = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    (job,) = config["scrape_configs"]
    port = SERVICES["worker"]["environment"]["TASKCACHE_METRICS_PORT"]
    assert job["static_configs"] == [{"targets": [f"worker:{port}"]}]
