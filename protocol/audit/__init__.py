"""The audit log: entries, tree, proofs, heads and their keys, witnesses, evidence, verification."""
