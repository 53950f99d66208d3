import trio, pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule
from engine.testing import *
from engine.simulator import *
pytest_plugins = ["engine.testing.pytest_plugin"]

@simulate(traffic=traffic())
async def test_nothing(world, traffic):
    await traffic.run(world)

async def test_fix(world):
    async with world.open_engine() as eng:
        c = await eng.complete("fast", "hello")
        assert c.text

@each_point_of(cancel_at_every_step, most=40)
async def test_cancel(world, scope):
    async with world.open_engine() as eng:
        with scope:
            async with eng.stream("gpt-4.1","hello",max_tokens=3) as s:
                async for e in s: pass
        await wait_quiescent(eng)
def test_fail():
    async def run(world):
        async with world.open_engine() as eng:
            c=await eng.complete("gpt-4.1","hello",max_tokens=3)
            assert c.text
    r=fail_at_every_io(run); print(r)
    r=cut_at_every_byte(run); print(r)
    r=cut_at_every_byte(run,reset=True,most=100); print(r)

class M(WorldMachine):
    @rule(p=st.text(min_size=1))
    @in_world
    async def ask(self,p):
        c=await self.engine.complete("fast",p,timeout=5)
    @rule()
    @in_world
    async def bg(self):
        async def one():
            await self.engine.complete("gpt-4.1","x",timeout=500)
        self.nursery.start_soon(one)
    @rule(s=st.floats(0,5))
    @in_world
    async def wait(self,s):
        await trio.sleep(s)
TestM = M.TestCase
