"""Finds out, as far as examples can, whether a reduction may be run in steps: whether its function is associative.

It raises rather than asserts: pytest rewrites the asserts of an installed plugin's package, and would add to the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Sequence

from palm.core.folding import REDUCE
from palm.runtime.functions import functions_of, listed_by_default
from palm.runtime.traits import traits_of

if TYPE_CHECKING:
    from hypothesis import strategies as st

EXAMPLES = 200

Pair = Callable[[bytes, bytes], Any]


def check_reduction(
    reduction: object, payloads: st.SearchStrategy[bytes] | Sequence[bytes], *, examples: int = EXAMPLES
) -> None:
    """Try to show that a reduction depends on its steps; AssertionError with the smallest example found.

    `reduction` is a `ReduceServer`, its class, or a function of two payloads. `payloads` are what messages hold: a
    Hypothesis strategy, or some of them. Needs Hypothesis (the extra `testing`).
    """
    from hypothesis import strategies as st  # here: whoever tests by scenarios alone need not have it

    server = reduction() if isinstance(reduction, type) else reduction
    drawn = payloads if isinstance(payloads, st.SearchStrategy) else st.sampled_from(list(payloads))
    if getattr(server, "kind", "") != REDUCE:
        if not callable(server):
            raise AssertionError(f"{reduction!r} is neither a ReduceServer nor a function of two payloads")
        _check(getattr(server, "__name__", "f"), server, None, drawn, examples)
        return
    key = traits_of(server).reducing
    for name, function in functions_of(server, listed_by_default(server)).items():
        pair: Pair = function  # type: ignore[assignment]  # a reducer's take two
        _check(name, pair, None if key is None else key.key, drawn, examples)


def _check(
    name: str, function: Pair, key: Callable[[bytes], object] | None, payloads: st.SearchStrategy[bytes], examples: int
) -> None:
    def called(one: bytes, other: bytes) -> bytes:
        result = function(one, other)
        if type(result) is not bytes:
            raise AssertionError(
                f"{name} returns {type(result).__name__}, bytes are needed: {name}({one!r}, {other!r}) = {result!r}"
            )
        return result

    def key_of(payload: bytes) -> object:
        found = None if key is None else key(payload)
        if not (found is None or isinstance(found, bytes | str)):
            raise AssertionError(
                f"key is {type(found).__name__}, bytes or str are needed: key({payload!r}) = {found!r}"
            )
        return found

    from hypothesis import HealthCheck, given, settings

    # Nothing is kept from one run to the next: a test of a user's is a function of the code.
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(payloads, payloads, payloads)
    def steps_do_not_matter(a: bytes, b: bytes, c: bytes) -> None:
        if len({key_of(a), key_of(b), key_of(c)}) > 1:
            return
        left, right = called(called(a, b), c), called(a, called(b, c))
        if left != right:
            raise AssertionError(
                f"{name} is not associative: {name}({name}({a!r}, {b!r}), {c!r}) = {left!r}, "
                f"but {name}({a!r}, {name}({b!r}, {c!r})) = {right!r} "
                "(let payloads hold what can be combined in any steps, as a sum and a count do for a mean)"
            )

    try:
        steps_do_not_matter()
    except AssertionError as error:
        raise AssertionError(str(error.args[0]) if error.args else name) from None
