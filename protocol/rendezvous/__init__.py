"""What nodes and a rendezvous say to each other. The server itself is in ``node.rendezvous``."""
