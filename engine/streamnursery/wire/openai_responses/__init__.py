"""The OpenAI Responses API: `client` asks, `server` answers, `session` is a WebSocket."""
