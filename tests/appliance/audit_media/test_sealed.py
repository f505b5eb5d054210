"""An encrypted export opens for one auditor, whole and as it was, or not at all."""

import hashlib
import io
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from appliance.audit_media import open_export as opener
from appliance.audit_media.home_scratch import clear_scratch, scratch_at_home
from appliance.audit_media.sealed_file import parse_recipient, sealed_for
from appliance.file_lock import exclusive_lock
from appliance.home import Home
from bundleformat.errors import ConflictError, MalformedError, StorageFaultError

PUBLISHED = Path(__file__).parents[2] / "vectors" / "age"
CHUNK = opener.CHUNK_BYTES
SEED, OTHER = bytes(range(32)), bytes(range(1, 33))
PUBLIC = opener.public_bytes(SEED)
LINE = opener.bech32(opener.PUBLIC, PUBLIC)


def _sealed(plain: bytes, *, step: int = 10_240) -> bytes:
    file = io.BytesIO()
    recipient = parse_recipient(LINE.encode(), where="key.pub")
    with sealed_for(recipient, file) as stream:
        for place in range(0, len(plain), step):
            stream.write(plain[place : place + step])
    return file.getvalue()


def _plain(size: int) -> bytes:
    return bytes(place * 7 % 251 for place in range(size))


LARGE = _sealed(_plain(3 * CHUNK))
START = LARGE.index(b"\n", LARGE.index(b"\n---") + 1) + 1
"""Where the nonce of the payload begins."""


def _chunk(place: int) -> slice:
    size = CHUNK + opener.TAG_BYTES
    begin = START + opener.NONCE_BYTES + place * size
    return slice(begin, begin + size)


def _without_last() -> bytes:
    return LARGE[: _chunk(2).start]


def _swapped() -> bytes:
    one, two = LARGE[_chunk(0)], LARGE[_chunk(1)]
    return LARGE[: _chunk(0).start] + two + one + LARGE[_chunk(2)]


def _twice() -> bytes:
    return LARGE[: _chunk(1).start] + LARGE[_chunk(0)] + LARGE[_chunk(1).start :]


def _left_out() -> bytes:
    return LARGE[: _chunk(0).start] + LARGE[_chunk(1).start :]


def _of_two_files() -> bytes:
    other = _sealed(_plain(3 * CHUNK))
    return LARGE[: _chunk(1).start] + other[_chunk(1)] + LARGE[_chunk(2)]


def _unnamed() -> bytes:
    return LARGE.replace(b"-> sallyport/key-id", b"-> sallyport/key-xx", 1)


def _named_twice() -> bytes:
    line = LARGE.index(b"-> mlkem")
    stanza = LARGE[line : LARGE.index(b"---")]
    return LARGE[:line] + stanza + LARGE[line:]


@pytest.mark.parametrize(
    ("change", "status", "says"),
    [
        (lambda: b"", opener.TRUNCATED, "it ends within its header"),
        (lambda: LARGE[:700], opener.TRUNCATED, "it ends within its header"),
        (lambda: LARGE[:START], opener.TRUNCATED, "it ends with its header"),
        (lambda: LARGE[: START + 9], opener.TRUNCATED, "it ends with its header"),
        (lambda: LARGE[: START + 16], opener.TRUNCATED, "its end is missing after 0"),
        (_without_last, opener.TRUNCATED, "its end is missing after 65536 bytes"),
        (
            lambda: LARGE[: _chunk(2).start + 3],
            opener.TRUNCATED,
            "its end is missing after 131072 bytes",
        ),
        (lambda: LARGE[:-1], opener.CHANGED, "changed, or cut off, after 131072 bytes"),
        (lambda: LARGE + b"x", opener.CHANGED, "more than its end after 131072 bytes"),
        (lambda: LARGE + LARGE, opener.CHANGED, "more than its end after 131072"),
        (_swapped, opener.CHANGED, "changed, or cut off, after 0 bytes"),
        (_twice, opener.CHANGED, "changed, or cut off, after 65536 bytes"),
        (_left_out, opener.CHANGED, "changed, or cut off, after 0 bytes"),
        (_of_two_files, opener.CHANGED, "changed, or cut off, after 65536 bytes"),
        (_unnamed, opener.CHANGED, "its header was changed"),
        (_named_twice, opener.CHANGED, "it has no place, or several, for"),
        (lambda: b"\xff" * 99, opener.CHANGED, "it is no age file"),
        (lambda: b"PK\x03\x04\n" * 9, opener.CHANGED, "it is no age file"),
        (lambda: b"a" * 99_999, opener.CHANGED, "it is no age file"),
    ],
)
def test_what_was_changed_cut_or_moved_is_said_in_a_sentence_and_opens_nothing(
    tmp_path: Path, change: Callable[[], bytes], status: int, says: str
) -> None:
    (tmp_path / "x.age").write_bytes(change())
    with pytest.raises(opener.OpenError) as caught:
        opener.open_sealed(tmp_path / "x.age", SEED, tmp_path / "x.tar")
    assert caught.value.args[0] == status
    assert says in caught.value.args[1]
    assert [path.name for path in tmp_path.iterdir()] == ["x.age"]


