"""Looks into a source before it is signed, with the code the host will use.

What the host would refuse after a long journey is refused here, at once.
"""

from bundleformat.errors import RefusalError
from bundleformat.gguf import DEFAULT_GGUF_LIMITS, read_facts
from bundleformat.manifest import ModelTerms
from bundler.errors import SpecError
from bundler.sources import Source
from bundler.spec import ModelSpec


def model_terms(source: Source, spec: ModelSpec) -> ModelTerms:
    """Return what the manifest states of a model: the spec's terms, its own facts.

    Raises:
        MalformedError, LimitExceededError: Not a GGUF the host would accept;
            ``where`` names the model and its file.
    """
    source.file.seek(0)
    try:
        facts = read_facts(
            source.file, size_bytes=source.size_bytes, limits=DEFAULT_GGUF_LIMITS
        )
    except RefusalError as error:
        raise error.inside(f"model {spec.name}: {spec.path}") from error
    return ModelTerms(
        licence=spec.licence,
        origin=spec.origin,
        allowed_regions=spec.allowed_regions,
        architecture=facts.architecture,
        context_length=facts.context_length,
    )


def check_policy(source: Source) -> None:
    """Check that a policy file is text; the host compiles it against its schema.

    Raises:
        SpecError: Not UTF-8, or with control characters.
    """
    source.file.seek(0)
    try:
        text = source.file.read(source.size_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError("not UTF-8 text", where=str(source.path)) from error
    if not all(line.replace("\t", " ").isprintable() for line in text.splitlines()):
        raise SpecError(
            "control or invisible characters in a policy",
            where=str(source.path),
            hint="A reviewer must see what the policy says; remove them.",
        )
