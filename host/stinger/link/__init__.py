"""Boards at a port: transport, framing, protocol, flashing."""
