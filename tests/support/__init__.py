"""Doubles that behave, shared by tests of several layers."""
