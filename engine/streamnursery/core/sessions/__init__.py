"""The state machines of a WebSocket session."""
