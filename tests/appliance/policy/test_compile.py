from dataclasses import replace

import pytest

from appliance.core_policies import core_files
from appliance.policy.compile import (
    MAX_POLICIES,
    MAX_SITE_FILES,
    REQUIRED_CORE,
    CoreFiles,
    check_policies,
    compile_policies,
)
from appliance.policy.source import (
    MAX_DEPTH,
    MAX_FILE_BYTES,
    MAX_STATEMENT_CHARACTERS,
)
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    RefusalError,
)

CORE = core_files()
NOTES = '@id("quiet") @reason("none") '
GOOD = NOTES + "forbid (principal, action, resource) when { context.class_level > 9 };"


def refusal(text: str | bytes) -> RefusalError:
    data = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(RefusalError) as caught:
        check_policies(CORE, (("site.cedar", data),))
    return caught.value


def condition(text: str) -> str:
    return f"{NOTES}forbid (principal, action, resource) when {{ {text} }};"


def test_site_policies_join_the_core_set() -> None:
    policy_set = compile_policies(CORE, site=(("site.cedar", GOOD.encode()),))
    by_id = {rule.policy_id: rule for rule in policy_set.rules}
    assert by_id.keys() == {*REQUIRED_CORE, "quiet"}
    quiet = by_id["quiet"]
    assert (quiet.effect, quiet.reason, quiet.control) == ("forbid", "none", "")
    assert quiet.where == "site.cedar: quiet"


def test_policies_are_known_by_id_whatever_their_position() -> None:
    one = '@id("aa") @reason("x") permit (principal, action, resource);'
    two = '@id("bb") @reason("y") forbid (principal, action, resource);'
    sets = [
        compile_policies(CORE, site=(("site.cedar", text.encode()),))
        for text in (one + two, two + one)
    ]
    assert [r.policy_id for r in sets[0].rules] == [r.policy_id for r in sets[1].rules]
    assert sets[0].reason("bb") == sets[1].reason("bb") == "y"


def test_digest_changes_with_any_byte_of_any_file() -> None:
    base = compile_policies(CORE).sha256
    assert base == compile_policies(CORE).sha256
    name, data = CORE.policies[0]
    others = (
        compile_policies(replace(CORE, schema=CORE.schema + b"\n")),
        compile_policies(replace(CORE, classes=CORE.classes + b"\n")),
        compile_policies(
            replace(CORE, policies=((name, data + b"\n"), *CORE.policies[1:]))
        ),
        compile_policies(CORE, site=(("a.cedar", GOOD.encode()),)),
        compile_policies(CORE, site=(("b.cedar", GOOD.encode()),)),
    )
    assert len({base, *(other.sha256 for other in others)}) == 6


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("forbid (principal, action, resource) when {", "site.cedar"),
        ("", "site.cedar"),
        ("// nothing but a comment", "site.cedar"),
        (b"\xff", "site.cedar"),
        (GOOD + "\u202e", "site.cedar"),
        (GOOD + "\x00", "site.cedar"),
        ("// a comment\r" + GOOD, "site.cedar"),
        (condition('context.class_level == "'), "site.cedar"),
        (condition('resource.licence == "\\'), "site.cedar"),
        (condition("context.clas_level > 1"), "site.cedar: quiet"),
        (condition('context.class_level < "3"'), "site.cedar: quiet"),
        (condition('principal in Squad::"x"'), "site.cedar: quiet"),
        (GOOD + GOOD, "site.cedar: quiet"),
        (GOOD.replace("quiet", "core-permit-chat"), "site.cedar: core-permit-chat"),
        (GOOD.replace("quiet", "core-quiet"), "site.cedar: core-quiet"),
        (GOOD.replace("quiet", "Quiet"), "site.cedar: Quiet"),
        (GOOD.replace("quiet", ""), "site.cedar: "),
        (GOOD.replace("quiet", "q" * 65), "site.cedar: " + "q" * 64),
        (GOOD.replace("none", ""), "site.cedar: quiet"),
        (GOOD.replace("none", "n" * 201), "site.cedar: quiet"),
        (GOOD.replace("none", "one\\nline"), "site.cedar: quiet"),
        (GOOD.replace('@reason("none")', ""), "site.cedar: quiet"),
        (GOOD.replace('@id("quiet")', ""), "site.cedar: policy number 1"),
        (GOOD + '@control("") @id("b") ' + GOOD[13:], "site.cedar: b"),
        (GOOD.replace('@id("quiet")', '@id("a") @id("b")'), "site.cedar"),
        (NOTES + "forbid (principal == ?principal, action, resource);", "site.cedar"),
    ],
)
def test_site_file_with_a_fault_is_refused_where_it_is(
    text: str | bytes, where: str
) -> None:
    error = refusal(text)
    assert type(error) is MalformedError
    assert error.where == where


