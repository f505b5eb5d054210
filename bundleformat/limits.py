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
        wheel_bytes: Size of one wheel.
        wheel_files: Files in one wheel; one more is how ZIP64 announces itself.
        unpacked_bytes: What one wheel may hold once unpacked.
        text_bytes: Size of a lock, of its requirements, and of a list of materials.
        provenance_bytes: Size of a vendor's signature; about 250 bytes a file.
        installer_bytes: Size of the installer.
        volume_hint_bytes: Size of ``volume.json``; about 70 bytes a chunk.
        json_depth: Objects and lists inside one another in any JSON document.
        artifacts: Artifacts of one bundle.
        chunks: Chunks of all artifacts of one bundle together.
        chunk_bytes: Size of one chunk. FAT32 could hold 4 GiB - 1.
        artifact_bytes: Size of one artifact.
        regions: Regions a model is allowed in.
        model_parts: Files of one split model.
        anchor_characters: Length of a key or certificate in base64.
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
    wheel_bytes: int = 4 * 2**30
    wheel_files: int = 65_534
    unpacked_bytes: int = 16 * 2**30
    text_bytes: int = 16 * 2**20
    provenance_bytes: int = 2**20
    installer_bytes: int = 2**18
    volume_hint_bytes: int = 4 * 2**20
    json_depth: int = 16
    artifacts: int = 4_096
    chunks: int = 32_768
    chunk_bytes: int = 2**30
    artifact_bytes: int = 2**44
    regions: int = 64
    model_parts: int = 512
    anchor_characters: int = 16_384
    text_characters: int = 512
    context_tokens: int = 2**31 - 1

    def bytes_of(self, kind: str) -> int:
        """Return the size that an artifact of ``kind`` may have. Unit: bytes."""
        by_kind = {
            "model": self.artifact_bytes,
            "part": self.artifact_bytes,
            "policy": self.policy_bytes,
            "wheel": self.wheel_bytes,
            "provenance": self.provenance_bytes,
            "installer": self.installer_bytes,
        }
        return by_kind.get(kind, self.text_bytes)


DEFAULT_LIMITS: Final = Limits()
"""The limits of both machines; FORMAT.md states them as part of the format."""
