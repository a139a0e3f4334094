"""What the machine can do, and how TensorFlow is told."""

import subprocess
import sys

from vidbench.runtimes import has_arithmetic


def test_what_a_processor_multiplies_in_is_read_from_its_flags(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("flags\t\t: fpu avx2 avx512f\n")
    assert not has_arithmetic("bfloat16", info) and not has_arithmetic("int8", info)
    assert has_arithmetic("float32", info)
    info.write_text("flags\t\t: fpu avx512f avx512_bf16 gfni\n")
    assert has_arithmetic("bfloat16", info) and not has_arithmetic("int8", info)
    info.write_text("flags\t\t: fpu avx2 avx_vnni\n")
    assert has_arithmetic("int8", info) and not has_arithmetic("bfloat16", info)
    assert not has_arithmetic("int8", tmp_path / "missing")


def test_threads_are_the_usable_cpus_and_a_late_call_is_no_error():
    code = (
        "import tensorflow as tf; from unittest import mock; from vidbench.runtimes import devices;"
        "mock.patch.object(devices, 'usable_cpus', lambda: 3).start();"
        "devices.use_all_cpus();"
        "print(tf.config.threading.get_intra_op_parallelism_threads());"
        "tf.constant(1) + 1;"
        "mock.patch.object(devices, 'usable_cpus', lambda: 5).start();"
        "devices.use_all_cpus();"
        "print(tf.config.threading.get_intra_op_parallelism_threads())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3"]
