"""Tasks for inspect_ai, run by `inspect eval`."""

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import Tool, tool


@tool
def add() -> Tool:
    async def execute(x: int, y: int) -> int:
        """Add two numbers.

        Args:
            x: the first.
            y: the second.
        """
        return x + y

    return execute


@task
def sky(n: int = 100) -> Task:
    samples = [Sample(input=f"Why is the sky blue? ({at})", target="e") for at in range(n)]
    return Task(dataset=samples, solver=generate(), scorer=includes())


@task
def sums(n: int = 100) -> Task:
    samples = [Sample(input=f"Add 1 and 3 ({at})", target="4") for at in range(n)]
    return Task(dataset=samples, solver=[use_tools(add()), generate(tool_calls="single")])
