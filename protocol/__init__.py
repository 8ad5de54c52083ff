"""Safelight's protocol as pure functions and values.

Belongs here: formats, keys, state machines and rules that turn bytes, values,
time and entropy into events, values and bytes.
Never here: sockets, files, clocks, randomness, threads, asyncio or logging.
"""
