"""How much may run at once and per minute, and whose turn it is."""
