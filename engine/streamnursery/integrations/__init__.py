"""Providers for programs that choose their model by name. Each module needs the program's package
and is imported by it, through an entry point; nothing here imports them."""
