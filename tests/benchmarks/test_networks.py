from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import networks


def test_every_network_is_measured_beside_the_u_net(monkeypatch, capsys):
    small = {name: replace(network, full=network.small) for name, network in networks.NETWORKS.items()}
    monkeypatch.setattr(networks, "NETWORKS", small)
    monkeypatch.setattr(networks, "peak_memory", lambda name, options: 2**20 * (1 + len(name)))  # needs a process each
    for variable in ("raw", "preprocessed", "results"):
        monkeypatch.setenv(f"nnUNet_{variable}", "")  # put back after the benchmark has set its own
    size = ["--size", "32", "32", "32", "--features", "4", "8", "8"]
    assert networks.main([*size, "--device", "cpu", "--rounds", "1", "--warmup", "0"]) == 0
    table = capsys.readouterr().out
    assert all(f"| `{name}` |" in table for name in networks.NAMES)
    assert "| `unet` | 0.0 M" in table
    assert "| 1.00 | 1.00 × |" in table
