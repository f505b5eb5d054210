"""The page a person carries: what it says, that it is one page, that it is inert."""

import datetime as dt
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bundleformat.digest import sha256_of
from bundleformat.limits import DEFAULT_LIMITS
from bundleformat.trust import grouped
from bundleformat.verify import VerifiedBundle, verify_metadata
from bundleformat.volume import Volume
from bundler.cli import main
from bundler.cli.runtime import Runtime
from bundler.installer import installer_bytes
from bundler.sheet.html import sheet_html
from bundler.sheet.text import WIDTH, sheet_text
from bundler.sheet.transfer_sheet import MAX_ROWS, Sheet, SheetVolume, make_sheet
from tests.support.publish_wheels import (
    Delivery,
    environment_of,
    publish_artifacts,
    quick_pip,
    sallyport_stub,
)
from tests.support.publisher import NOW, TERMS, Published

MOST_LINES = 66
"""Lines of a page of A4 on any printer."""


def installer() -> Delivery:
    return Delivery(
        kind="installer",
        name="install.py",
        path="installer/install.py",
        data=installer_bytes(),
    )


def models(count: int, *, licence: str = "Apache-2.0") -> list[Delivery]:
    return [
        Delivery(
            kind="model",
            name=f"model-{number}",
            path=f"models/model-{number}.gguf",
            data=f"model {number}".encode(),
            model=replace(TERMS, licence=licence),
        )
        for number in range(count)
    ]


@pytest.fixture
def published(tmp_path: Path) -> Published:
    wheels = (quick_pip(tmp_path / "w"), sallyport_stub(tmp_path / "w"))
    deliveries = environment_of("host", wheels, role="appliance")
    return publish_artifacts(
        tmp_path / "bundle", [*models(2), *deliveries, installer()]
    )


def verified(bundle: Published, scratch: Path) -> VerifiedBundle:
    scratch.mkdir(exist_ok=True)
    with Volume(bundle.folder) as volume:
        return verify_metadata(
            volume,
            state=bundle.state(),
            floor=None,
            now=NOW,
            scratch=scratch,
            limits=DEFAULT_LIMITS,
        )


@pytest.fixture
def bundle(published: Published, tmp_path: Path) -> VerifiedBundle:
    return verified(published, tmp_path / "scratch")


