"""Money of running requests: held at entry, reserved before sending, settled at the end."""
