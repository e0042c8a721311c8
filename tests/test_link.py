import math
import os
import threading
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesdk.errors import (
    BusyError,
    ConfigurationError,
    LifecycleError,
    NotConnectedError,
    RemoteError,
    TransportError,
)
from edgesdk.link import (
    MQTT5,
    MQTT311,
    Broker,
    Dialect,
    Greeting,
    Link,
    LinkLimits,
    Outbox,
    Publication,
    Subscription,
    Tls,
    anew,
)
from fixtures_cloud import refused

LIMITS = LinkLimits(waiting=3, silence_seconds=0.5, connect_seconds=5.0)
LINK = Link(version=MQTT5, unacknowledged=10, packet_bytes=1000, nodelay=True)


def publication(size=1, settled=lambda _: None):
    return Publication("t", bytes(size), 100.0, settled)


@pytest.fixture
def outbox():
    made = Outbox(Broker.parse("mqtt://broker"), LIMITS)
    yield made
    made.close()


# Addresses


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mqtt://broker", Broker("broker", 1883, tls=False)),
        ("mqtts://broker", Broker("broker", 8883, tls=True)),
        ("mqtts://broker:1234/", Broker("broker", 1234, tls=True)),
        ("mqtt://[::1]:1884", Broker("::1", 1884, tls=False)),
        ("mqtts://me@broker", Broker("broker", 8883, True, "me")),
        ("mqtts://a%40b:p%2Fw@broker", Broker("broker", 8883, True, "a@b", "p/w")),
    ],
)
def test_a_url_names_the_broker(url, expected):
    assert Broker.parse(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "broker:1883",
        "http://broker",
        "mqtt://",
        "mqtt://broker:99999",
        "mqtt://broker:0",
        "mqtt://broker:x",
        "mqtt://broker/path",
        "mqtt://broker?x=1",
        "mqtt://broker#x",
        "mqtt://[::1",
    ],
)
def test_what_is_no_url_of_a_broker_is_refused(url):
    with refused(ConfigurationError, "invalid"):
        Broker.parse(url)


def test_a_password_is_in_no_text():
    assert "s3cret" not in repr(Broker.parse("mqtts://me:s3cret@broker"))
    with pytest.raises(ConfigurationError) as caught:
        Broker.parse("mqtts://me:s3cret@broker:bad")
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(caught.value.__cause__)


@pytest.mark.parametrize("ca", [b"", b"no certificate", b"\xff"])
def test_authorities_are_certificates(ca):
    with refused(ConfigurationError, "invalid"):
        Tls(ca=ca).context()


def test_a_missing_client_certificate_is_refused(tmp_path):
    with refused(ConfigurationError, "invalid"):
        Tls(certificate=tmp_path / "none.pem").context()


def test_a_shared_subscription_is_plain_where_there_is_no_sharing():
    subscription = Subscription("e/v1/+/req/p", group="gw-p")
    assert subscription.render(shared=True) == "$share/gw-p/e/v1/+/req/p"
    assert subscription.render(shared=False) == "e/v1/+/req/p"
    assert Subscription("x").render(shared=True) == "x"


def test_an_error_made_anew_says_the_same():
    error = NotConnectedError("no-worker", "nobody", hint="start one")
    again = anew(error)
    assert again is not error
    assert type(again) is NotConnectedError
    assert (again.reason, again.message, again.hint) == ("no-worker", "nobody", "start one")


# The version of the protocol


def test_a_broker_of_version_5_is_kept():
    dialect = Dialect(LIMITS)
    assert not dialect.learn(Greeting(after=0.1))
    assert not dialect.learn(Greeting(silent=True))
    assert dialect.version == MQTT5


def test_a_refused_version_is_not_tried_again():
    dialect = Dialect(LIMITS)
    assert dialect.learn(Greeting(refused_version=True))
    assert (dialect.version, dialect.patience) == (MQTT311, 5.0)
    for greeting in (Greeting(after=0.4), Greeting(), Greeting(refused_version=True)):
        assert not dialect.learn(greeting)
        assert dialect.version == MQTT311


