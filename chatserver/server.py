"""The process around the server: its loop, signals, sockets and database, and how it ends.

`serving.py` is what happens as long as these are there.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from chatserver import logs
from chatserver.errors import ConfigurationError
from chatserver.listening import listen
from chatserver.settings import Settings
from chatserver.settings_tables import ProviderSettings
from chatserver.storage.postgres.embedded import StartGivenUpError
from chatserver.storage.postgres.provision import ProvidedDatabase, provided_database

logger = logging.getLogger(__name__)

# SIGHUP: the terminal is gone.
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# These would kill the process, and mean nothing to it. Signals of faults keep their effect; SIGABRT leaves a core.
_OTHER_SIGNALS = ("QUIT", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "STKFLT", "XCPU")
# Open files besides those of streams: connections to models and the database, requests, logs.
OTHER_FILES = 2_048
# How long a start that is given up may take to end, and threads after everything else has ended.
GIVE_UP_SECONDS = 3.0
THREAD_SECONDS = 1.0

LOCAL_PROVIDER = "local"


def serve(settings: Settings, *, reuse_port: bool, local_model: bool) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP; the exit status.

    Raises ConfigurationError if the server cannot start.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, reuse_port=reuse_port, local_model=local_model))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve(settings: Settings, *, reuse_port: bool, local_model: bool) -> int:
    logs.catch_unhandled()
    stop = asyncio.Event()
    handled = _handle_signals(stop)
    _raise_file_limit(settings.max_streams + OTHER_FILES)
    threads = ThreadPoolExecutor(thread_name_prefix="server")
    asyncio.get_running_loop().set_default_executor(threads)
    try:
        await _run(settings, stop, reuse_port=reuse_port, local_model=local_model)
    except StartGivenUpError:
        if not stop.is_set():
            raise
    logger.info("stopped")
    _ignore_signals(handled)
    threads.shutdown(wait=False, cancel_futures=True)
    _leave_stuck_threads()
    return 0


async def _run(settings: Settings, stop: asyncio.Event, *, reuse_port: bool, local_model: bool) -> None:
    """Start, wait for `stop`, and stop. Raises ConfigurationError."""
    async with AsyncExitStack() as stack:
        sockets = listen(settings, reuse_port=reuse_port)
        for listener in sockets:
            stack.callback(listener.close)
        # Most of a start is loading modules. It goes on while PostgreSQL starts.
        loading = asyncio.get_running_loop().run_in_executor(None, _load)
        database = await stack.enter_async_context(_database(settings, stop))
        if local_model:
            settings = await stack.enter_async_context(_with_local_model(settings))
        serve = await loading
        await serve(settings, database, sockets, stop, local_provider=LOCAL_PROVIDER if local_model else None)


def _load() -> Callable[..., Coroutine[Any, Any, None]]:
    """`serving.serve`."""
    from chatserver.serving import serve

    return serve


# --- signals ----------------------------------------------------------------------------------------------


def _handle_signals(stop: asyncio.Event) -> list[int]:
    """Have `stop` set by the signals that stop the server, and others do nothing; the numbers of all of them."""
    loop = asyncio.get_running_loop()
    stopping: list[int] = list(_STOP_SIGNALS)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # started by nohup, to outlive its terminal
        stopping.remove(signal.SIGHUP)
    names = [f"SIG{name}" for name in _OTHER_SIGNALS]
    others: list[int] = [getattr(signal, name) for name in names if hasattr(signal, name)]
    others += range(signal.SIGRTMIN, signal.SIGRTMAX + 1) if sys.platform == "linux" else ()
    for number in stopping:
        # A second one changes nothing.
        loop.add_signal_handler(number, stop.set)
    for number in others:
        # A handler, not SIG_IGN, which child processes would inherit.
        loop.add_signal_handler(number, logger.info, "signal %d has no effect", number)
    return stopping + others


def _ignore_signals(numbers: list[int]) -> None:
    """Closing the loop restores the default handlers, and a further signal would kill the process: ignore it."""
    loop = asyncio.get_running_loop()
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)


# --- start ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _database(settings: Settings, stop: asyncio.Event) -> AsyncIterator[ProvidedDatabase]:
    """`provided_database` on a thread: signals are handled meanwhile.

    Raises StartGivenUpError if `stop` is set before the database is ready.
    """
    loop = asyncio.get_running_loop()
    given_up = threading.Event()
    database = provided_database(settings, given_up)
    entering: asyncio.Future[Any] = loop.run_in_executor(None, database.__enter__)
    stopping: asyncio.Future[Any] = loop.create_task(stop.wait())
    await asyncio.wait([entering, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    given_up.set()
    await asyncio.wait({entering}, timeout=GIVE_UP_SECONDS)
    if not entering.done():
        raise StartGivenUpError
    provided = entering.result()
    if provided.note is not None:
        logger.info(provided.note)
    try:
        yield provided
    finally:
        await loop.run_in_executor(None, database.__exit__, None, None, None)


@asynccontextmanager
async def _with_local_model(settings: Settings) -> AsyncIterator[Settings]:
    """The settings, with a provider for a small model that runs beside the server until the end.

    It answers by default, unless the settings name another provider.
    """
    from chatserver.local_model import start_local_model

    if LOCAL_PROVIDER in settings.providers:
        raise ConfigurationError(f"--local-model: there is a provider {LOCAL_PROVIDER} already")
    model = await start_local_model()
    try:
        provider = ProviderSettings(kind="openai", base_url=model.base_url, model=model.model)
        providers = {**settings.providers, LOCAL_PROVIDER: provider}
        default = settings.default_provider or LOCAL_PROVIDER
        yield settings.model_copy(update={"providers": providers, "default_provider": default})
    finally:
        await model.stop()


def _raise_file_limit(files: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        if wanted < files:
            logger.warning("only %d files may be open: too few for max_streams", wanted)


# --- stop -------------------------------------------------------------------------------------------------


def _leave_stuck_threads() -> None:
    """End the process now if threads do not end: they wait for a name server, or for a database that hangs.

    The interpreter would wait for them.
    """
    deadline = time.monotonic() + THREAD_SECONDS
    stuck = [
        thread for thread in threading.enumerate() if thread is not threading.current_thread() and not thread.daemon
    ]
    for thread in stuck:
        thread.join(max(0.0, deadline - time.monotonic()))
    if any(thread.is_alive() for thread in stuck):
        logger.warning("threads that do not end are left behind")
        logs.release(background=True)
        logs.close()
        os._exit(0)
