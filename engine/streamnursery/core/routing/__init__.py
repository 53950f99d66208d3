"""Which model and which route serve a request."""