def test_a_silent_broker_is_asked_in_the_older_version():
    dialect = Dialect(LIMITS)
    assert dialect.patience == 0.5
    assert dialect.learn(Greeting(silent=True))
    assert dialect.version == MQTT311


def test_a_silence_that_was_short_speaks_for_one_connection():
    dialect = Dialect(LIMITS)
    for _ in range(3):
        assert (dialect.version, dialect.patience) == (MQTT5, 0.5)
        assert dialect.learn(Greeting(silent=True))
        assert dialect.version == MQTT311
        # The connection stood, and has been lost.
        assert not dialect.learn(Greeting(after=0.01))
    assert not dialect.learn(Greeting(after=0.01))
    assert not dialect.learn(Greeting(silent=True))
    assert dialect.version == MQTT5


def test_a_broker_that_was_replaced_by_an_older_one_is_understood():
    dialect = Dialect(LIMITS)
    dialect.learn(Greeting(after=0.1))
    assert dialect.learn(Greeting(refused_version=True))
    assert dialect.version == MQTT311


def test_a_slow_broker_gets_version_5_and_more_time():
    dialect = Dialect(LIMITS)
    dialect.learn(Greeting(silent=True))
    assert dialect.too_slow == 0.25
    assert dialect.learn(Greeting(after=0.6))
    assert (dialect.version, dialect.patience, dialect.too_slow) == (MQTT5, 5.0, math.inf)
    assert not dialect.learn(Greeting(after=0.6))
    assert not dialect.learn(Greeting(silent=True))
    assert dialect.version == MQTT5


def test_a_slow_broker_without_version_5_gets_the_older_one_for_good():
    dialect = Dialect(LIMITS)
    dialect.learn(Greeting(silent=True))
    dialect.learn(Greeting(after=0.6))
    assert dialect.learn(Greeting(silent=True))
    assert (dialect.version, dialect.too_slow) == (MQTT311, math.inf)
    for greeting in (Greeting(after=2.0), Greeting(silent=True)):
        assert not dialect.learn(greeting)
        assert dialect.version == MQTT311


def test_nothing_is_learnt_from_nobody():
    dialect = Dialect(LIMITS)
    assert not dialect.learn(Greeting())
    assert (dialect.version, dialect.patience) == (MQTT5, 0.5)
    dialect.learn(Greeting(silent=True))
    assert not dialect.learn(Greeting())
    assert (dialect.version, dialect.patience) == (MQTT5, 0.5)


@given(
    st.lists(
        st.builds(
            Greeting,
            after=st.one_of(st.none(), st.floats(0, 5)),
            refused_version=st.booleans(),
            silent=st.booleans(),
        ),
        max_size=20,
    )
)
def test_at_most_two_versions_are_tried_in_a_row(greetings):
    dialect, at_once = Dialect(LIMITS), 0
    for greeting in greetings:
        at_once += dialect.learn(greeting)
        assert dialect.version in {MQTT5, MQTT311}
    assert at_once <= 3 + 2 * sum(greeting.silent for greeting in greetings)


# The outbox


def test_nothing_waits_without_a_link(outbox):
    with refused(NotConnectedError, "not-connected"):
        outbox.put(publication())
    outbox.stand(LINK)
    outbox.put(publication())
    assert outbox.take() is not None
    assert outbox.take() is None


def test_what_waits_is_lost_with_the_link(outbox):
    fate = []
    outbox.stand(LINK)
    outbox.put(publication(settled=fate.append))
    assert outbox.lose(NotConnectedError("refused", "go away"))
    assert [error.reason for error in fate] == ["refused"]
    assert outbox.take() is None
    with refused(NotConnectedError, "refused"):
        outbox.put(publication())
    outbox.stand(LINK)
    assert outbox.take() is None
    assert outbox.lose(NotConnectedError("not-connected", "x"))
    assert not outbox.lose(NotConnectedError("not-connected", "x"))


