"""What several refusals say."""

MANY_AT_ONCE = (
    "give many requests to eng.as_completed() or eng.settle(), which take from their source only "
    "as many as may run at once, or raise engine.max_queued"
)
