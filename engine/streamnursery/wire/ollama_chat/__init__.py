"""Ollama's own chat API: a JSON object a line."""
