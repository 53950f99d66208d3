"""Google's Interactions API: steps in place of contents, and streams that can be read on."""
