"""The audit log: entries, tree, proofs, notes, checkpoints, verification."""
