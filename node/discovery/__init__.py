"""Where team-mates may be reached: the local network, fixed addresses, a rendezvous."""
