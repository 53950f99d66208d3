"""The OpenAI chat completions API: `client` asks, `server` answers."""
