"""Runs the DAG of a file with Airflow and prints how it ended. With `--stop`, stops its task once its audit runs."""

import json
import runpy
import subprocess
import sys
import threading
import time
from pathlib import Path


def main() -> None:
    """Prints the state of the run, and the value of its task."""
    airflow = Path(sys.executable).with_name("airflow")
    for words in (("db", "migrate"), ("dags", "reserialize")):
        subprocess.run([airflow, *words], check=True, stdout=subprocess.DEVNULL)
    task = runpy.run_path(sys.argv[1])["audit"]
    if "--stop" in sys.argv:
        stop(task)
        return
    run = task.dag.test()
    print("state:", run.state)
    value = run.get_task_instance("audit").xcom_pull(task_ids="audit")
    print("value:", json.dumps(value))


def stop(task) -> None:  # type: ignore[no-untyped-def]
    """Starts the task in a thread, and stops it as Airflow does."""
    task.render_template_fields({"params": {"release": "1"}})
    threading.Thread(target=task.execute, args=({},), daemon=True).start()
    while task._audit_id is None:
        time.sleep(0.1)
    task.on_kill()
    print("stopped:", task._audit_id, flush=True)


if __name__ == "__main__":
    main()
