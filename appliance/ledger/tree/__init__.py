"""The proofs' mathematics: Merkle trees, signed notes and cosignatures. Pure."""
