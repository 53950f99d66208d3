"""Prices, reservations, budgets and the ledger, as arithmetic."""
