"""Looks into a source before it is signed, with the code the host will use.

What the host would refuse after a long journey is refused here, at once.
"""

from collections.abc import Sequence

from bundleformat.errors import RefusalError
from bundleformat.gguf_split import Part, read_model_facts
from bundleformat.manifest import ModelTerms
from bundler.contents.spec import ModelSpec
from bundler.errors import SpecError
from bundler.sources.opened import Source


def model_terms(
    sources: Sequence[Source], spec: ModelSpec, *, origin: str | None = None
) -> ModelTerms:
    """Return what the manifest states of a model: the spec's terms, its own facts.

    ``sources`` are its file, or all parts of a split model in order. ``origin``
    is what the source says of itself; the spec's word goes before it.

    Raises:
        MalformedError, LimitExceededError: Not a GGUF the host would accept;
            ``where`` names the model and its file.
    """
    for source in sources:
        source.file.seek(0)
    try:
        facts = read_model_facts(
            [
                Part(
                    file=source.file,
                    size_bytes=source.size_bytes,
                    where=str(source.path),
                )
                for source in sources
            ]
        )
    except RefusalError as error:
        raise error.inside(f"model {spec.name}") from error
    return ModelTerms(
        licence=spec.licence,
        origin=spec.origin or origin or "",
        allowed_regions=spec.allowed_regions,
        architecture=facts.architecture,
        context_length=facts.context_length,
        intended_use=spec.intended_use,
        review_by=spec.review_by,
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
