"""The source root. It is not a package that ships: `import streamnursery`."""

msg = "the package is named streamnursery: import streamnursery"
raise ImportError(msg)
