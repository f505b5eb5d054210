"""A host as ``bundleformat`` sees it: a trust state, a floor, a scratch folder."""

import datetime as dt
from pathlib import Path

import pytest

from bundleformat.errors import RefusalError
from bundleformat.limits import DEFAULT_LIMITS, Limits
from bundleformat.trust import TrustFloor, TrustState
from bundleformat.verify import VerifiedBundle, verify_chunks, verify_metadata
from bundleformat.volume import Volume
from tests.support.publisher import NOW


class BundleHost:
    """Looks at bundles, accepts them, and checks that a refusal leaves nothing."""

    def __init__(self, scratch: Path, state: TrustState) -> None:
        scratch.mkdir()
        self.scratch = scratch
        self.state = state
        self.floor: TrustFloor | None = None

    def look(
        self, folder: Path, *, now: dt.datetime = NOW, limits: Limits = DEFAULT_LIMITS
    ) -> VerifiedBundle:
        """Verify metadata and payload; nothing changes."""
        with Volume(folder) as volume:
            bundle = verify_metadata(
                volume,
                state=self.state,
                floor=self.floor,
                now=now,
                scratch=self.scratch,
                limits=limits,
            )
            verify_chunks(volume, bundle, progress=lambda _: None)
        return bundle

    def accept(self, folder: Path, *, now: dt.datetime = NOW) -> VerifiedBundle:
        """Look, and commit what follows."""
        bundle = self.look(folder, now=now)
        self.state, self.floor = bundle.state, bundle.floor
        return bundle

    def refuses(
        self,
        folder: Path,
        error: type[RefusalError],
        *,
        where: str | None = None,
        now: dt.datetime = NOW,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        """Check that exactly ``error`` comes, and that no file is left behind."""
        with pytest.raises(error) as caught:
            self.look(folder, now=now, limits=limits)
        assert type(caught.value) is error
        assert caught.value.exit_status == 3
        if where is not None:
            assert caught.value.where == where
        assert list(self.scratch.iterdir()) == []
