"""What happens after an attempt failed: retry, another route, continue, hedge, or give up."""
