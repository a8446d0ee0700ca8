"""Errors go from one process to another whole: class, message, hint, errno and their own fields."""

from __future__ import annotations

import errno
import inspect
import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import pytest

from facesdk import errors
from facesdk.errors import EnrollmentError, FaceSdkError, LockedOutError, PassphraseRequiredError, Reason

CLASSES = sorted(
    (k for k in vars(errors).values() if inspect.isclass(k) and issubclass(k, FaceSdkError)), key=lambda k: k.__name__
)


def example(kind: type[FaceSdkError]) -> FaceSdkError:
    """An error of this class with every field that it has."""
    hint = "try something else"
    if kind is EnrollmentError:
        return EnrollmentError("no picture was good enough", ("picture 1: blurred",), hint=hint)
    if kind is PassphraseRequiredError:
        return PassphraseRequiredError(Reason.PANIC, hint=hint)
    if kind is LockedOutError:
        return LockedOutError(30.5, hint=hint)
    error = kind("something went wrong", hint=hint)
    if isinstance(error, OSError):
        error.errno = errno.ENOSPC
    return error


def fields(error: BaseException) -> tuple[object, ...]:
    return type(error), str(error), error.args, vars(error), getattr(error, "errno", None)


def throw(name: str) -> None:
    raise example(getattr(errors, name))


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(kind: type[FaceSdkError], protocol: int) -> None:
    error = example(kind)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert fields(again) == fields(error)
    assert again.hint == "try something else"
    assert fields(pickle.loads(pickle.dumps(again, protocol))) == fields(error)


def test_from_worker_processes() -> None:
    """The good case first: a result arrives; then each error does, from either kind of pool."""
    context = multiprocessing.get_context("spawn")
    names = [kind.__name__ for kind in CLASSES]
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert executor.submit(len, names).result(60) == len(names)
        for name in names:
            with pytest.raises(FaceSdkError) as caught:
                executor.submit(throw, name).result(60)
            caught.value.__cause__ = None
            expected, found = fields(example(getattr(errors, name))), fields(caught.value)
            assert found[:3] == expected[:3]
            assert found[4] == expected[4]
    with context.Pool(1) as pool:
        for name in names:
            with pytest.raises(FaceSdkError) as caught:
                pool.apply_async(throw, (name,)).get(60)
            assert fields(caught.value)[:3] == fields(example(getattr(errors, name)))[:3]
            assert caught.value.hint == "try something else"


def test_a_hint_is_told_apart_from_the_message() -> None:
    with_hint, without = errors.VaultError("it is full", hint="free some space"), errors.VaultError("it is full")
    assert (str(with_hint), with_hint.message) == ("it is full; free some space", "it is full")
    assert (str(without), without.message, without.hint) == ("it is full", "it is full", None)
    assert LockedOutError(30).retry_after_s == 30
    assert PassphraseRequiredError("locked on request").reason is Reason.LOCKED
