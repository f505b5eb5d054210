"""Every cap on what is read from a medium, with its unit.

A length, count or depth from outside is compared with its limit before memory
is reserved for it. All limits are finite. The caps of GGUF headers lie beside
their reader, in ``gguf_types.py``.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one volume may ask of the machine that reads it.

    Attributes:
        root_bytes: Size of one root metadata file. Three ML-DSA-87 keys with
            two signatures take 35 kB.
        root_files: Root versions on one volume, and in one trust state.
        timestamp_bytes: Size of ``timestamp.json``. Two ML-DSA-87 signatures
            take 19 kB, which is above the default of ``ngclient``.
        snapshot_bytes: Size of a snapshot metadata file.
        targets_bytes: Size of a targets metadata file; about 200 bytes a chunk.
        manifest_bytes: Size of the manifest.
        site_certificate_bytes: Size of a site certificate's envelope.
        policy_bytes: Size of one policy artifact; a host compiles no larger one.
        json_depth: Objects and lists inside one another in any JSON document.
        artifacts: Artifacts of one bundle.
        chunks: Chunks of all artifacts of one bundle together.
        chunk_bytes: Size of one chunk. FAT32 could hold 4 GiB - 1.
        artifact_bytes: Size of one artifact.
        regions: Regions a model is allowed in.
        text_characters: Length of a text meant for people (licence, origin).
        context_tokens: Context length a model may claim. Unit: tokens.
    """

    root_bytes: int = 512_000
    root_files: int = 256
    timestamp_bytes: int = 65_536
    snapshot_bytes: int = 65_536
    targets_bytes: int = 8 * 2**20
    manifest_bytes: int = 8 * 2**20
    site_certificate_bytes: int = 65_536
    policy_bytes: int = 2**18
    json_depth: int = 16
    artifacts: int = 4_096
    chunks: int = 32_768
    chunk_bytes: int = 2**30
    artifact_bytes: int = 2**44
    regions: int = 64
    text_characters: int = 512
    context_tokens: int = 2**31 - 1


DEFAULT_LIMITS: Final = Limits()
"""The limits of both machines; FORMAT.md states them as part of the format."""
