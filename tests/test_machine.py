import os
import subprocess
import sys

from vidbench import machine


def test_the_quota_of_a_container_counts(tmp_path):
    assert machine.cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert machine.cgroup_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cgroup_quota(tmp_path) is None
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("400000")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000")
    assert machine.cgroup_quota(tmp_path) == 4.0


def test_the_affinity_counts(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3})
    assert machine.usable_cpus() == 1


def test_held_stderr_is_shown_only_on_failure():
    code = (
        "import os\nfrom vidbench.machine import stderr_held\n"
        "with stderr_held(): os.write(2, b'noise')\n"
        "try:\n with stderr_held():\n  os.write(2, b'why'); raise OSError\nexcept OSError: pass\n"
        "os.write(2, b' after')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "why after"


def test_peak_memory_grows_with_what_is_used():
    code = (
        "from vidbench.machine import peak_memory_mb\n"
        "before = peak_memory_mb(); data = bytearray(200_000_000); print(peak_memory_mb() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 150 < int(done.stdout) < 300


def test_a_process_that_shares_the_machine_takes_its_part(monkeypatch):
    monkeypatch.setattr(machine, "_most_cpus", None)
    whole = machine.usable_cpus()
    machine.limit_cpus(1)
    assert machine.usable_cpus() == 1
    machine.limit_cpus(whole + 5)
    assert machine.usable_cpus() == whole
