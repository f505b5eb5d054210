"""What an answer of the demo model claims, and whether the program agrees.

Every span in backticks must be something of the program: a command, an option, a
route, a header, a code, an event, a policy, a setting, a file, or a word that one of
these takes. Every number outside of them is compared with what its fact names:
``N: 16 = module:Class.field``, or ``N: RFC 6962 in file``.
"""

import ast
import datetime as dt
import importlib
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, get_args

import typer
from starlette.routing import Route

import appliance.errors  # noqa: F401 - both define leaves of the tree
import bundler.errors  # noqa: F401
from appliance.api.app import build_app
from appliance.api.schemas import ChatCompletionRequest
from appliance.audit_formats.derive import Format
from appliance.cli import make_app
from appliance.ledger.records.catalogue import Event
from appliance.metrics.names import PREFIX
from appliance.settings import (
    DEFAULT_HOME,
    HOME_VARIABLE,
    Capture,
    ImportSettings,
    Settings,
)
from bundleformat.errors import Error
from bundleformat.profile import Profile
from bundler.cli import app as publisher_commands
from bundler.contents.spec import BundleSpec, ModelSpec
from bundler.demo.model.facts import Fact
from bundler.media.volume_plan import CAPACITIES

ROOT = Path(__file__).resolve().parents[2]
UNITS = {"": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
SPAN = re.compile(r"`([^`]+)`")
NUMBER = re.compile(r"[\w#.,-]*\d[\w.,-]*")
IN_WORDS = re.compile(
    r"\b(three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|hundred)\b",
    re.IGNORECASE,
)
"""Numbers that a comparison would not find; answers write digits."""

PROGRAMS: dict[str, Any] = {
    "sallyport": typer.main.get_command(make_app()),
    "sallyport-bundler": typer.main.get_command(publisher_commands),
}
SCRIPTS = {
    "verify.py": "appliance/ledger/exports/verifier.py",
    "install.py": "bundler/installer/install.py",
}
"""Programs that travel by themselves, and where their code is."""


def untrue_spans(fact: Fact) -> list[str]:
    """Return the spans of an answer that are nothing of the program."""
    return [span for span in SPAN.findall(fact.answer) if not is_something(span)]


def is_something(span: str) -> bool:
    """Whether a span is what one of the kinds below knows."""
    return any(knows(span) for knows in KINDS)


def untrue_numbers(fact: Fact) -> list[str]:
    """Return what is wrong with the numbers of an answer; nothing if all hold."""
    text = SPAN.sub("", fact.answer)
    wrong = [f"{word} is not in digits" for word in IN_WORDS.findall(text)]
    for line in fact.numbers:
        said, where, place = re.fullmatch(r"(.+?) (=|in) (.+)", line).groups()  # type: ignore[union-attr]
        if said not in text:
            wrong.append(f"{said} is not said")
        elif where == "=" and quantity(said) != number_at(place):
            wrong.append(f"{said} is {number_at(place)} by {place}")
        elif where == "in" and not stands_in(said, place):
            wrong.append(f"{said} is not in {place}")
        text = text.replace(said, "", 1)
    return wrong + [f"{left} is compared with nothing" for left in NUMBER.findall(text)]


def stands_in(said: str, place: str) -> bool:
    """Whether a file has these very characters, and no letter or digit beside them."""
    found = rf"(?<!\w){re.escape(said)}(?!\w)"
    return re.search(found, source_of(place)) is not None


def quantity(said: str) -> float:
    """Return a number as a person writes it, with its unit."""
    digits, _, unit = said.replace(",", "").partition(" ")
    return float(digits) * UNITS[unit]


def number_at(place: str) -> float:
    """Return the number that the code has under a name; settings by their defaults."""
    module, _, name = place.partition(":")
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        if isinstance(value, type) and not issubclass(value, Exception):
            value = value()
        value = getattr(value, part)
    return float(value.days if isinstance(value, dt.timedelta) else value)


def is_command(span: str) -> bool:
    """Whether it names a program or a command, with options and operands it takes."""
    program, *words = span.split()
    command = PROGRAMS.get(program)
    if command is None or not words:
        return command is not None
    while words and hasattr(command, "commands"):
        command = command.commands.get(words.pop(0))
    if command is None or hasattr(command, "commands"):
        return False
    return takes(command, words)


def takes(command: Any, words: list[str]) -> bool:
    """Whether a command has these options, and room for these operands."""
    options = {name: each for each in command.params for name in each.opts}
    room: int = sum(each.param_type_name == "argument" for each in command.params)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            room -= 1
        elif word not in options:
            return False
        elif words and not options[word].is_flag:
            words.pop(0)
    return room >= 0


def is_option(span: str) -> bool:
    """Whether some command has this option, and the option takes this value."""
    name, _, value = span.partition(" ")
    return any(
        not value or value.isupper() or value in choices_of(each)
        for each in options_called(name)
    )


def choices_of(option: Any) -> tuple[str, ...]:
    """Return the words that an option takes, if they are counted."""
    described = getattr(option, "type_descriptor", None)
    return get_args(getattr(described, "annotation", None))


def options_called(name: str) -> Iterator[Any]:
    """Yield the options of that name, of all commands of both programs."""

    def below(command: Any) -> Iterator[Any]:
        yield from command.get_params(typer.Context(command))
        for inner in getattr(command, "commands", {}).values():
            yield from below(inner)

    for program in PROGRAMS.values():
        yield from (each for each in below(program) if name in each.opts)


def is_other_program(span: str) -> bool:
    """Whether it is a target of the Makefile, or a script with options it knows."""
    program, *rest = span.split()
    if program == "make":
        return f"\n{' '.join(rest)}:" in source_of("Makefile")
    scripts = [SCRIPTS[word] for word in rest if word in SCRIPTS]
    options = [word for word in rest if word.startswith("--")]
    return program in {"python", "python3"} and any(
        all(option in source_of(script) for option in options) for script in scripts
    )


def is_setting(span: str) -> bool:
    """Whether it is a setting, written ``[section] name``."""
    found = re.fullmatch(r"\[(\w+)\] (\w+)", span)
    sections = {
        field.alias or name: type(field.default)
        for name, field in Settings.model_fields.items()
    }
    return found is not None and (
        found[2] in getattr(sections.get(found[1]), "model_fields", {})
    )


def is_route(span: str) -> bool:
    """Whether the application serves it, or it is the base of what is served."""
    base = re.fullmatch(r"http://HOST:(\d+)(/\w+)", span)
    if base is not None:
        port = Settings().server.port
        return int(base[1]) == port and any(r.startswith(base[2]) for r in routes())
    return span in routes()


@cache
def routes() -> frozenset[str]:
    """Return the paths of the application that serves the API."""

    class Scraped:
        scrape = None

    nothing: Any = None
    front: Any = build_app(
        flow=nothing,
        host=nothing,
        settings=Settings(),
        clock=nothing,
        not_ready=nothing,
        impaired=nothing,
        ledger=nothing,
        metrics=Scraped,  # type: ignore[arg-type]
    )
    return frozenset(
        route.path for route in front._app.routes if isinstance(route, Route)
    )


def is_code(span: str) -> bool:
    """Whether it is a code of the error tree, as a command or as the API spells it."""
    return span.replace("_", "-") in codes()


def codes(kind: type[Error] = Error) -> set[str]:
    """Return the codes of a class of errors and of all below it."""
    return {kind.code}.union(*(codes(child) for child in kind.__subclasses__()))


def is_policy(span: str) -> bool:
    """Whether it is the id of a policy of the product, or an annotation of them."""
    texts = (path.read_text("utf-8") for path in (ROOT / "policies/core").iterdir())
    text = "".join(texts)
    return f'@id("{span}")' in text or (span[:1] == "@" and f"{span}(" in text)


def is_string(span: str) -> bool:
    """Whether the code has it: a header in small letters, a name, parts of a path."""
    name = span.lower() if re.fullmatch(r"[A-Z]\w*(-[A-Z]\w*)+", span) else span
    shaped = re.fullmatch(r"\.[a-z]+|[a-z]+([-._/][a-z]+)+|\w+", name)
    return shaped is not None and (name in strings() or parts_are_there(name))


def parts_are_there(path: str) -> bool:
    """Whether each part of a path is a string of the code."""
    return "/" in path and strings().issuperset(path.split("/"))


@cache
def strings() -> frozenset[str]:
    """Return every string in the code of the programs, but for sentences."""
    return frozenset(
        node.value
        for top in ("appliance", "bundler", "bundleformat")
        for path in (ROOT / top).rglob("*.py")
        if "demo" not in path.parts
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and " " not in node.value
    )


@cache
def source_of(path: str) -> str:
    """Return a file of the repository."""
    return (ROOT / path).read_text("utf-8")


@cache
def words() -> frozenset[str]:
    """Return the words that settings, options, specs, requests and labels take."""
    project = tomllib.loads(source_of("pyproject.toml"))["project"]
    classes = tomllib.loads(source_of("policies/classes.toml"))["classes"]
    expiry = get_args(ImportSettings.model_fields["expiry"].annotation)
    spec = {field.name for kind in (BundleSpec, ModelSpec) for field in fields(kind)}
    needed = [re.split("[<>=]", text)[0] for text in each_requirement(project)]
    vocabularies = (
        *(get_args(Profile), get_args(Capture), expiry, classes, CAPACITIES, spec),
        *(Format, Event, ChatCompletionRequest.model_fields),
        *(project["optional-dependencies"], (PREFIX, HOME_VARIABLE, str(DEFAULT_HOME))),
        (*needed, *(f"[[{name}]]" for name in spec)),
    )
    return frozenset(word for each in vocabularies for word in each)


def each_requirement(project: dict[str, Any]) -> Iterator[str]:
    """Yield what the project needs, with and without its extras."""
    yield from project["dependencies"]
    for extra in project["optional-dependencies"].values():
        yield from extra


KINDS: tuple[Callable[[str], bool], ...] = (
    *(is_command, is_option, is_other_program, is_setting, is_route, is_code),
    *(is_policy, is_string),
    lambda span: span in words(),
)
