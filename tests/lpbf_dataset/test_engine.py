"""Tasks in one process and in many: results, failures of one task alone, nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

import lpbf_dataset
from lpbf_dataset.engine import EngineError, TaskError, open_engine

pytest.importorskip("distributed")

import dask
import psutil
from distributed import LocalCluster

import lpbf_dataset.engine.cluster
import lpbf_dataset.engine.distributed

CLUSTER = {
    "threads_per_worker": 1,
    "protocol": "tcp",
    "memory_limit": 0,
    "silence_logs": "CRITICAL",
    "dashboard_address": None,
    "scheduler_kwargs": {"dashboard_address": "127.0.0.1:0"},
}


def square(number):
    return number**2


def fail_at_five(number):
    if number == 5:
        raise KeyError("five")
    return number


def die_at_five(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(mark, number):
    if number == 5 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def hang_at_five(number):
    if number == 5:
        time.sleep(1000)
    return number


def leave_mark(folder, number):
    (folder / str(number)).touch()
    return number


def allocate(mebibytes):
    block = bytearray(mebibytes << 20)
    time.sleep(0.5)
    return len(block) >> 20


def describe_process(_):
    threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
    return os.getpid(), threads


def unchanged(item):
    return item


def expect_one_error(results, kind, count=20):
    """Check that item 5 has an error and the others their own number."""
    error = results.pop(5)
    assert isinstance(error, TaskError)
    assert error.kind == kind
    assert results == {number: number for number in range(count) if number != 5}
    return error


@pytest.fixture(scope="module")
def engine():
    with open_engine(workers=2, memory_limit="600 MiB") as engine:
        yield engine


@pytest.fixture(scope="module")
def scheduler():
    """Return the address of a running cluster."""
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"}),
        LocalCluster(n_workers=2, **CLUSTER) as cluster,
    ):
        yield cluster.scheduler_address


def test_one_worker_is_this_process_and_needs_no_dask():
    script = """
import os, sys
from lpbf_dataset.engine import open_engine
with open_engine(workers=1) as engine:
    assert list(engine.map(lambda _: os.getpid(), "ab")) == [(0, os.getpid()), (1, os.getpid())]
sys.exit(bool({"distributed", "dask"} & set(sys.modules)))
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_one_worker_runs_a_task_when_its_result_is_asked_for():
    called = []
    with open_engine() as engine:
        results = engine.map(called.append, [3, 4])
        assert called == []
        assert next(results) == (0, None)
        assert called == [3]
        with pytest.raises(KeyError, match="five"):
            list(engine.map(fail_at_five, range(9)))


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "lpbf_dataset.engine.cluster")
    with pytest.raises(EngineError, match=r"pip install 'lpbf-toolkit\[distributed\]'"), open_engine(2):
        pass


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheduler": "tcp://127.0.0.1:9", "workers": 2}, "set where the workers .* are started"),
        ({"scheduler": "tcp://127.0.0.1:9"}, "no Dask scheduler answers at tcp://127.0.0.1:9"),
        ({"scheduler": "nonsense"}, "no Dask scheduler answers at nonsense"),
        ({"memory_limit": "four"}, "memory limit 'four'"),
    ],
)
def test_options_that_cannot_work_are_refused(options, message, monkeypatch):
    monkeypatch.setattr(lpbf_dataset.engine.cluster, "CONNECT_TIMEOUT", 0.2)
    with pytest.raises(EngineError, match=message) as caught, open_engine(**options):
        pass
    assert "\n" not in str(caught.value)


def test_each_item_has_its_result(engine):
    assert dict(engine.map(square, range(50))) == {number: number**2 for number in range(50)}
    assert list(engine.map(square, [])) == []


def test_items_arrive_as_they_are(engine):
    items = [(len, [1, 2]), {"function": (len, (1,))}, "text", None]
    assert dict(engine.map(unchanged, items)) == dict(enumerate(items))


