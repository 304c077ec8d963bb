"""A run that another process keeps open; a module that can be imported where tests are not."""

from redistill.training.loop import distill


def hold(path, config, ready, leave) -> None:
    """Begin a run, say so by `ready`, and close it when `leave` is set."""
    run = distill(config, path)
    next(run)
    ready.set()
    leave.wait()
    run.close()
