"""Programs that `streamnursery grade` runs, one for each client.

They import that client and nothing of this package, so that any interpreter that has it runs them.

The protocol, for your own: `OPENAI_BASE_URL`, `OPENAI_API_KEY`, `GRADE_MODEL`, `GRADE_PROMPT` and
`GRADE_LEAVE_AFTER` (pieces after which to stop reading; empty for never) are in the environment.
Write one JSON line to stdout, `{"outcome": "complete" | "error" | "left", "text": ..., "error":
"module.Class", "typed": true}`, then keep running until stdin ends. `"versions": {"name": "1.0"}`
in it is kept with what was found.
"""
