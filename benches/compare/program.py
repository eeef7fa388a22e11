"""Atalaya's side of a comparison: builds `kmeans-bench` and sends it requests."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from environment import ROOT


# Cargo builds a dependency with the features that all packages named here ask of it. Of `clustering` alone that would be
# fewer, and another build of everything.
KMEANS_BENCH = ["-p", "clustering", "-p", "trainer", "--example", "kmeans-bench"]
TRAINER = ["-p", "trainer", "--bin", "trainer"]


def build(target: list[str], features: str | None = None) -> Path:
    """Builds a program, reusing what `cargo test` and `cargo run` have built; returns its path."""
    return Path(artifacts(["build", *target], features)[-1]["executable"])


def artifacts(command: list[str], features: str | None = None) -> list[dict[str, Any]]:
    """What cargo says of each executable that a command builds."""
    cargo = shutil.which("cargo") or str(Path.home() / ".cargo/bin/cargo")
    command = [cargo, *command, "--message-format=json-render-diagnostics"]
    if features:
        command += ["--features", ",".join(f"trainer/{feature}" for feature in features.split(","))]
    try:
        result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, env=outside_of_cargo(), text=True)
    except FileNotFoundError:
        sys.exit("error: cargo is missing: install Rust as README.md says")
    if result.returncode != 0:
        sys.exit(f"error: `{' '.join(command)}` failed")
    messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    return [message for message in messages if message.get("executable")]


def outside_of_cargo() -> dict[str, str]:
    """The environment without the variables of an outer cargo, which would make build scripts run again."""
    kept = ("CARGO_HOME", "CARGO_TARGET_DIR")
    return {k: v for k, v in os.environ.items() if k in kept or not (k.startswith("CARGO") or k == "LD_LIBRARY_PATH")}


class Program:
    """`kmeans-bench serve`: a process that holds the points, so that each request is one timed call."""

    def __init__(self, executable: Path, threads: int, device: str = "cpu") -> None:
        environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
        command = [str(executable), "serve", "--device", device]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )

    def ask(self, *words: object) -> dict[str, Any]:
        """The answer to a request; see `shared/clustering/examples/kmeans-bench/serve.rs`."""
        assert self.process.stdin and self.process.stdout
        print(*words, sep="\t", file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"error: kmeans-bench ended with {self.process.wait()} at the request {words}")
        return json.loads(line)

    def close(self) -> None:
        """Ends the process."""
        self.process.communicate()


# Asked for in one build, so that what they share is built once.
PROGRAMS = ["trainer", "scorer"]


def build_all(names: list[str]) -> dict[str, Path]:
    """Builds programs of the workspace, by package name; returns their paths."""
    target = [part for name in names for part in ("-p", name)]
    build([*target, "--bins"])
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"
    return {name: folder / name for name in names}
