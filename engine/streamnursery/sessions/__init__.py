"""Sessions: connections that stay open, speak both ways, and heal themselves.

`session.py` is what a user holds; `reconnect.py` keeps it connected; `link.py` is one connection
and `heartbeat.py` its pulse; `lanes.py` and `turns.py` run answers on it side by side.
"""

from streamnursery.sessions.messages import Receipt
from streamnursery.sessions.opening import Sessions
from streamnursery.sessions.session import Session

__all__ = ["Receipt", "Session", "Sessions"]
