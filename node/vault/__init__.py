"""What a node stores: the encrypted index, the sealed blobs and the keyslots."""
