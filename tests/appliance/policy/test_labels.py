import string

from hypothesis import given
from hypothesis import strategies as st

from appliance.policy.classes import TOKEN, Classes, DataClass
from appliance.policy.facts import Labels
from appliance.policy.labels import UNKNOWN_REGION, effective_labels

CLASSES = Classes(
    rows=tuple(
        DataClass(name=name, level=level)
        for name, level in (
            ("public", 0),
            ("internal", 1),
            ("pii", 2),
            ("pci", 3),
            ("phi", 3),
            ("secret", 4),
        )
    )
)
NAMES = [row.name for row in CLASSES.rows]
HEADERS = st.lists(
    st.one_of(
        st.sampled_from([*NAMES, "IN-BLR", "eu-fra", "PHI", " pii ", "*", ""]),
        st.text(string.ascii_letters + string.digits + "-, *\t", max_size=40),
        st.text(max_size=40),
    ),
    max_size=10,
).map(tuple)


def classes_of(*headers: str, default: str = "internal") -> Labels:
    return effective_labels(CLASSES, default_class=default, class_headers=headers)


@given(
    default=st.sampled_from([*NAMES, "cosmic"]),
    class_headers=HEADERS,
    region_headers=HEADERS,
)
def test_labels_are_never_less_restrictive_than_the_default(
    default: str, class_headers: tuple[str, ...], region_headers: tuple[str, ...]
) -> None:
    without = effective_labels(CLASSES, default_class=default)
    labels = effective_labels(
        CLASSES,
        default_class=default,
        class_headers=class_headers,
        region_headers=region_headers,
    )
    assert set(without.data_classes) <= set(labels.data_classes)
    assert set(without.regions) <= set(labels.regions)
    level = CLASSES.label(labels.data_class).level
    assert level >= CLASSES.label(default).level
    assert level == max(CLASSES.label(name).level for name in labels.data_classes)


@given(first=HEADERS, second=HEADERS)
def test_one_more_header_never_takes_a_label_away(
    first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    def level(headers: tuple[str, ...]) -> int:
        return CLASSES.label(classes_of(*headers).data_class).level

    assert level(first + second) >= max(level(first), level(second))


@given(headers=HEADERS)
def test_nothing_but_known_classes_and_tokens_is_repeated(
    headers: tuple[str, ...],
) -> None:
    labels = effective_labels(
        CLASSES,
        default_class="internal",
        class_headers=headers,
        region_headers=headers,
    )
    assert set(labels.data_classes) <= set(NAMES)
    for region in labels.regions:
        assert region == UNKNOWN_REGION or TOKEN.fullmatch(region)


def test_without_headers_the_default_applies() -> None:
    assert classes_of() == Labels(
        data_class="internal",
        class_source="team",
        data_classes=("internal",),
        regions=(),
    )


def test_a_class_is_the_teams_unless_a_header_is_more_restrictive() -> None:
    for headers, source in (
        ((), "team"),
        (("public",), "team"),
        (("internal",), "team"),
        (("pii",), "header"),
        (("public", "pii"), "header"),
        (("cosmic",), "header"),
    ):
        assert classes_of(*headers).class_source == source, headers
    # Of two classes of one level it is the team's own that records show.
    assert classes_of("pci", default="phi").class_source == "team"


def test_more_restrictive_header_applies_beside_the_default() -> None:
    assert classes_of("phi").data_class == "phi"
    assert classes_of("phi").data_classes == ("internal", "phi")


def test_less_restrictive_header_is_ignored() -> None:
    assert classes_of("public", default="phi") == classes_of(default="phi")


def test_class_of_the_same_level_does_not_replace_the_default() -> None:
    labels = classes_of("pci", default="phi")
    assert labels.data_class == "phi"
    assert labels.data_classes == ("pci", "phi")


def test_unknown_default_counts_as_the_most_restrictive() -> None:
    assert classes_of("public", default="cosmic").data_class == "secret"


def test_unknown_malformed_and_too_many_headers_count_as_the_most_restrictive() -> None:
    for headers in (
        ("cosmic",),
        ("",),
        ("pii,phi",),
        ("p\u00efi",),
        ("\u212a",),
        ("x" * 33,),
        ("pii",) * 9,
    ):
        assert classes_of(*headers).data_class == "secret", headers


def test_region_headers_are_all_kept_once_and_folded() -> None:
    labels = effective_labels(
        CLASSES,
        default_class="internal",
        region_headers=("IN-blr", "in-blr", "eu-fra", "<script>"),
    )
    assert labels.regions == (UNKNOWN_REGION, "eu-fra", "in-blr")


def test_too_many_region_headers_are_an_unknown_region() -> None:
    labels = effective_labels(
        CLASSES, default_class="internal", region_headers=("in-blr",) * 9
    )
    assert labels.regions == (UNKNOWN_REGION,)