def test_workers_are_processes_of_one_thread_and_this_one_is_left_alone(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    before = dict(os.environ)
    with open_engine(workers=1, timeout=60.0) as engine:
        ((_, (process, threads)),) = engine.map(describe_process, [0])
    assert process != os.getpid()
    assert threads["OMP_NUM_THREADS"] == threads["MKL_NUM_THREADS"] == threads["NUMBA_NUM_THREADS"] == "1"
    assert dict(os.environ) == before


def test_an_event_loop_may_take_its_time_to_start(monkeypatch):
    def refuse(**_):
        raise AssertionError("this loop of Dask's has to start within 10 s")

    monkeypatch.setattr("distributed.utils._CollectErrorThread", refuse)
    before = set(threading.enumerate())
    with open_engine(workers=2) as engine:
        assert dict(engine.map(square, range(3))) == {0: 0, 1: 1, 2: 4}
        started = set(threading.enumerate()) - before
        (loop,) = (thread for thread in started if thread.name == "event loop of Dask")
    assert not loop.is_alive()


def test_an_exception_is_a_bug_and_ends_the_map(engine):
    with pytest.raises(KeyError, match="five"):
        list(engine.map(fail_at_five, range(20)))
    assert len(list(engine.map(square, range(5)))) == 5


def test_a_task_that_kills_its_process_fails_alone(engine):
    error = expect_one_error(dict(engine.map(die_at_five, range(20))), "worker_died")
    assert "killed twice" in error.detail


def test_a_task_whose_process_was_killed_is_tried_again(engine, tmp_path):
    results = dict(engine.map(partial(die_once, tmp_path / "died"), range(20)))
    assert (tmp_path / "died").exists()
    assert results == {number: number for number in range(20)}


def test_workers_do_not_run_far_ahead_of_the_caller(engine, tmp_path):
    results = engine.map(partial(leave_mark, tmp_path), range(100))
    for taken in range(1, 6):
        next(results)
        time.sleep(0.1)
        # Two workers, each with an item; more than two results stop them.
        assert len(list(tmp_path.iterdir())) <= taken + 6
    assert len(list(results)) == 95


def test_a_process_beyond_its_memory_is_killed(engine):
    results = dict(engine.map(allocate, [1, 700, 2]))
    assert (results[0], results[2]) == (1, 2)
    assert results[1].kind == "worker_died"


def test_a_running_cluster_is_used_and_stays(scheduler):
    for _ in range(2):
        with open_engine(scheduler=scheduler) as engine:
            assert dict(engine.map(square, range(9))) == {number: number**2 for number in range(9)}


def test_a_task_that_hangs_fails_alone(scheduler):
    with open_engine(scheduler=scheduler, timeout=1.0) as engine:
        error = expect_one_error(dict(engine.map(hang_at_five, range(20))), "timed_out")
    assert error.detail == "it ran for longer than 1 s"


def test_waiting_does_not_count_as_running(scheduler):
    with open_engine(scheduler=scheduler, timeout=1.0) as engine:
        results = dict(engine.map(time.sleep, [0.3] * 10))
    assert set(results.values()) == {None}


def test_a_poisonous_task_fails_alone_on_a_cluster_with_other_settings(scheduler):
    with open_engine(scheduler=scheduler) as engine:
        expect_one_error(dict(engine.map(die_at_five, range(20))), "worker_died")


@pytest.mark.slow
def test_what_was_left_running_is_stopped(scheduler):
    with open_engine(scheduler=scheduler) as engine:
        for _, _process in engine.map(hang_at_five, [0, 5, 5]):
            break
        # Both workers would be busy for long.
        assert dict(engine.map(square, range(4))) == {number: number**2 for number in range(4)}


def test_a_cluster_without_workers_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(lpbf_dataset.engine.distributed, "NO_WORKER_TIMEOUT", 0.2)
    with (
        LocalCluster(n_workers=0, **CLUSTER) as cluster,
        open_engine(scheduler=cluster.scheduler_address) as engine,
        pytest.raises(EngineError, match="has no workers: start some with 'dask worker tcp://"),
    ):
        list(engine.map(square, range(3)))


def test_a_lost_scheduler_ends_the_map():
    cluster = LocalCluster(n_workers=1, processes=False, **CLUSTER)
    with cluster, open_engine(scheduler=cluster.scheduler_address) as engine:
        results = engine.map(square, range(1000))
        next(results)
        cluster.close()
        with pytest.raises(EngineError, match="does not answer any more"):
            list(results)


def test_a_worker_that_cannot_be_stopped_ends_the_map():
    cluster = LocalCluster(n_workers=1, processes=False, **CLUSTER)
    with (
        cluster,
        open_engine(scheduler=cluster.scheduler_address, timeout=0.1) as engine,
        pytest.raises(EngineError, match="has no nanny"),
    ):
        list(engine.map(time.sleep, [2.0] * 9))


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_nothing_is_left_running_when_interrupted(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import signal, time\n"
        "from lpbf_dataset.engine import open_engine\n"
        "if __name__ == '__main__':\n"
        # What a shell runs in the background ignores the signal, and so would this.
        "    signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "    with open_engine(workers=2, timeout=1000.0) as engine:\n"
        "        print('ready', flush=True)\n"
        "        list(engine.map(time.sleep, [1000.0] * 9))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(lpbf_dataset.__file__).parents[1])}
    with subprocess.Popen(
        [sys.executable, script], env=environment, stdout=-1, stderr=-1, text=True, start_new_session=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.5)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2
        # As a terminal does it: to all processes at once.
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=30)
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
    assert messages.count("Traceback") == 1
    assert messages.rstrip().endswith("KeyboardInterrupt")