class Inert(HTMLParser):
    """Collects the text of a page, and whatever could act or load."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.text += "\n" if tag == "br" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


def read(html: str) -> Inert:
    parser = Inert()
    parser.feed(html)
    parser.close()
    return parser


def test_both_forms_hold_what_trust_begins_with(
    bundle: VerifiedBundle, published: Published
) -> None:
    digests = (
        sha256_of(installer_bytes()),
        sha256_of((published.folder / "targets/manifest.json").read_bytes()),
        published.fingerprint,
    )
    sheet = make_sheet(bundle)
    text = " ".join(sheet_text(sheet).split())
    page = " ".join(read(sheet_html(sheet)).text.split())
    for digest in digests:
        assert grouped(digest) in text
        assert grouped(digest) in page
    for key_id in bundle.signed_by:
        assert key_id[:48] in text
        assert key_id in page
    for said in (text, page):
        assert "channel main, version 1" in said
        assert "2026-11-22T12:00:00Z" in said
        assert "2027-11-22T12:00:00Z" in said
        assert "model-0" in said
        assert "2 wheels" in said


def test_the_page_can_neither_act_nor_load(bundle: VerifiedBundle) -> None:
    page = read(sheet_html(make_sheet(bundle)))
    assert not page.tags & {"script", "link", "img", "iframe", "form", "a", "object"}
    assert not {name for name in page.attributes if name.startswith("on")}
    assert not page.attributes & {"src", "href", "style"}
    assert "url(" not in sheet_html(make_sheet(bundle))
    assert "@import" not in sheet_html(make_sheet(bundle))


def test_what_a_bundle_says_stays_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    bundle = publish_artifacts(tmp_path / "bundle", models(1, licence=evil))
    sheet = make_sheet(
        verified(bundle, tmp_path / "scratch"),
        volumes=[SheetVolume(number=1, label="\x1b[31m<b>\u202e", chunks=1)],
    )
    html = sheet_html(sheet)
    assert "<script" not in html
    assert "<b>" not in html
    assert evil in read(html).text
    for form in (html, sheet_text(sheet)):
        assert not [char for char in form if char != "\n" and not char.isprintable()]


def test_a_large_bundle_still_takes_one_page(tmp_path: Path) -> None:
    bundle = publish_artifacts(tmp_path / "bundle", [*models(40), installer()])
    volumes = [
        SheetVolume(number=number, label=f"main-1-{number}", chunks=9)
        for number in range(1, 31)
    ]
    sheet = make_sheet(verified(bundle, tmp_path / "scratch"), volumes=volumes, of=30)
    listed = len(sheet.contents) + len(sheet.volumes) + len(sheet.signers)
    assert listed == MAX_ROWS
    assert sheet.more
    lines = sheet_text(sheet).splitlines()
    assert len(lines) <= MOST_LINES
    assert max(map(len, lines)) <= WIDTH


def test_volumes_that_were_not_seen_are_said_to_be_missing(
    bundle: VerifiedBundle,
) -> None:
    seen = SheetVolume(number=2, label="second", chunks=4)
    sheet = make_sheet(bundle, volumes=[seen], of=3)
    assert [volume.partition(":")[0] for volume in sheet.volumes] == [
        "1 of 3",
        "2 of 3",
        "3 of 3",
    ]
    assert "second" in sheet.volumes[1]


def test_the_same_bundle_gives_the_same_page(
    bundle: VerifiedBundle, published: Published, tmp_path: Path
) -> None:
    again = verified(published, tmp_path / "again")
    assert make_sheet(bundle) == make_sheet(again)
    assert sheet_html(make_sheet(bundle)) == sheet_html(make_sheet(again))


def test_a_bundle_without_an_installer_names_other_commands(tmp_path: Path) -> None:
    bundle = publish_artifacts(tmp_path / "bundle", models(1))
    sheet = make_sheet(verified(bundle, tmp_path / "scratch"))
    assert "install.py" not in sheet_text(sheet)
    assert [name for name, _, _ in sheet.compared] == ["manifest", "root"]
    assert len(sheet.commands) == 3


def test_there_is_room_for_two_persons(bundle: VerifiedBundle) -> None:
    sheet = make_sheet(bundle)
    assert sheet_text(sheet).count("signature") == 2
    assert read(sheet_html(sheet)).text.count("signature") == 2
    assert len(sheet.commands) == 3


def test_the_command_writes_both_forms_and_never_over_others(
    published: Published, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "1.root.json"
    root.write_bytes(published.root)
    arguments = ["sheet", str(published.folder), "--root", str(root)]
    arguments += ["--out", str(tmp_path / "out")]
    runtime = Runtime(now=NOW, ask=lambda _: "")
    assert main(arguments, runtime=runtime) == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["transfer-sheet-main-1.html", "transfer-sheet-main-1.txt"]
    assert re.search(r"transfer-sheet-main-1\.txt", capsys.readouterr().out)
    assert main(arguments, runtime=runtime) == 3


def test_an_expired_bundle_gets_no_page(published: Published, tmp_path: Path) -> None:
    root = tmp_path / "1.root.json"
    root.write_bytes(published.root)
    runtime = Runtime(now=NOW + dt.timedelta(days=400), ask=lambda _: "")
    arguments = ["sheet", str(published.folder), "--root", str(root)]
    arguments += ["--out", str(tmp_path / "out")]
    assert main(arguments, runtime=runtime) == 3
    assert not (tmp_path / "out").exists()


def test_a_sheet_is_plain_data() -> None:
    assert Sheet.__dataclass_params__.frozen  # type: ignore[attr-defined]
