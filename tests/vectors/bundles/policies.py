"""Policies that a publisher signed and no host may put in force.

They would crash or confuse Cedar's parser, say one thing to a reviewer and another
to the host, or take the place of what is installed. All are compiled by the same
code as in force, together with the site's others.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from appliance.import_steps.host import Step
from appliance.policy.compile import MAX_POLICIES, MAX_SITE_FILES
from appliance.policy.source import MAX_DEPTH, MAX_STATEMENT_CHARACTERS
from tests.vectors.bundles.case import LIMIT, MALFORMED, Case, of_files, of_made
from tests.vectors.bundles.estate import Delivery, Files, bundle, policy

HEAD: Final = '@id("site")\n@reason("why")\n'
FORBID: Final = "forbid (principal, action, resource)"


def _nested(depth: int) -> str:
    return f"{FORBID} when {{ {'(' * depth}true{')' * depth} }};"


TEXTS: Final[dict[str, tuple[str, str, bytes | str]]] = {
    "that-is-none": (MALFORMED, "site", "this is no policy\n"),
    "that-is-not-utf-8": (MALFORMED, "site", b"// \xff\n"),
    "without-an-id": (
        MALFORMED,
        "site: policy number 1",
        f'@reason("why")\n{FORBID};',
    ),
    "without-a-reason": (MALFORMED, "site: site", f'@id("site")\n{FORBID};'),
    "with-an-id-of-the-core": (
        MALFORMED,
        "site: core-x",
        f'@id("core-x")\n@reason("why")\n{FORBID};',
    ),
    "with-an-id-that-climbs": (
        MALFORMED,
        "site: ../x",
        f'@id("../x")\n@reason("why")\n{FORBID};',
    ),
    "with-one-id-twice": (
        MALFORMED,
        "site: site",
        f"{HEAD}{FORBID};\n{HEAD}{FORBID};",
    ),
    "with-an-unknown-attribute": (
        MALFORMED,
        "site: site",
        f"{HEAD}{FORBID} when {{ context.nothing }};",
    ),
    "with-an-unknown-type": (
        MALFORMED,
        "site: site",
        f'{HEAD}{FORBID} when {{ principal == X::"a" }};',
    ),
    "that-compares-a-text-with-a-number": (
        MALFORMED,
        "site: site",
        f"{HEAD}{FORBID} when {{ context.data_classes == 1 }};",
    ),
    "that-is-a-template": (
        MALFORMED,
        "site",
        f"{HEAD}forbid (principal == ?principal, action, resource);",
    ),
    "with-an-open-string": (MALFORMED, "site", f'{HEAD}{FORBID} when {{ "a }};'),
    "with-a-zero-byte": (MALFORMED, "site", f"{HEAD}{FORBID};\0"),
    "with-an-escape": (MALFORMED, "site", f"{HEAD}// \x1b[8m hidden\n{FORBID};"),
    "that-reads-from-right-to-left": (
        MALFORMED,
        "site",
        f"{HEAD}// \u202e gnihton\n{FORBID};",
    ),
    "with-invisible-letters": (MALFORMED, "site", f"{HEAD}// \u200b\n{FORBID};"),
    "of-deep-brackets": (LIMIT, "site", HEAD + _nested(MAX_DEPTH)),
    "of-100000-brackets": (LIMIT, "site", HEAD + _nested(100_000)),
    "of-a-long-chain": (
        LIMIT,
        "site",
        f"{HEAD}{FORBID} when {{ true{' && true' * MAX_STATEMENT_CHARACTERS} }};",
    ),
}
"""What a policy file can hold: code, place, and content."""

SMALL_BYTES: Final = 2_000
"""What is longer is not committed."""


def cases() -> Iterator[Case]:
    """Yield the cases of this class."""
    for name, (code, where, said) in TEXTS.items():
        data = said if isinstance(said, bytes) else said.encode()
        yield _of(
            f"policy-{name}",
            code,
            where,
            partial(bundle, _policy(data)),
            small=len(data) < SMALL_BYTES,
        )
    yield _of(f"policies-of-{MAX_SITE_FILES + 1}-files", LIMIT, "", _many_files)
    yield _of(f"policies-of-{MAX_POLICIES}-rules", LIMIT, "", _many_rules)


def _of(
    name: str,
    code: str,
    where: str,
    files: Callable[[], Files],
    *,
    small: bool = False,
) -> Case:
    step = Step.CHECK_POLICIES
    if small:
        return of_files(name, code, where, files, step=step)
    return of_made(name, code, where, files, step=step)


def _policy(data: bytes) -> Delivery:
    return Delivery(kind="policy", name="site", path="policies/site.cedar", data=data)


def _many_files() -> Files:
    count = MAX_SITE_FILES + 1
    return bundle(*(policy(f"p{n}", says="why") for n in range(count)))


def _many_rules() -> Files:
    rules = (f'@id("p{n}")\n@reason("why")\n{FORBID};\n' for n in range(MAX_POLICIES))
    return bundle(_policy("".join(rules).encode()))
