"""python -m benchmarks.dashboard FOLDER: the dashboard's picture, from a real run.

Needs `prometheus` and `chromium` on the PATH. An engine with three models asks a simulated provider
that fails now and then, for `SECONDS`; Prometheus scrapes it; every expression of
docs/observability/dashboard.json is asked of Prometheus, and its answer drawn. An expression
that Prometheus refuses, or a panel without a line, is an error. FOLDER gets dashboard.html and
dashboard.png.
"""

import argparse
import json
import random
import shutil
import subprocess
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import trio

import streamnursery as sn
from streamnursery.bench.charts import Series, linear, lines
from streamnursery.bench.style import CSS
from streamnursery.simulator import Cut, Plan, Profile, Provider, Rule, Stall, Status, When
from streamnursery.simulator.loopback import serve_loopback

SECONDS = 150
ROOT = Path(__file__).parents[1]
DASHBOARD = ROOT / "docs/observability/dashboard.json"
MODELS = {
    "small": Profile(ttft_mean=0.15, ttft_p95=0.4, tokens_per_second=90, output_tokens=(20, 80)),
    "large": Profile(ttft_mean=0.5, ttft_p95=1.5, tokens_per_second=40, output_tokens=(40, 160)),
    "spare": Profile(ttft_mean=0.3, ttft_p95=0.6, tokens_per_second=60, output_tokens=(20, 80)),
}
PLAN = Plan((
    Rule((Status(503),), When(model="small", probability=0.05)),
    Rule((Cut(15),), When(model="large", probability=0.05)),
    Rule((Stall(5, 8.0),), When(model="large", probability=0.02)),
))


def config(url: str) -> dict[str, Any]:
    return {
        "engine": {"max_streams": 60},
        "endpoints": {"main": {"url": url}, "dead": {"url": "http://127.0.0.1:9/v1"}},
        "models": {
            "small": {
                "routes": [{"endpoint": "main"}],
                "hedge_after": 0.6,
                "price": {"input": "1", "output": "4"},
            },
            "large": {
                "routes": [{"endpoint": "main"}],
                "max_streams": 25,
                "fallback": ["spare"],
                "price": {"input": "3", "output": "12"},
            },
            "spare": {
                "routes": [{"endpoint": "dead"}, {"endpoint": "main"}],
                "price": {"input": "1", "output": "4"},
            },
        },
        "budgets": {"daily": "2 USD"},
    }


async def load(eng: sn.Engine) -> None:
    """Waves of requests; the dice are fixed."""
    dice = random.Random(7)

    async def ask(model: str) -> None:
        try:
            await eng.complete(model, "What is to be seen of an engine?", max_tokens=200)
        except sn.EngineError:
            return

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        while (age := trio.current_time() - began) < SECONDS:
            crowd = 6 + 5 * ((age // 20) % 3)
            for _ in range(int(crowd)):
                nursery.start_soon(ask, dice.choice(("small", "small", "large", "spare")))
            await trio.sleep(0.5)


async def observe(port: int, folder: Path) -> dict[int, list[Series]]:
    provider = Provider(dice=random.Random(3), models=MODELS, plan=PLAN)
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        async with sn.open_engine(config(server.url)) as eng:
            async with sn.telemetry.serve_metrics(eng, port=0) as metrics:
                with prometheus(metrics.port, port, folder):
                    await load(eng)
                    found = await trio.to_thread.run_sync(panels, port)
        nursery.cancel_scope.cancel()
    return found


@contextmanager
def prometheus(target: int, port: int, folder: Path) -> Iterator[None]:
    settings = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [
            {"job_name": "demo", "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
    command = ["prometheus", f"--config.file={folder}/prometheus.yml"]
    command += [f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    with process:
        try:
            yield
        finally:
            process.terminate()


def panels(port: int) -> dict[int, list[Series]]:
    """The lines of each panel."""
    found: dict[int, list[Series]] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        found[panel["id"]] = [
            series
            for target in panel["targets"]
            for series in answers(port, target["expr"], target["legendFormat"])
        ]
        if not any(series.points for series in found[panel["id"]]):
            message = f"panel {panel['title']!r} shows nothing"
            raise SystemExit(message)
    return found


def answers(port: int, expression: str, name: str) -> Iterator[Series]:
    for variable, value in (("$__rate_interval", "15s"), ("$job", ".*"), ("$model", ".*")):
        expression = expression.replace(variable, value)
    end = time.time()
    asked = {"query": expression, "start": end - SECONDS + 15, "end": end, "step": 2}
    url = f"http://127.0.0.1:{port}/api/v1/query_range?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url) as answer:
        for result in json.load(answer)["data"]["result"]:
            shown = name
            for label, value in result["metric"].items():
                shown = shown.replace(f"{{{{{label}}}}}", value)
            points = [(at - asked["start"], float(value)) for at, value in result["values"]]
            yield Series(shown, [point for point in points if point[1] == point[1]])  # no NaN


def page(found: dict[int, list[Series]]) -> str:
    figures = []
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        series = [one for one in found[panel["id"]] if one.points]
        times = [at for one in series for at, _ in one.points]
        values = [value for one in series for _, value in one.points]
        x = linear("seconds", times, lambda at: f"{at:g}")
        y = linear("", values, lambda value: f"{value:,.4g}")
        chart = lines(panel["title"], series, x, y)
        figures.append(
            f'<section class="figure"><h2>{escape(panel["title"])}</h2>{chart}</section>'
        )
    look = CSS + "main{grid-template-columns:1fr 1fr 1fr;max-width:1500px}"
    return (
        f'<!doctype html><meta charset="utf-8"><style>{look}</style><main>{"".join(figures)}</main>'
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as place:
        found = trio.run(observe, 9595, Path(place))
    folder.mkdir(parents=True, exist_ok=True)
    html, png = folder / "dashboard.html", folder / "dashboard.png"
    html.write_text(page(found))
    chromium = shutil.which("chromium") or "chromium-browser"
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--hide-scrollbars",
        "--window-size=1500,1330",
    ]
    subprocess.run([*command, f"--screenshot={png}", html.resolve().as_uri()], check=True)


if __name__ == "__main__":
    main()
