from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
import torch

from nnunet_fess.doctor import machine


@pytest.mark.parametrize(("system", "level"), [("Linux", "fine"), ("Windows", "warning"), ("Darwin", "warning")])
def test_systems_that_were_not_tested(monkeypatch, system, level):
    monkeypatch.setattr(machine.platform, "system", lambda: system)
    assert machine.system().level == level


def gpu_of(monkeypatch, gigabytes: float):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Test GPU")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=gigabytes * 1e9))


@pytest.mark.parametrize(("gigabytes", "level"), [(24, "fine"), (4, "warning")])
def test_a_gpu(monkeypatch, gigabytes, level):
    gpu_of(monkeypatch, gigabytes)
    assert machine.gpu().level == level


def test_no_gpu_is_a_warning_that_says_how_to_go_on(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "nnunet_fess plans --cpu" in machine.gpu().advice


@pytest.mark.parametrize(("value", "level"), [("f", "fine"), ("yes", "warning")])
def test_the_variable_of_compilation(monkeypatch, value, level):
    monkeypatch.setenv("nnUNet_compile", value)
    assert machine.compilation().level == level


def test_compilation_without_a_compiler(monkeypatch):
    monkeypatch.delenv("nnUNet_compile", raising=False)
    gpu_of(monkeypatch, 24)
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    assert "a C compiler" in machine.compilation().found


@pytest.mark.parametrize(("value", "level"), [("many", "wrong"), ("0", "warning"), ("4", "fine")])
def test_augmentation_processes(monkeypatch, value, level):
    monkeypatch.setenv("nnUNet_n_proc_DA", value)
    assert machine.workers().level == level


@pytest.mark.parametrize(("encoding", "level"), [("cp1252", "warning"), ("ascii", "warning"), ("utf-8", "fine")])
def test_the_terminal(monkeypatch, encoding, level):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding))
    assert machine.output().level == level
