"""Google's Gemini API, `generateContent`: `client` asks, `server` answers."""
