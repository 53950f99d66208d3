"""Runs streams and calls, observes them and reports them."""
