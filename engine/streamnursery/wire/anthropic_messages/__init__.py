"""The Anthropic Messages API: `client` asks, `server` answers."""
