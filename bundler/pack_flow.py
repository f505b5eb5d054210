"""Builds a bundle straight onto volumes or into a single file.

The bundle is built and verified in a folder beside the place asked for, which
needs its room once more, and is gone at the end whatever happens.
"""

import datetime as dt
import tempfile
from dataclasses import replace
from pathlib import Path

from bundleformat.limits import Limits
from bundleformat.media import open_volumes
from bundleformat.verify import VerifiedBundle
from bundler.build_flow import BuildPlan, build_bundle
from bundler.join_flow import join_bundle
from bundler.pack import check_absent, fault
from bundler.progress import Meter
from bundler.split_flow import split_bundle


def build_packed(
    plan: BuildPlan,
    *,
    volume_bytes: int | None,
    now: dt.datetime,
    limits: Limits,
    meter: Meter,
) -> VerifiedBundle:
    """Write volumes of ``volume_bytes`` into ``plan.out``, or None: a single file.

    Raises:
        Error: As ``build_bundle``, and as ``split_bundle`` or ``join_bundle``.
    """
    check_absent(plan.out)
    parent = plan.out.parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(prefix=f".{plan.out.name}.", dir=parent)
    except OSError as error:
        raise fault(error, where=plan.out) from error
    with scratch as folder:
        inner = replace(plan, out=Path(folder) / "bundle")
        bundle = build_bundle(inner, now=now, limits=limits, meter=meter)
        with open_volumes([inner.out]) as volumes:
            if volume_bytes is None:
                join_bundle(volumes, bundle, out=plan.out, limits=limits, meter=meter)
            else:
                split_bundle(
                    volumes,
                    bundle,
                    volume_bytes=volume_bytes,
                    out=plan.out,
                    limits=limits,
                    meter=meter,
                )
    return bundle
