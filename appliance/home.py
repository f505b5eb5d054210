"""Where everything of one host lies below its home folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Home:
    """The home folder of a host and the names below it."""

    root: Path

    @property
    def database(self) -> Path:
        """Ledger, trust state, generations, keys' digests: one SQLite file."""
        return self.root / "sallyport.db"

    @property
    def ledger_key(self) -> Path:
        """The Ed25519 key that signs checkpoints."""
        return self.root / "keys" / "ledger.key"

    @property
    def pepper(self) -> Path:
        """The secret under which API keys are digested. Size: 32 bytes."""
        return self.root / "keys" / "pepper"

    @property
    def store(self) -> Path:
        """Content-addressed files of every generation."""
        return self.root / "store"

    @property
    def staging(self) -> Path:
        """Files on their way into the store; nothing here is ever served."""
        return self.root / "staging"

    @property
    def run(self) -> Path:
        """Locks of the processes that hold this host."""
        return self.root / "run"

    def create_folders(self) -> None:
        """Create every folder, readable by the owner alone."""
        folders = (self.root, self.ledger_key.parent, self.store, self.staging)
        for folder in (*folders, self.run):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
