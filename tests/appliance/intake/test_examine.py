"""The examiner: what it refuses, what it may not do, and what its death means."""

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.intake.answer import Answer, encode_answer, read_answer
from appliance.intake.examine import COMMAND, examine_model
from bundleformat.errors import (
    InternalFaultError,
    LimitExceededError,
    MalformedError,
    StorageFaultError,
)
from tests.support.gguf_bytes import RawGguf, text
from tests.support.gguf_writer import (
    FAMILIES,
    TinyModel,
    family,
    tensor_shapes,
    write_model,
)
from tests.vectors.make_gguf import FOLDER

WHERE = "models/tiny.gguf"

ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}"
    "{% for c in range(99999) %}{% endfor %}{% endfor %}{% endfor %}x"
)
DOUBLING = (
    "{% set n = namespace(x='xxxxxxxxxxxxxxxx') %}"
    "{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}"
)


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def model_with_template(folder: Path, template: str) -> Path:
    path = folder / "m.gguf"
    raw = RawGguf().having(text("tokenizer.chat_template", template))
    path.write_bytes(raw.packed())
    return path


def test_examiner_reports_the_facts_of_a_good_model(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", TinyModel(architecture="qwen2", context=96))
    facts = examine_model(path, where=WHERE)
    assert (facts.architecture, facts.context_length) == ("qwen2", 96)


@pytest.mark.parametrize("name", FAMILIES)
def test_examiner_accepts_a_model_of_every_family(tmp_path: Path, name: str) -> None:
    model = family(name, weights="q8_0")
    facts = examine_model(write_model(tmp_path / "m.gguf", model), where=WHERE)
    assert (facts.architecture, facts.block_count) == (model.architecture, model.layers)
    assert facts.tensor_count == len(list(tensor_shapes(model)))
    assert (facts.chat_template is None) is (model.chat_template is None)


@pytest.mark.parametrize(
    ("vector", "kind", "place"),
    [
        ("block-count-100000", LimitExceededError, "llama.block_count"),
        ("tensor-overlap", MalformedError, "tensor 1"),
        ("empty", MalformedError, "magic"),
    ],
)
def test_examiner_refuses_a_hostile_header(
    vector: str, kind: type[Exception], place: str
) -> None:
    path = FOLDER / "reject" / "gguf" / f"{vector}.gguf"
    with pytest.raises(kind) as caught:
        examine_model(path, where=WHERE)
    assert vars(caught.value)["where"] == f"{WHERE}: {place}"


@pytest.mark.parametrize(
    "template",
    [
        "{% for %}",
        "{{ messages[0]['content'] ",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ nothing.at.all }}",
        "{{ 1 / 0 }}",
        "{{ raise_exception('no') }}",
        "{% include '/etc/passwd' %}",
        "{# writes nothing #}",
    ],
)
def test_examiner_refuses_a_template_that_fails(tmp_path: Path, template: str) -> None:
    with pytest.raises(MalformedError) as caught:
        examine_model(model_with_template(tmp_path, template), where=WHERE)
    assert caught.value.where == f"{WHERE}: tokenizer.chat_template"


@pytest.mark.parametrize(
    "template",
    [DOUBLING, "{{ 'x' * 99999 }}", "{% for i in range(99999) %}ab{% endfor %}"],
)
def test_examiner_refuses_a_template_that_writes_too_much(
    tmp_path: Path, template: str
) -> None:
    with pytest.raises(LimitExceededError) as caught:
        examine_model(model_with_template(tmp_path, template), where=WHERE)
    assert caught.value.where == f"{WHERE}: tokenizer.chat_template"


def test_examiner_takes_a_template_that_knows_no_system_role(tmp_path: Path) -> None:
    template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}{% for m in messages %}{{ m.content }}{% endfor %}"
    )
    facts = examine_model(model_with_template(tmp_path, template), where=WHERE)
    assert facts.chat_template == template


def test_examiner_takes_what_templates_in_use_are_made_of(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{%- for m in messages %}"
        "{% if loop.last %}{% break %}{% endif %}"
        "{% generation %}{{ m | tojson }}{% endgeneration %}{{ eos_token }}{% endfor %}"
        "{{ strftime_now('%d %b %Y') }}{% if tools or documents %}no{% endif %}"
    )
    facts = examine_model(model_with_template(tmp_path, template), where=WHERE)
    assert facts.chat_template == template


