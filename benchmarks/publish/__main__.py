"""python -m benchmarks.publish: writes what was measured into README.md and docs/benchmarks.md.

A block between `<!--figures:NAME-->` and `<!--end-->` is made from the newest raw results under
benchmarks/results and from nothing else; all around it is left alone.
"""

from benchmarks.publish.documents import DOCUMENTS, written


def main() -> None:
    """Rewrite every document."""
    for path in DOCUMENTS:
        path.write_text(written(path.read_text()))
        print(path)


if __name__ == "__main__":
    main()
