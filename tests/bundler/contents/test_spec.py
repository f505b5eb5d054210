"""The spec file: what it may say, and what is refused with the field's name."""

from pathlib import Path

import pytest

from bundleformat.limits import DEFAULT_LIMITS
from bundler.contents.spec import BundleSpec, ModelSpec, parse_spec
from bundler.errors import SpecError
from bundler.sources.wanted import HubFile, LocalFile, OllamaModel

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HUB = f'hugging_face = {{ repo = "o/n", revision = "{COMMIT}", file = "m.gguf" }}'
FOLDER = Path("/desk")


def spec(source: str = 'path = "m.gguf"', more: str = "", top: str = "") -> str:
    return f"""\
channel = "main"
version = 1
{top}
[[models]]
name = "tiny"
licence = "Apache-2.0"
origin = "a test"
allowed_regions = ["in-blr"]
{source}
{more}
"""


def parse(text: str) -> BundleSpec:
    return parse_spec(
        text.encode(), name="s.toml", folder=FOLDER, limits=DEFAULT_LIMITS
    )


def model(text: str) -> ModelSpec:
    return parse(text).models[0]


def hub(**changed: str) -> str:
    fields = {"repo": "o/n", "revision": COMMIT, "file": "m.gguf"} | changed
    inside = ", ".join(f"{key} = {value!r}" for key, value in fields.items())
    return f"hugging_face = {{ {inside} }}"


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (spec(""), "models[0].path"),
        (spec(f'path = "m.gguf"\n{HUB}'), "models[0].path"),
        (spec(hub(revision="main")), "models[0].hugging_face.revision"),
        (spec(hub(revision=COMMIT.upper())), "models[0].hugging_face.revision"),
        (spec(hub(revision=COMMIT[:12])), "models[0].hugging_face.revision"),
        (spec(hub(repo="n")), "models[0].hugging_face.repo"),
        (spec(hub(repo="../n")), "models[0].hugging_face.repo"),
        (spec(hub(file="../m.gguf")), "models[0].hugging_face.file"),
        (spec(hub(file="/m.gguf")), "models[0].hugging_face.file"),
        (spec(hub(endpoint="http://hub.example")), "models[0].hugging_face.endpoint"),
        (spec(hub(endpoint="https://me:pw@hub")), "models[0].hugging_face.endpoint"),
        (spec(hub(endpoint="file:///etc")), "models[0].hugging_face.endpoint"),
        (spec(hub(endpoint="https://hub/?t=1")), "models[0].hugging_face.endpoint"),
        (spec(hub(access="hf_x")), "models[0].hugging_face.access"),
        (spec('hugging_face = "o/n"'), "models[0].hugging_face"),
        (spec('ollama = { model = "../x" }'), "models[0].ollama.model"),
        (spec('ollama = { model = "a/b/c/d" }'), "models[0].ollama.model"),
        (spec('ollama = { model = "x:y:z" }'), "models[0].ollama.model"),
        (spec('ollama = { store = "." }'), "models[0].ollama.model"),
        (spec(more='review_by = "2027-02-30"'), "models[0].review_by"),
        (spec(more='review_by = "20270228"'), "models[0].review_by"),
        (spec(more="review_by = 2027-02-28"), "models[0].review_by"),
        (spec(more='intended_use = ""'), "models[0].intended_use"),
        (spec(more='purpose = "x"'), "models[0].purpose"),
        (spec(more="provenance = {}"), "models[0].provenance"),
        (
            spec(more='provenance = { signature = "s", key = "k", certificate = "c" }'),
            "models[0].provenance",
        ),
        (spec(top='minimum_version = "1.0"'), "minimum_version"),
        (spec(top='minimum_version = "v1.0.0"'), "minimum_version"),
        (spec(top='minimum = "1.0.0"'), "minimum"),
    ],
)
def test_a_spec_that_cannot_be_built_is_refused_with_its_field(
    text: str, where: str
) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.where == f"s.toml: {where}"


def test_only_a_file_needs_an_origin() -> None:
    without = 'origin = "a test"\n'
    assert model(spec(HUB).replace(without, "")).origin is None
    with pytest.raises(SpecError) as caught:
        parse(spec().replace(without, ""))
    assert caught.value.where == "s.toml: models[0].origin"


def test_a_branch_is_refused_with_the_way_to_pin_it() -> None:
    with pytest.raises(SpecError) as caught:
        parse(spec(hub(revision="main")))
    assert "Pin the commit" in caught.value.hint


def test_sources_are_read_as_written() -> None:
    assert model(spec()).source == LocalFile(path=FOLDER / "m.gguf")
    assert model(spec(HUB)).source == HubFile(
        repo="o/n", revision=COMMIT, file="m.gguf"
    )
    found = model(spec(hub(endpoint="http://127.0.0.1:8/"))).source
    assert isinstance(found, HubFile)
    assert found.endpoint == "http://127.0.0.1:8"


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("llama3.2:3b", "registry.ollama.ai/library/llama3.2:3b"),
        ("llama3.2", "registry.ollama.ai/library/llama3.2:latest"),
        ("me/mine:q4_K_M", "registry.ollama.ai/me/mine:q4_K_M"),
        ("hf.co/o/n-GGUF:Q8_0", "hf.co/o/n-GGUF:Q8_0"),
        ("localhost:5000/o/n", "localhost:5000/o/n:latest"),
    ],
)
def test_names_of_ollama_are_completed_as_ollama_does(text: str, spelled: str) -> None:
    found = model(spec(f'ollama = {{ model = "{text}", store = "store" }}')).source
    assert isinstance(found, OllamaModel)
    assert found.spelled == spelled
    assert found.store == FOLDER / "store"


def test_the_usual_ollama_store_is_in_the_home_folder() -> None:
    found = model(spec('ollama = { model = "x" }')).source
    assert isinstance(found, OllamaModel)
    assert found.store == Path.home() / ".ollama" / "models"


def test_what_was_approved_and_a_vendors_signature_are_read() -> None:
    found = model(
        spec(
            more="""
intended_use = "summaries"
review_by = "2027-02-28"
provenance = { signature = "m.sig", certificate = "ca.pem" }
"""
        )
    )
    assert (found.intended_use, found.review_by) == ("summaries", "2027-02-28")
    assert found.provenance is not None
    assert found.provenance.certificate == FOLDER / "ca.pem"
    assert found.provenance.key is None


def test_a_version_of_sallyport_may_be_asked_for() -> None:
    assert parse(spec(top='minimum_version = "1.20.3"')).minimum_version == "1.20.3"
    assert parse(spec()).minimum_version is None
