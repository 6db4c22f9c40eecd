"""Ctrl-C around jobs that are being started."""

import signal
import threading

import pytest

from genlab.jobs import held, listening, sharing

CTRL_C = {signal.SIGINT}


@pytest.fixture
def waiting():
    """Ctrl-C waits in this thread, which is the main one, and is answered as Python usually does."""
    assert threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CTRL_C)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    signal.signal(signal.SIGINT, handler)


def interrupt() -> None:
    """This thread, for of a process any thread may take it, as those of parallel tests do."""
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def blocked() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_one_that_has_waited_is_heard_and_the_next_waits_again(waiting):
    """A worker is sent it twice, by its terminal and by the sweep: the second must not meet joblib's own code."""
    interrupt()
    with pytest.raises(KeyboardInterrupt), listening():
        pass
    interrupt()
    assert blocked() and signal.sigpending() == CTRL_C
    with pytest.raises(KeyboardInterrupt), listening():  # lest it ends the session of these tests
        pass


def test_nobody_who_need_not_listen_does(waiting):
    with listening(False):
        assert blocked()
    with held(False):
        assert blocked()


def test_it_waits_within_the_block_and_is_heard_at_its_end(waiting):
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CTRL_C)
    inside = []
    with pytest.raises(KeyboardInterrupt):
        with held():
            interrupt()
            inside.append(blocked())
        inside.append("past the block")
    assert inside == [True] and not blocked()


def test_a_library_that_fails_when_it_is_broken_off_is_interrupted_all_the_same():
    """So that how far a sweep has come is told."""
    with pytest.raises(KeyboardInterrupt), sharing():
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("cannot be left")
    with pytest.raises(RuntimeError, match="by itself"), sharing():
        raise RuntimeError("by itself")