def test_what_is_too_large_for_the_broker_does_not_wait(outbox):
    outbox.stand(LINK)
    outbox.put(publication(900))
    with refused(RemoteError, "too-large"):
        outbox.put(publication(1000))


def test_a_bounded_number_waits(outbox):
    outbox.stand(LINK)
    for _ in range(3):
        outbox.put(publication())
    with refused(BusyError, "outstanding"):
        outbox.put(publication())


def test_waiting_for_the_link_ends_with_the_first_attempt(outbox):
    with refused(NotConnectedError, "not-connected"):
        outbox.wait(0.0)
    results = []

    def wait():
        try:
            results.append(outbox.wait(20.0))
        except TransportError as error:
            results.append(error.reason)

    waiting = threading.Thread(target=wait)
    waiting.start()
    outbox.lose(NotConnectedError("refused", "go away"))
    waiting.join()
    outbox.stand(LINK)
    wait()
    assert results == ["refused", LINK]


def waiting(function):
    """Run it in a thread; gives what it returned, or the reason of its error, once it has ended."""
    results = []

    def run():
        try:
            results.append(function())
        except TransportError as error:
            results.append(error.reason)

    thread = threading.Thread(target=run)
    thread.start()

    def result():
        thread.join(20.0)
        return results

    return result


def test_waiting_for_a_link_goes_on_through_attempts_that_fail(outbox):
    with refused(NotConnectedError, "not-connected"):
        outbox.wait_linked(0.0)
    outbox.lose(NotConnectedError("refused", "go away"))
    with refused(NotConnectedError, "refused"):
        outbox.wait_linked(0.0)
    result = waiting(lambda: outbox.wait_linked(1000.0))
    outbox.lose(NotConnectedError("refused", "go away again"))
    outbox.stand(LINK)
    assert result() == [LINK]
    assert outbox.wait_linked(0.0) == LINK


def test_nobody_waits_for_a_link_that_will_not_be(outbox):
    results = [waiting(lambda: outbox.wait(1000.0)), waiting(lambda: outbox.wait_linked(1000.0))]
    outbox.end(NotConnectedError("not-connected", "closed"))
    assert [result() for result in results] == [["not-connected"]] * 2
    with refused(NotConnectedError, "not-connected"):
        outbox.wait_linked(1000.0)


def test_a_link_that_stands_is_lost_only_after_the_end(outbox):
    fate = []
    outbox.stand(LINK)
    outbox.end(NotConnectedError("not-connected", "closed"))
    outbox.put(publication(settled=fate.append))
    assert outbox.lose(NotConnectedError("not-connected", "closed"))
    assert [error.reason for error in fate] == ["not-connected"]


def test_two_threads_never_raise_one_error(outbox):
    outbox.lose(NotConnectedError("not-connected", "gone"))
    caught = []
    for _ in range(2):
        with pytest.raises(NotConnectedError) as raised:
            outbox.put(publication())
        caught.append(raised.value)
    assert caught[0] is not caught[1]


def test_no_message_is_put_twice_or_lost_among_threads():
    outbox = Outbox(Broker.parse("mqtt://broker"), LinkLimits(waiting=10_000))
    fates, put = [], []

    def feed():
        for _ in range(300):
            try:
                outbox.put(publication(settled=fates.append))
            except NotConnectedError:
                continue
            put.append(1)

    threads = [threading.Thread(target=feed) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        outbox.stand(LINK)
        outbox.lose(NotConnectedError("not-connected", "gone"))
    outbox.lose(NotConnectedError("not-connected", "gone"))
    outbox.close()
    assert len(fates) == len(put)


def test_a_child_process_may_not_speak(outbox):
    outbox.stand(LINK)
    with warnings.catch_warnings():
        # Newer Pythons warn of what is tested here.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            outbox.put(publication())
        except LifecycleError as error:
            os._exit(7 if error.reason == "forked" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
