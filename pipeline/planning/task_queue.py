"""Videos that wait to be begun, one record at a time: a coordinator of a million questions starts at once."""

from collections.abc import Sequence

from pipeline.planning.task_table import TaskTable
from pipeline.planning.tasks import VideoTask


class TaskQueue:
    """Reads like a ``deque`` of tasks; a task of a ``TaskTable`` is built when its turn comes."""

    def __init__(self, tasks: Sequence[VideoTask]) -> None:
        self._tasks, self._num_taken = tasks, 0

    def popleft(self) -> VideoTask:
        """The task that has waited longest.

        Raises:
            IndexError: None is left.
        """
        task = self._tasks[self._num_taken]
        self._num_taken += 1
        return task

    def __len__(self) -> int:
        return len(self._tasks) - self._num_taken


def count_questions(tasks: Sequence[VideoTask]) -> int:
    """Over all tasks, without building any where they are columns."""
    return tasks.num_questions if isinstance(tasks, TaskTable) else sum(len(task.questions) for task in tasks)
