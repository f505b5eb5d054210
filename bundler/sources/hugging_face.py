"""Finds models in a Hugging Face repository at a pinned commit.

The hub states the size and the SHA-256 of every large file. They become what
the downloaded bytes MUST be; a file without them is refused. The access token is
the library's business: it is taken from where ``hf auth login`` or ``HF_TOKEN``
put it, is sent to the hub that this machine is set up for and to no other that a
spec may name, and is in no message, spec or bundle.

Source: Hub API, ``GET /api/models/REPO/revision/COMMIT?blobs=true``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from huggingface_hub import HfApi, constants, errors

from bundleformat.digest import parse_sha256
from bundleformat.errors import LimitExceededError, MissingError, StorageFaultError
from bundler.errors import AccessDeniedError, HubFaultError, SpecError
from bundler.sources.local_file import sibling_names
from bundler.sources.located import LocatedModel, OnHub
from bundler.sources.wanted import HubFile

TIMEOUT_S: Final = 30.0
"""How long the hub may take to begin an answer."""

MAX_FILES: Final = 100_000
"""Most files of a repository that are looked through."""


def locate(source: HubFile) -> LocatedModel:
    """Return what the hub says of the file, and of the other parts of a split model.

    Raises:
        MissingError: No such repository, commit or file.
        AccessDeniedError: The hub wants a token, or an agreement, first.
        SpecError: The hub states no digest for the file, or the file is a part
            other than the first.
        HubFaultError: The hub cannot be reached, or answers as no hub does.
    """
    with translated(source):
        info = HfApi(endpoint=source.endpoint, token=token_for(source)).model_info(
            source.repo,
            revision=source.revision,
            files_metadata=True,
            timeout=TIMEOUT_S,
        )
    if info.sha != source.revision:
        raise HubFaultError(
            "the hub answered for another commit",
            where=f"hf:{source.repo}",
            expected=source.revision,
            actual=ascii(info.sha),
        )
    siblings = info.siblings or []
    if len(siblings) > MAX_FILES:
        raise LimitExceededError(
            "too many files in the repository",
            where=f"hf:{source.repo}",
            expected=f"at most {MAX_FILES}",
        )
    listed = {sibling.rfilename: sibling for sibling in siblings}
    return LocatedModel(
        files=tuple(_located(file, listed) for file in _parts(source)),
        origin=source.origin,
        notes=_notes(source, info.card_data),
    )


def token_for(source: HubFile) -> bool | None:
    """Return whether the library may send its token: None for yes, as it has it.

    A spec may name any endpoint, and a token sent there could be used by it.
    """
    own = source.endpoint in {None, constants.ENDPOINT}
    return None if own else False


@contextmanager
def translated(source: HubFile) -> Iterator[None]:
    """Turn what the library raises into errors of our tree.

    Only status codes are taken over: the library's texts hold addresses, and
    those of redirections may carry a signature.
    """
    where = f"hf:{source.repo}"
    try:
        yield
    except errors.RevisionNotFoundError as error:
        raise MissingError(
            "the repository has no such commit",
            where=where,
            actual=source.revision,
            hint="Copy the commit from the repository's page, under Files, History.",
        ) from error
    except errors.EntryNotFoundError as error:
        raise _no_file(source) from error
    except errors.GatedRepoError as error:
        raise _denied(where, "its owner asks for an agreement first") from error
    except errors.RepositoryNotFoundError as error:
        # The hub says the same of a private one to whoever may not see it.
        raise MissingError(
            "no such repository, or a private one",
            where=where,
            hint="Check its name. For a private one run `hf auth login` first.",
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        if status in {401, 403}:
            raise _denied(where, f"the hub answered {status}") from error
        raise HubFaultError(
            "the hub did not answer as wanted", where=where, actual=f"status {status}"
        ) from error
    except (errors.HTTPError, errors.OfflineModeIsEnabled) as error:
        raise HubFaultError(
            "the hub cannot be reached",
            where=where,
            actual=type(error).__name__,
            hint="Check the network, proxy and endpoint, and build again; a download "
            "goes on where it ended.",
        ) from error
    except OSError as error:
        raise StorageFaultError(
            "a download cannot be kept",
            where=where,
            actual=error.strerror or type(error).__name__,
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HubFaultError(
            "the endpoint does not answer as a hub does",
            where=where,
            actual=type(error).__name__,
        ) from error


def _denied(where: str, reason: str) -> AccessDeniedError:
    return AccessDeniedError(
        "the hub does not give this model to you",
        where=where,
        actual=reason,
        hint="Ask for access on the repository's page, then run `hf auth login`. A "
        "token is sent only to the endpoint set in HF_ENDPOINT.",
    )


def _no_file(source: HubFile) -> MissingError:
    return MissingError(
        "no such file at that commit",
        where=source.origin,
        hint="Correct `file`; the repository's page lists the files of a commit.",
    )


def _parts(source: HubFile) -> Iterator[HubFile]:
    folder, slash, name = source.file.rpartition("/")
    for part in sibling_names(name, where=source.origin):
        yield HubFile(
            repo=source.repo,
            revision=source.revision,
            file=f"{folder}{slash}{part}",
            endpoint=source.endpoint,
        )


def _located(file: HubFile, listed: Mapping[str, Any]) -> OnHub:
    found = listed.get(file.file)
    if found is None:
        raise _no_file(file)
    if found.lfs is None or not isinstance(found.lfs.size, int):
        raise SpecError(
            "the hub states no SHA-256 of this file",
            where=file.origin,
            hint="Models are kept as large files, which have one; is this a model?",
        )
    return OnHub(
        file=file,
        size_bytes=found.lfs.size,
        sha256=parse_sha256(str(found.lfs.sha256), where=file.origin),
    )


def _notes(source: HubFile, card: Any) -> tuple[str, ...]:  # noqa: ANN401 - any card
    licence = getattr(card, "license", None)
    if not licence:
        return ()
    said = "".join(c if c.isprintable() else "?" for c in str(licence)[:100])
    return (f"hf:{source.repo}: its model card states the licence {said}",)
