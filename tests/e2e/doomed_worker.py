"""What a Dask worker preloads to be killed in mid-run."""

#: A Dask worker that is killed in the middle of its fourth task.
DOOMED = """
import os, signal
from distributed import WorkerPlugin

class Doom(WorkerPlugin):
    begun = 0

    def transition(self, key, start, finish, **kwargs):
        self.begun += finish == "executing"
        if self.begun == 4:
            os.kill(os.getpid(), signal.SIGKILL)

async def dask_setup(worker):
    await worker.plugin_add(Doom())
"""
