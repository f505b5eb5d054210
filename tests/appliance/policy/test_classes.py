import pytest

from appliance.policy.classes import MAX_CLASSES, parse_classes
from appliance.resources import folder
from bundleformat.errors import LimitExceededError, MalformedError


def test_installed_table_has_the_documented_order() -> None:
    classes = parse_classes((folder("policies") / "classes.toml").read_bytes())
    assert [(row.name, row.level) for row in classes.rows] == [
        ("public", 0),
        ("internal", 1),
        ("pii", 2),
        ("pci", 3),
        ("phi", 3),
        ("secret", 4),
    ]
    assert classes.most_restrictive.name == "secret"


def test_unknown_name_is_the_highest_label_and_no_clearance() -> None:
    classes = parse_classes(b"[classes]\nlow = 0\nhigh = 7\n")
    assert classes.label("cosmic").name == "high"
    assert classes.clearance_level("cosmic") < classes.label("low").level
    assert classes.clearance_level("high") == 7


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (b"\xff", "classes.toml"),
        (b"[classes", "classes.toml"),
        (b"", "classes.toml: classes"),
        (b"classes = 3", "classes.toml: classes"),
        (b"[classes]", "classes.toml: classes"),
        (b"[classes]\nUpper = 1", "classes.toml: classes"),
        (b"[classes]\nlow = true", "classes.toml: classes.low"),
        (b"[classes]\nlow = 1.0", "classes.toml: classes.low"),
        (b"[classes]\nlow = -1", "classes.toml: classes.low"),
        (b"[classes]\nlow = 1001", "classes.toml: classes.low"),
    ],
)
def test_table_with_a_fault_is_refused_where_it_is(text: bytes, where: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_classes(text)
    assert caught.value.where == where


def test_too_many_classes_are_refused() -> None:
    text = "[classes]\n" + "\n".join(f"c{n} = {n}" for n in range(MAX_CLASSES + 1))
    with pytest.raises(LimitExceededError):
        parse_classes(text.encode())
