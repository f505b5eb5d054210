"""What was copied is looked at before anybody relies on it.

The signature says who sent a thing, not that it is harmless. Each kind has its
own examiner; a kind without one, such as a list of materials, is never run,
loaded or parsed by a privileged process of this host.
"""

from collections.abc import Mapping

from appliance.db.session import database_faults, reader
from appliance.import_steps.host import Copies, ImportHost
from appliance.registry import catalogue
from bundleformat.digest import Sha256
from bundleformat.errors import MalformedError
from bundleformat.gguf import ModelFacts
from bundleformat.manifest import Artifact, Manifest, model_digest


def examine(
    host: ImportHost, manifest: Manifest, copies: Copies
) -> Mapping[str, ModelFacts]:
    """Return the facts of every model; nothing is against any artifact.

    Raises:
        RefusalError: Something is against one, or the manifest says something else
            of a model than the model itself.
        InternalFaultError: An examiner died, or there is none for what needs one.
    """
    facts: dict[str, ModelFacts] = {}
    for artifact in manifest.artifacts:
        path = copies[artifact.sha256]
        match artifact.kind:
            case "model":
                facts[artifact.name] = _examine_model(host, artifact, copies)
            case "wheel":
                host.examine_wheel(path, artifact=artifact)
            case "provenance":
                host.check_provenance(path, artifact=artifact, manifest=manifest)
            case _:
                pass
    return facts


def trial_load(
    host: ImportHost, manifest: Manifest, copies: Copies
) -> tuple[Artifact, ...]:
    """Have each model loaded once that is not being served already; return them.

    Raises:
        EngineUnavailableError: This host cannot load it, whatever its signature
            says; nothing became visible.
        InsufficientMemoryError: It would take more memory than this host has.
    """
    with database_faults(host.database), reader(host.database).begin() as connection:
        served = {model.sha256 for model in catalogue.active_models(connection)}
    wanted = {
        model_digest(artifact): artifact
        for artifact in manifest.artifacts
        if artifact.model is not None
    }
    loaded = tuple(wanted[each] for each in sorted(wanted.keys() - served))
    for artifact in loaded:
        host.trial_load(tuple(copies[each] for each in _files(artifact)))
    return loaded


def _examine_model(host: ImportHost, artifact: Artifact, copies: Copies) -> ModelFacts:
    paths = (copies[each] for each in _files(artifact))
    found = host.examine(*paths, where=artifact.path)
    _check_terms(artifact, found)
    return found


def _files(artifact: Artifact) -> tuple[Sha256, ...]:
    """Return the digests of a model's files, in their order."""
    parts = artifact.model.parts if artifact.model is not None else ()
    return parts or (artifact.sha256,)


def _check_terms(artifact: Artifact, facts: ModelFacts) -> None:
    terms = artifact.model
    if terms is None:
        return
    said = (terms.architecture, terms.context_length)
    found = (facts.architecture, facts.context_length)
    if said != found:
        raise MalformedError(
            "the model is not what the manifest says",
            where=artifact.path,
            expected=f"{said[0]} of {said[1]} tokens",
            actual=f"{found[0]} of {found[1]} tokens",
        )
