"""A process that writes to a workdir's database without pause, as a run in full swing does.

    python busy_writer.py WORKDIR SECONDS

It rewrites results of frames as the runner does, and adds a numbered row in each transaction. After every commit it
prints the number and the time (monotonic); at the end how many transactions failed and how large the log is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sqlalchemy import insert, select, update

from lightwatch.errors import LightwatchError
from lightwatch.structure.database import checkpoint, open_engine, transaction
from lightwatch.structure.schema import star_flux_in_frame, task_errors, task_results

_FRAMES = 16


def main() -> None:
    path, seconds = Path(sys.argv[1]) / "database.sqlite3", float(sys.argv[2])
    engine = open_engine(f"sqlite:///{path}")
    t = task_results
    with engine.connect() as connection:
        n_frames = len(connection.execute(select(t.c.frame_id).distinct()).all())
        tasks = connection.execute(select(t.c.task).distinct()).scalars().all()
    begun, number, failed = time.monotonic(), 0, 0
    while time.monotonic() - begun < seconds:
        number += 1
        first = number * _FRAMES % max(n_frames, 1)
        frames, task = range(first, first + _FRAMES), tasks[number % len(tasks)]
        try:
            with transaction(engine) as connection:
                results = update(t).where(t.c.task == task, t.c.frame_id.in_(frames))
                connection.execute(results.values(seconds=float(number)))
                fluxes = update(star_flux_in_frame).where(star_flux_in_frame.c.frame_id.in_(frames))
                connection.execute(fluxes.values(dx=float(number)))
                row = {
                    "task": "t",
                    "item": str(number),
                    "reason_code": "x",
                    "message": "m",
                    "at": "",
                    "recipe": "r",
                }
                connection.execute(insert(task_errors).values(row))
        except LightwatchError:
            failed += 1
        else:
            print(number, time.monotonic(), flush=True)
    log = path.with_name(path.name + "-wal")
    grown = log.stat().st_size
    checkpoint(engine)
    print("end", failed, grown, log.stat().st_size, flush=True)


if __name__ == "__main__":
    main()
