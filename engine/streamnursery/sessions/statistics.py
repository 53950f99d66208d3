"""The figures of a session."""

from typing import TYPE_CHECKING

import attrs

from streamnursery.values.session import SessionState, SessionStatistics

if TYPE_CHECKING:
    from streamnursery.core.sessions.outbox import Outbox
    from streamnursery.sessions.inbox import Inbox
    from streamnursery.sessions.lanes import TurnLanes
    from streamnursery.sessions.link import SessionLink
    from streamnursery.sessions.reconnect import Keeper


@attrs.define
class EndedLinks:
    """What was received, and what links that are over have counted."""

    received: int = 0
    beats: int = 0
    missed: int = 0
    wall_jumps: int = 0

    def add(self, link: "SessionLink") -> None:
        if link.pulse is not None:
            self.beats += link.pulse.beats
            self.missed += link.pulse.missed
            self.wall_jumps += link.pulse.wall_jumps

    def with_links(self, links: "tuple[SessionLink, ...]") -> "EndedLinks":
        """Those of living links included."""
        whole = attrs.evolve(self)
        for link in links:
            whole.add(link)
        return whole


def session_statistics(
    state: SessionState,
    link: "SessionLink | None",
    keeper: "Keeper | None",
    counted: EndedLinks,
    queues: "tuple[Outbox, Inbox, TurnLanes]",
    buffered_bytes: int,
) -> SessionStatistics:
    """A snapshot. `counted` covers living links too; `buffered_bytes` are those of the answers."""
    outbox, inbox, lanes = queues
    usable = link is not None and link.usable
    pulse = link.pulse if link is not None else None
    return SessionStatistics(
        state=state,
        connections=keeper.connections if keeper else 0,
        reconnects=keeper.reconnects if keeper else 0,
        renewals=keeper.renewals if keeper else 0,
        beats=counted.beats,
        missed_beats=counted.missed,
        wall_jumps=counted.wall_jumps,
        round_trip=pulse.round_trip if pulse else None,
        connected_at=link.opened_at if link is not None and usable else None,
        pending_messages=len(outbox),
        pending_bytes=outbox.nbytes,
        outcomes={o.value: n for o, n in outbox.outcomes.items()},
        received=counted.received,
        buffered_events=len(inbox),
        buffered_bytes=inbox.nbytes + buffered_bytes,
        streams=lanes.in_flight,
        lanes=len(lanes.named),
    )