def test_another_key_opens_nothing_and_is_told_for_whom_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.age").write_bytes(LARGE)
    with pytest.raises(opener.OpenError) as caught:
        opener.open_sealed(tmp_path / "x.age", OTHER, tmp_path / "x.tar")
    ours = opener.key_id(opener.public_bytes(OTHER))
    problem = f"it is for key {opener.key_id(PUBLIC)}; this key is {ours}"
    assert caught.value.args == (opener.OTHER_KEY, problem)
    assert [path.name for path in tmp_path.iterdir()] == ["x.age"]


def test_no_bit_of_a_header_and_of_a_payload_can_change_unnoticed() -> None:
    small = _sealed(b"one record\n")
    assert _opened(small) == b"one record\n"
    unnoticed = []
    for place in range(len(small)):
        changed = bytearray(small)
        changed[place] ^= 1 << place % 8
        try:
            _opened(bytes(changed))
        except opener.OpenError as error:
            if error.args[0] != opener.UNTRIED:
                continue
        unnoticed.append(place)
    assert unnoticed == []


def test_an_empty_last_part_is_refused() -> None:
    # A second, empty, last chunk says the same and is another file.
    file = io.BytesIO()
    with sealed_for(parse_recipient(LINE.encode(), where=""), file) as stream:
        stream.write(b"x" * CHUNK)
        stream._emit(b"x" * CHUNK, last=False)
        stream._held.clear()
    with pytest.raises(opener.OpenError) as caught:
        _opened(file.getvalue())
    assert caught.value.args == (opener.CHANGED, "it ends with an empty part")


def _opened(data: bytes, seed: bytes = SEED) -> bytes:
    file, sink = io.BytesIO(data), io.BytesIO()
    aead = ChaCha20Poly1305(opener.payload_key(file, seed))
    opener.decrypt(file, aead, sink.write)
    return sink.getvalue()


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1]
)
@pytest.mark.parametrize("step", [1, 10_240, 3 * CHUNK])
def test_what_was_sealed_opens_whole_however_it_was_written(
    size: int, step: int
) -> None:
    if step == 1:
        size = min(size, 99)
    sealed = _sealed(_plain(size), step=step)
    assert _opened(sealed) == _plain(size)
    chunks = max(1, -(-size // CHUNK))
    assert len(sealed) == START + 16 + size + 16 * chunks
    assert sealed != _sealed(_plain(size), step=step)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment\n",
        f"{LINE}\n{LINE}\n",
        f"{LINE[:-1]}\n",
        f"{LINE[:400]}{'q' if LINE[400] != 'q' else 'p'}{LINE[401:]}\n",
        LINE.upper(),
        # C2SP age.md, "The X25519 recipient type": a key of a weaker kind.
        "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj",
        opener.bech32(opener.SECRET, SEED).upper(),
        opener.bech32(opener.PUBLIC, PUBLIC[:-1]),
        opener.bech32(opener.PUBLIC, PUBLIC + b"\0"),
        opener.bech32(opener.PUBLIC, b"\xff" * 1216),
        # The neutral element of X25519: every secret with it is the same.
        opener.bech32(opener.PUBLIC, PUBLIC[:1184] + bytes(32)),
        "\x1b[2J\xff",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ auditor",
    ],
)
def test_what_is_no_public_key_of_an_auditor_is_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_recipient(text.encode("utf-8"), where="key.pub")
    assert caught.value.where == "key.pub"


