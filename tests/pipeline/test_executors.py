"""Where work runs, and what a worker's end means. Deaths of every kind are goal R6."""

from __future__ import annotations

import time

import pytest
from reliability import faulty_work
from reliability.small_night import differences

from lightwatch.errors import ConfigError
from lightwatch.pipeline.executors import SerialExecutor, WorkerPool, worker_count
from lightwatch.pipeline.task import Outcome
from lightwatch.structure.config import Executor as ExecutorSettings


def test_serial_executor_carries_exceptions():
    future = SerialExecutor().submit(int, "x")
    assert isinstance(future.exception(), ValueError)


def test_workers_are_as_many_as_the_work_is_worth():
    """A worker starts with a second of imports: a few frames get one, many get what is configured."""
    settings = ExecutorSettings(jobs=4)
    assert [worker_count(settings, n) for n in (0, 1, 20, 40, 1000)] == [1, 1, 1, 2, 4]


def test_pool_uses_the_executor_that_it_is_given():
    class Counting(SerialExecutor):
        n = 0

        def submit(self, fn, /, *args, **kwargs):
            self.n += 1
            return super().submit(fn, *args, **kwargs)

    executor = Counting()
    with WorkerPool(ExecutorSettings(), executor) as pool:
        outcomes = dict(pool.outcomes(lambda job: Outcome(output=job * 2), [1, 2, 3]))
    assert {i: o.output for i, o in outcomes.items()} == {0: 2, 1: 4, 2: 6}
    assert executor.n == 3


def test_ctrl_c_stops_a_serial_run():
    def interrupted(_job):
        raise KeyboardInterrupt

    with WorkerPool(ExecutorSettings(kind="serial")) as pool, pytest.raises(KeyboardInterrupt):
        list(pool.outcomes(interrupted, [1, 2]))


def test_hanging_job_is_found_while_others_end():
    """Its clock is its own: that others make progress does not give it more time."""
    jobs = ["good", "hang", *["good"] * 400]
    begun = time.monotonic()
    with WorkerPool(ExecutorSettings(jobs=2, frame_timeout_seconds=4.0)) as pool:
        ends = [(time.monotonic() - begun, i, o) for i, o in pool.outcomes(faulty_work.compute, jobs)]
    assert sorted(i for _, i, _ in ends) == list(range(len(jobs)))
    after, outcome = next((seconds, o) for seconds, i, o in ends if jobs[i] == "hang")
    assert outcome.reason_code == "timeout"
    assert after < ends[-1][0], "found before the others were through"
    assert sum(o.state == "done" for _, _, o in ends) == len(jobs) - 1


# ---------------------------------------------------------------- Dask
@pytest.fixture(scope="module")
def scheduler():
    """Address of a scheduler with one worker of two threads, all in this process."""
    distributed = pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
    arguments = {"n_workers": 1, "threads_per_worker": 2, "processes": False, "dashboard_address": None}
    with distributed.LocalCluster(host="127.0.0.1", protocol="tcp", **arguments) as cluster:
        yield cluster.scheduler_address


def test_dask_computes_and_tells_what_fails(scheduler):
    """Also after the connection was given up and made anew; an exit in a job does not stop the worker."""
    settings = ExecutorSettings(kind="dask", dask_scheduler=scheduler, frame_timeout_seconds=20.0)
    jobs = ["good", "exception", "exits politely", "good"]
    with WorkerPool(settings) as pool:
        outcomes = dict(pool.outcomes(faulty_work.compute, jobs))
        pool.release()
        again = dict(pool.outcomes(faulty_work.compute, ["good"] * 3))
    assert [outcomes[i].reason_code for i in range(4)] == [None, "ZeroDivisionError", "SystemExit", None]
    assert [outcomes[i].output for i in (0, 3)] == ["good", "good"]
    assert {i: o.output for i, o in again.items()} == {0: "good", 1: "good", 2: "good"}


def test_dask_gives_the_results_of_a_serial_run(scheduler, empty_workdir):
    """Two frames through the import and plate solving; every row is the same."""
    found = []
    for name, kind in (("serial", "kind: serial"), ("dask", f'kind: dask, dask_scheduler: "{scheduler}"')):
        workdir = empty_workdir([0, 1], name)
        workdir.configure("kind: serial", kind)
        assert workdir.run(stop="plate_solving").exit_code == 0
        found.append({table: rows for table, rows in workdir.results().items() if table != "files"})
    assert len(found[0]["frames"]) == 2
    assert differences(*found) == []


def test_dask_that_cannot_be_reached_is_a_config_error(scheduler):
    settings = ExecutorSettings(kind="dask", dask_scheduler="no-scheme://x")
    with (
        WorkerPool(settings) as pool,
        pytest.raises(ConfigError, match=r"executor\.dask_scheduler: no-scheme"),
    ):
        list(pool.outcomes(faulty_work.compute, ["good"]))


def test_dask_needs_an_address():
    with WorkerPool(ExecutorSettings(kind="dask")) as pool, pytest.raises(ConfigError, match="is required"):
        list(pool.outcomes(faulty_work.compute, ["good"]))