def test_examiner_that_runs_too_long_is_killed_and_the_model_refused(
    tmp_path: Path,
) -> None:
    path = model_with_template(tmp_path, ENDLESS)
    with pytest.raises(LimitExceededError) as caught:
        examine_model(path, where=WHERE, timeout_s=1.5)
    assert caught.value.where == WHERE


@pytest.mark.parametrize(
    "program",
    [
        f"import os; os.kill(os.getpid(), {signal.SIGKILL:d})",
        f"import os; os.kill(os.getpid(), {signal.SIGSEGV:d})",
        "raise SystemExit(1)",
        "print('{}')",
        "print('not json')",
        'print(\'{"facts": {"version": "3"}}\')',
        (
            'print(\'{"refused": {"code": "made-up", "problem": "", "where": "", '
            '"expected": "", "actual": "", "hint": ""}}\')'
        ),
        "import sys; sys.stdout.write('x' * 5_000_000)",
        "",
    ],
)
def test_examiner_without_a_sensible_answer_is_a_fault_of_the_host(
    tmp_path: Path, program: str
) -> None:
    path = write_model(tmp_path / "m.gguf")
    with pytest.raises(InternalFaultError) as caught:
        examine_model(path, where=WHERE, command=(sys.executable, "-c", program))
    assert caught.value.where == WHERE


def test_examiner_that_cannot_start_is_a_fault(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf")
    with pytest.raises(InternalFaultError) as caught:
        examine_model(path, where=WHERE, command=(str(tmp_path / "absent"),))
    assert caught.value.where == WHERE


def test_a_copy_that_cannot_be_opened_is_a_fault_of_the_disk_and_not_the_models(
    tmp_path: Path,
) -> None:
    with pytest.raises(StorageFaultError) as caught:
        examine_model(tmp_path / "absent", where=WHERE)
    assert caught.value.where == str(tmp_path / "absent")


def test_examiner_over_its_processor_time_is_a_refusal(tmp_path: Path) -> None:
    program = f"import os; os.kill(os.getpid(), {signal.SIGXCPU:d})"
    path = write_model(tmp_path / "m.gguf")
    with pytest.raises(LimitExceededError):
        examine_model(path, where=WHERE, command=(sys.executable, "-c", program))


def test_an_answer_that_says_yes_and_no_is_a_fault() -> None:
    with pytest.raises(InternalFaultError):
        read_answer(encode_answer(Answer()), model=WHERE)


@pytest.mark.parametrize(
    "deed",
    [
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
        "threading.Thread(target=print).start()",
        "os.write(os.open(sys.argv[1], os.O_RDWR), b'x')",
        "bytearray(2**30)",
    ],
)
def test_confined_process_may_not(tmp_path: Path, deed: str) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    program = (
        "import os, socket, sys, threading\n"
        "from appliance.intake.confine import confine\n"
        "confine()\n"
        f"try:\n    {deed}\n"
        "except (OSError, MemoryError, RuntimeError):\n    os._exit(7)\n"
    )
    done = subprocess.run(
        (sys.executable, "-c", program, str(victim)),
        check=False,
        capture_output=True,
        timeout=20,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 7, done.stderr
    assert victim.read_bytes() == b"untouched"


def test_examiner_does_not_look_for_its_code_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "appliance").mkdir()
    (tmp_path / "appliance" / "__init__.py").write_text("raise SystemExit('planted')")
    path = write_model(tmp_path / "m.gguf")
    monkeypatch.chdir(tmp_path)
    assert "-P" in COMMAND
    assert examine_model(path, where=WHERE).architecture == "llama"


def test_examiner_gets_the_open_file_and_not_its_name(tmp_path: Path) -> None:
    odd = tmp_path / "-c import os\n"
    odd.write_bytes(
        write_model(tmp_path / "m.gguf").read_bytes() + struct.pack("<Q", 0)
    )
    with pytest.raises(MalformedError) as caught:
        examine_model(odd, where=WHERE)
    assert caught.value.where == f"{WHERE}: tensor data"