def test_the_published_key_is_read_and_opens_the_published_stanza() -> None:
    seed = opener.read_seed(PUBLISHED / "identity.txt")
    line = (PUBLISHED / "recipient.txt").read_text("ascii").strip()
    assert opener.bech32(opener.PUBLIC, opener.public_bytes(seed)) == line
    assert parse_recipient(line.encode(), where="").key_id == opener.key_id(
        opener.public_bytes(seed)
    )
    stanza = (PUBLISHED / "stanza.txt").read_bytes()
    file = io.BytesIO(f"{opener.VERSION}\n".encode() + stanza + b"--- mac\n")
    ((words, body),) = opener.read_header(file).stanzas
    extended = hashlib.shake_256(seed).digest(96)
    key = opener.private_key(extended)
    enc = opener.from_base64(words[1])
    file_key = opener.SUITE.decrypt(enc + body, key, info=opener.INFO)
    assert len(file_key) == opener.FILE_KEY_BYTES


def _program(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", opener.__file__, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={},
    )


def test_the_program_alone_makes_a_key_and_opens_what_was_sealed_for_it(
    tmp_path: Path,
) -> None:
    key, out = tmp_path / "auditor.key", tmp_path / "june.tar"
    made = _program("keygen", key)
    assert (made.returncode, made.stderr) == (0, "")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    file = tmp_path / "june.age"
    recipient = parse_recipient(made.stdout.encode(), where="")
    with file.open("xb") as sink, sealed_for(recipient, sink) as stream:
        stream.write(b"records")
    assert f"-> sallyport/key-id {recipient.key_id}\n".encode() in file.read_bytes()
    opened = _program("open", file, "--key", key, "--out", out)
    assert (opened.returncode, opened.stderr) == (0, "")
    assert out.read_bytes() == b"records"
    again = _program("open", file, "--key", key, "--out", out)
    assert (again.returncode, again.stdout) == (opener.UNTRIED, "")
    assert again.stderr == f"FAILED (1): {out} is there already\n"
    assert out.read_bytes() == b"records"


@pytest.mark.parametrize(
    "case", ["no file", "no key", "not a key", "two", "in the way"]
)
def test_what_cannot_be_tried_leaves_nothing(tmp_path: Path, case: str) -> None:
    key, file, out = tmp_path / "k", tmp_path / "f", tmp_path / "o"
    file.write_bytes(LARGE)
    secret = opener.bech32(opener.SECRET, SEED).upper()
    texts = {"not a key": LINE, "two": f"{secret}\n{secret}"}
    key.write_text(texts.get(case, secret))
    if case == "no file":
        file.unlink()
    elif case == "no key":
        key.unlink()
    elif case == "in the way":
        out.symlink_to(tmp_path / "nowhere")
    before = {path.name for path in tmp_path.iterdir()}
    done = _program("open", file, "--key", key, "--out", out)
    assert (done.returncode, done.stdout) == (opener.UNTRIED, "")
    assert done.stderr.startswith("FAILED (1): ")
    assert done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == before


def test_a_wrong_command_is_not_taken_for_a_finding(tmp_path: Path) -> None:
    assert _program("open", tmp_path).returncode == opener.UNTRIED
    assert _program().returncode == opener.UNTRIED


def test_a_key_never_replaces_a_file_and_a_file_name_cannot_drive_a_terminal(
    tmp_path: Path,
) -> None:
    key = tmp_path / "\x1b[2Jk"
    key.write_text("mine")
    done = _program("keygen", key)
    assert done.returncode == opener.UNTRIED
    assert done.stderr.strip().isprintable()
    assert key.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [key]


def test_the_program_that_opens_can_be_read_in_one_sitting() -> None:
    lines = Path(opener.__file__).read_text("utf-8").splitlines()
    assert len(lines) < 350


def _left(home: Home) -> Path:
    """What an export left that was killed while it was packed."""
    folder = home.root / ".export.0123abcd.partial" / "export"
    folder.mkdir(parents=True)
    (folder / "bodies.jsonl").write_text("what was asked")
    return folder.parent


def test_what_a_killed_export_left_goes_unless_one_is_being_made(
    tmp_path: Path,
) -> None:
    home = Home(tmp_path)
    home.create_folders()
    left = _left(home)
    with exclusive_lock(home.run / "export.lock", busy=ConflictError("", where="")):
        clear_scratch(home)
        assert left.exists()
    clear_scratch(home)
    assert not left.exists()


def test_what_cannot_be_removed_stops_an_encrypted_export(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.create_folders()
    # Not even root can unlink through a name that is no folder any more.
    left = home.root / ".export.0123abcd.partial"
    left.write_text("what was asked")
    with pytest.raises(StorageFaultError), scratch_at_home(home):
        raise AssertionError("it was given nevertheless")
    assert left.exists()
