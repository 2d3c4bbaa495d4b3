"""Options of lists and watches: refusals, defaults and what they mean in revisions."""

import pytest

from apiserver.api.status import StatusError
from apiserver.storage import ListOptions, WatchOptions
from apiserver.storage.continue_token import decode_continue, encode_continue
from apiserver.storage.options import (
    ListPlan,
    default_watch_options,
    parse_resource_version,
    plan_list,
    validate_list_options,
    validate_watch_options,
)

PREFIX = "/registry/pods/"
TOKEN = encode_continue("/registry/pods/default/a\0", PREFIX, 7)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (
            ListOptions(match="Exact"),
            ["resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"],
        ),
        (
            ListOptions(match="Exact", resource_version="0"),
            ['resourceVersionMatch: Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'],
        ),
        (
            ListOptions(match="Near", resource_version="5"),
            ['resourceVersionMatch: Unsupported value: "Near": supported values: "Exact", "NotOlderThan", ""'],
        ),
        (
            ListOptions(match="NotOlderThan", continue_token=TOKEN),
            [
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
                "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided",
            ],
        ),
    ],
)
def test_lists_that_mean_nothing(options, texts):
    with pytest.raises(StatusError) as refused:
        validate_list_options(options)
    joined = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    assert refused.value.code == 422
    assert refused.value.message == f'ListOptions.meta.k8s.io "" is invalid: {joined}'


@pytest.mark.parametrize(
    "options",
    [
        ListOptions(),
        ListOptions(resource_version="5", match="Exact"),
        ListOptions(resource_version="0", match="NotOlderThan"),
        ListOptions(resource_version="5", limit=3),
        ListOptions(continue_token=TOKEN),
    ],
)
def test_lists_that_are_fine(options):
    validate_list_options(options)


def test_initial_events_of_a_list():
    with pytest.raises(StatusError, match="sendInitialEvents is forbidden for list"):
        validate_list_options(ListOptions(), send_initial_events=False)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            WatchOptions(send_initial_events=True),
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        (
            WatchOptions(match="NotOlderThan"),
            "resourceVersionMatch: Forbidden: "
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        (
            WatchOptions(match="Exact", send_initial_events=True),
            "[resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan,"
            ' resourceVersionMatch: Unsupported value: "Exact": supported values: "NotOlderThan"]',
        ),
    ],
)
def test_watches_that_mean_nothing(options, text):
    with pytest.raises(StatusError) as refused:
        validate_watch_options(options)
    assert refused.value.message == f'ListOptions.meta.k8s.io "" is invalid: {text}'


def test_watch_from_the_present_state_is_a_watch_list():
    for version in ("", "0"):
        options = default_watch_options(WatchOptions(resource_version=version))
        assert (options.send_initial_events, options.match) == (True, "NotOlderThan")
        validate_watch_options(options)
    untouched = WatchOptions(resource_version="5")
    assert default_watch_options(untouched) is untouched
    explicit = WatchOptions(send_initial_events=False, match="NotOlderThan")
    assert default_watch_options(explicit) is explicit


@pytest.mark.parametrize(
    ("options", "plan"),
    [
        (ListOptions(), ListPlan(PREFIX, 0, 0, True, 0, False)),
        (ListOptions(limit=5), ListPlan(PREFIX, 0, 0, True, 5, False)),
        (ListOptions(resource_version="0"), ListPlan(PREFIX, 0, 0, False, 0, False)),
        (ListOptions(resource_version="0", limit=5), ListPlan(PREFIX, 0, 0, False, 0, False)),
        (ListOptions(resource_version="9"), ListPlan(PREFIX, 0, 9, False, 0, False)),
        (ListOptions(resource_version="9", limit=5), ListPlan(PREFIX, 9, 0, False, 5, False)),
        (ListOptions(resource_version="9", match="Exact"), ListPlan(PREFIX, 9, 0, False, 0, False)),
        (ListOptions(resource_version="9", match="NotOlderThan", limit=5), ListPlan(PREFIX, 0, 9, False, 5, False)),
        (ListOptions(limit=5, continue_token=TOKEN), ListPlan(PREFIX + "default/a\0", 7, 0, False, 5, True)),
        (
            ListOptions(limit=5, continue_token=encode_continue(PREFIX + "x", PREFIX, -1)),
            ListPlan(PREFIX + "x", 0, 0, True, 5, True),
        ),
    ],
)
def test_the_matrix(options, plan):
    assert plan_list(options, PREFIX) == plan


@pytest.mark.parametrize(("text", "problem"), [("a", "invalid syntax"), (str(2**64), "value out of range")])
def test_numbers(text, problem):
    assert parse_resource_version("") == 0
    assert parse_resource_version(str(2**64 - 1)) == 2**64 - 1
    with pytest.raises(StatusError, match=problem):
        parse_resource_version(text)


def test_token_bytes():
    """The bytes that kube-apiserver makes of the same page."""
    text = "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Nywic3RhcnQiOiJkZWZhdWx0L2FcdTAwMDAifQ"
    assert text == TOKEN
    assert decode_continue(text, PREFIX) == (PREFIX + "default/a\0", 7)