def test_the_same_id_in_two_files_is_refused_naming_both() -> None:
    files = (("a.cedar", GOOD.encode()), ("b.cedar", GOOD.encode()))
    with pytest.raises(MalformedError) as caught:
        check_policies(CORE, files)
    assert caught.value.where == "b.cedar: quiet"
    assert caught.value.actual == "a.cedar: quiet"


def test_two_files_of_one_name_are_refused() -> None:
    with pytest.raises(MalformedError):
        check_policies(CORE, (("a.cedar", GOOD.encode()),) * 2)


@pytest.mark.parametrize(
    "text",
    [
        condition("(" * MAX_DEPTH + "true" + ")" * MAX_DEPTH),
        condition("!(" * 1_000 + "true" + ")" * 1_000),
        condition("[" * 50_000),
        "}" * 1_000 + condition("(" * 1_000),
        condition("true" + " && true" * 20_000),
        condition("context" + ".a" * 20_000),
        "//" + "x" * MAX_STATEMENT_CHARACTERS + "\n" + GOOD,
        GOOD + " " * MAX_FILE_BYTES,
    ],
)
def test_what_would_exhaust_the_parser_is_refused_before_it(text: str) -> None:
    error = refusal(text)
    assert type(error) is LimitExceededError
    assert error.where == "site.cedar"


@pytest.mark.parametrize("link", [" && true", "||true", '["a"]', ".a", "+1", "!="])
def test_longest_chain_within_the_limit_is_refused_without_a_crash(link: str) -> None:
    room = MAX_STATEMENT_CHARACTERS - len(condition("1"))
    error = refusal(condition("1" + link * (room // len(link))))
    assert type(error) is MalformedError


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    text = f"// {'(' * 99}\n" + condition(f'resource.licence == "\\"{"{" * 99};"')
    check_policies(CORE, (("site.cedar", text.encode()),))


def test_line_ends_of_windows_are_accepted() -> None:
    text = "// a comment\r\n" + GOOD + "\r\n"
    check_policies(CORE, (("site.cedar", text.encode()),))


def test_too_many_files_or_policies_are_refused() -> None:
    files = tuple((f"{n}.cedar", b"") for n in range(MAX_SITE_FILES + 1))
    with pytest.raises(LimitExceededError):
        check_policies(CORE, files)
    many = "".join(
        f'@id("p{n}") @reason("x") permit(principal,action,resource);'
        for n in range(MAX_POLICIES)
    )
    with pytest.raises(LimitExceededError):
        check_policies(CORE, (("site.cedar", many.encode()),))


@pytest.mark.parametrize("lost", range(len(CORE.policies)))
def test_installation_without_one_core_file_decides_nothing(lost: int) -> None:
    rest = CORE.policies[:lost] + CORE.policies[lost + 1 :]
    with pytest.raises(InternalFaultError):
        compile_policies(replace(CORE, policies=rest))


@pytest.mark.parametrize(
    "core",
    [
        replace(CORE, schema=b"entity"),
        replace(CORE, schema=b"\xff"),
        replace(CORE, classes=b"[classes]"),
        replace(CORE, policies=(*CORE.policies, ("x.cedar", GOOD.encode()))),
        replace(CORE, policies=(*CORE.policies, ("x.cedar", b"permit"))),
        replace(
            CORE,
            policies=(
                *CORE.policies,
                ("x.cedar", GOOD.replace("quiet", "core-no-permit").encode()),
            ),
        ),
    ],
)
def test_damaged_core_set_is_a_fault_of_the_host(core: CoreFiles) -> None:
    with pytest.raises(InternalFaultError) as caught:
        compile_policies(core)
    assert caught.value.where == "policies"
