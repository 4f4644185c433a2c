# SPDX-License-Identifier: Apache-2.0
"""examples/memtally.ipynb, executed by a real kernel: tables and plots where a person would see them."""

import os

import pytest
from wheel_build import ROOT, SITE, clean_environment

nbformat = pytest.importorskip("nbformat", reason="needs nbformat (requirements-dev.txt)")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient (requirements-dev.txt)")
pytest.importorskip("ipykernel", reason="needs ipykernel (requirements-dev.txt)")


@pytest.fixture
def executed(programs, tmp_path, monkeypatch):
    """The notebook with its outputs."""
    for name in set(os.environ) - set(clean_environment()):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONPATH", str(SITE))
    monkeypatch.setenv("MEMTALLY_DIR", str(programs.folder))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = nbformat.read(ROOT / "examples" / "memtally.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "it is kept without outputs"
    nbclient.NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell, kind):
    return "".join(output["data"].get(kind, "") for output in cell.outputs if "data" in output)


def test_the_notebook(executed):
    _, region, leaks, snapshot, holders, timeline = executed
    assert shown(region, "text/plain").startswith("peak 5 MiB (exact)") and "4 MiB" in shown(region, "text/html")
    table = shown(leaks, "text/html")
    assert "<table" in table and all(f"layer {number}" in table for number in range(4)) and "decode" in table
    assert "acme" in shown(snapshot, "text/html") and "<table" in shown(snapshot, "text/html")
    for plot in (holders, timeline):
        assert len(shown(plot, "image/png")) > 2000
    assert not any(output.output_type == "error" for cell in executed for output in cell.outputs)
