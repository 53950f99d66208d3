"""Slots and units per minute together, against counts and lists."""

import attrs
import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from streamnursery.scheduler.admission.lease import Lease
from streamnursery.testing import WorldMachine, in_world
from streamnursery.values.demand import Demand
from streamnursery.values.rates import Rates
from streamnursery.values.settings import EngineConfig
from streamnursery.values.usage import Usage

PARTIES = (("model", "a"), ("model", "b"), ("endpoint", "x"), ("endpoint", "y"))


@attrs.define
class Held:
    demand: Demand
    lease: Lease


@attrs.define
class Party:
    """One model or endpoint: what it allows, and what was taken when."""

    slots: int = 1000
    rpm: int | None = None
    tpm: int | None = None
    uses: list[list[float]] = attrs.field(factory=list)
    """[when, requests, tokens]"""

    def room(self, taken: int, tokens: int, now: float) -> bool:
        recent = [use for use in self.uses if use[0] + 60 > now]
        requests, units = (sum(use[n] for use in recent) for n in (1, 2))
        return (
            taken < self.slots
            and (self.rpm is None or requests + 1 <= self.rpm)
            and (self.tpm is None or units + tokens <= self.tpm)
        )


class LimiterMachine(WorldMachine):
    """Everything at once or nothing: `acquire_nowait` says what the lists say."""

    config = EngineConfig(max_streams=4, default_max_streams=1000)

    def __init__(self) -> None:
        super().__init__()
        self.total = 4
        self.parties = {party: Party() for party in PARTIES}
        self.held: list[Held] = []
        self.uses: dict[Lease, list[tuple[Party, list[float]]]] = {}

    def of(self, demand: Demand) -> list[Party]:
        assert demand.endpoint is not None
        return [self.parties["model", demand.model], self.parties["endpoint", demand.endpoint]]

    def taken(self, party: Party) -> int:
        return sum(any(p is party for p in self.of(h.demand)) for h in self.held)

    @rule(
        model=st.sampled_from("ab"),
        endpoint=st.sampled_from("xy"),
        inputs=st.integers(1, 10),
        outputs=st.integers(1, 10),
    )
    @in_world
    async def ask(self, model: str, endpoint: str, inputs: int, outputs: int) -> None:
        demand = Demand(model, endpoint, input_tokens=inputs, output_tokens=outputs)
        parties, now = self.of(demand), trio.current_time()
        room = len(self.held) < self.total and all(
            party.room(self.taken(party), inputs + outputs, now) for party in parties
        )
        try:
            lease = self.engine._admission.acquire_nowait(demand)
        except trio.WouldBlock:
            assert not room
            return
        assert room
        self.held.append(Held(demand, lease))
        self.uses[lease] = [(party, [now, 1, inputs + outputs]) for party in parties]
        for party, use in self.uses[lease]:
            party.uses.append(use)

    @precondition(lambda self: self.held)
    @rule(data=st.data(), sent=st.booleans(), usage=st.none() | st.integers(0, 30))
    @in_world
    async def give_back(self, data: st.DataObject, sent: bool, usage: int | None) -> None:
        held = data.draw(st.sampled_from(self.held))
        self.held.remove(held)
        for party, use in self.uses.pop(held.lease):
            if not sent:
                use[1:] = [0, 0]
            elif usage is not None and (party.tpm is None or use[0] + 60 > trio.current_time()):
                use[2] = 2 * usage
            elif usage is not None and 2 * usage > use[2]:
                party.uses.append([trio.current_time(), 0, 2 * usage - use[2]])
        if sent:
            held.lease.settle(None if usage is None else Usage(usage, usage))
        held.lease.release()
        held.lease.release()

    @rule(party=st.sampled_from(PARTIES), slots=st.integers(0, 3))
    @in_world
    async def change_slots(self, party: tuple[str, str], slots: int) -> None:
        self.parties[party].slots = slots
        self.engine.set_limits(max_streams=slots, **{party[0]: party[1]})

    @precondition(lambda self: not self.held)
    @rule(
        party=st.sampled_from(PARTIES),
        rpm=st.none() | st.integers(1, 3),
        tpm=st.none() | st.integers(10, 60),
    )
    @in_world
    async def change_rates(self, party: tuple[str, str], rpm: int | None, tpm: int | None) -> None:
        """While nothing is held: a new bucket knows nothing of what was taken without it."""
        mine = self.parties[party]
        if (mine.rpm is None and rpm is not None) or (mine.tpm is None and tpm is not None):
            await trio.sleep(60)
        mine.rpm, mine.tpm = rpm, tpm
        rates = Rates(rpm, tpm, burst=1)
        self.engine._admission.set_rates(rates, **{party[0]: party[1]})

    @rule(seconds=st.sampled_from([1.0, 20.0, 59.0, 60.0]))
    @in_world
    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    @invariant()
    def what_is_taken_is_what_is_held(self) -> None:
        admission = self.engine._admission
        assert admission.total.taken == len(self.held)
        for (kind, name), party in self.parties.items():
            lanes = admission.lanes
            limit = lanes.model(name) if kind == "model" else lanes.endpoint(name)
            assert limit.slots.taken == self.taken(party)

    def teardown(self) -> None:
        for held in self.held:
            held.lease.release()
        super().teardown()


TestLimiter = LimiterMachine.TestCase
TestLimiter.settings = settings(stateful_step_count=25)
