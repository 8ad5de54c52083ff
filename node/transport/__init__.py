"""Channels over WebSocket: the pump, the listener, the dialer."""
