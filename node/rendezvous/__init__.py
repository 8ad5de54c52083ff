"""The rendezvous server: introduces nodes, carries their ciphertext, keeps mail for absent ones."""
