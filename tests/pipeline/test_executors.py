"""Where work runs, and what a worker's end means. Deaths of every kind are goal R6."""

from __future__ import annotations

import time

import pytest
from reliability import faulty_work

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
