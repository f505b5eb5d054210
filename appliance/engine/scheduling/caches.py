"""Makes the cache that fits a model."""

from appliance.engine.scheduling.admission import Limits
from appliance.engine.scheduling.decoder import Decoder
from appliance.engine.scheduling.parted_residents import PartedResidents
from appliance.engine.scheduling.residents import Residents
from appliance.engine.scheduling.shared_residents import SharedResidents
from appliance.engine.scheduling.spill import Spill
from appliance.engine.scheduling.whole_residents import WholeResidents


def residents_for(decoder: Decoder, *, limits: Limits) -> Residents:
    """Return an empty cache: in parts, or with cells in common where that can be."""
    kind: type[SharedResidents | WholeResidents] = WholeResidents
    if decoder.shares:
        kind = PartedResidents if limits.parted else SharedResidents
    return kind(
        decoder,
        cells=limits.cells,
        sequences=limits.resident_sequences,
        spill=Spill(limit_bytes=limits.spill_bytes, least_tokens=limits.spill_tokens),
    )
