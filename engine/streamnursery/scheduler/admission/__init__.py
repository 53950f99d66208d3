"""Slots, rates and the queue in front of them."""
