"""`python -m streamnursery` is the command `streamnursery`."""

from streamnursery.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
