"""The service's own connections to the broker: it makes queues, publishes, and hears what endpoints say."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import pika
import pika.exceptions

from nodexfer.errors import ServiceUnreachable

log = logging.getLogger(__name__)

#: Exchanges, and the queues of the same names, to which all endpoints publish. They look whether these exist.
RESULTS, HEARTBEATS = "results", "heartbeats"
RECONNECT_SECONDS = 1.0
_LOST = (pika.exceptions.AMQPError, OSError)


class Queues(Protocol):
    """What the service needs of a broker."""

    @property
    def url(self) -> str: ...

    def declare(self, queue: str) -> None: ...

    def delete(self, queue: str) -> None: ...

    def publish(self, queue: str, body: bytes, properties: Mapping[str, Any]) -> None: ...


class Link:
    """Any thread may call. :raises ServiceUnreachable: of every call: the broker is gone."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._connection: Any = None
        self._channel: Any = None
        self._listener: threading.Thread | None = None

    @property
    def url(self) -> str:
        return self._url

    def open(self, hear: Callable[[str, bytes], None]) -> None:
        """Make the exchanges; from now on ``hear(RESULTS | HEARTBEATS, body)`` is called, in one thread of ours."""
        self._do(_make_exchanges)
        self._listener = threading.Thread(target=self._listen, args=(hear,), name="compute broker", daemon=True)
        self._listener.start()

    def declare(self, queue: str) -> None:
        self._do(lambda channel: channel.queue_declare(queue, durable=True))

    def delete(self, queue: str) -> None:
        self._do(lambda channel: channel.queue_delete(queue))

    def publish(self, queue: str, body: bytes, properties: Mapping[str, Any]) -> None:
        """Straight into a queue. What goes into one that does not exist is lost, as with any broker."""
        kept = pika.BasicProperties(delivery_mode=2, **properties)
        self._do(lambda channel: channel.basic_publish("", queue, body, kept))

    def close(self) -> None:
        """Hear nothing any more. The listener ends with its connection, or with the process."""
        self._closed.set()
        with self._lock:
            self._hang_up()
        if self._listener is not None:
            self._listener.join(5.0)

    def _do(self, act: Callable[[Any], object]) -> None:
        """Act on the channel; once more on a new one where it has been closed meanwhile."""
        with self._lock:
            for last in (False, True):
                try:
                    if self._channel is None:
                        self._connection = _connect(self._url)
                        self._channel = self._connection.channel()
                    act(self._channel)
                    return
                except _LOST as error:
                    self._hang_up()
                    if last or self._closed.is_set():
                        raise ServiceUnreachable(
                            f"The sandbox's broker does not answer ({error!r}).", "nodexfer sandbox status"
                        ) from error

    def _hang_up(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(*_LOST):
                connection.close()

    def _listen(self, hear: Callable[[str, bytes], None]) -> None:
        while not self._closed.is_set():
            try:
                with contextlib.closing(_connect(self._url)) as connection:
                    self._consume(connection, hear)
            except _LOST as error:
                log.info("the broker's connection is lost: %r", error)
            self._closed.wait(RECONNECT_SECONDS)

    def _consume(self, connection: Any, hear: Callable[[str, bytes], None]) -> None:
        """Until closed. A message is done with when it has been heard: what is lost in between comes again."""
        channel = connection.channel()
        for queue in (RESULTS, HEARTBEATS):
            channel.basic_consume(queue, lambda *message, queue=queue: self._heard(queue, message, hear))
        while not self._closed.is_set():
            connection.process_data_events(time_limit=0.2)

    def _heard(self, queue: str, message: tuple[Any, ...], hear: Callable[[str, bytes], None]) -> None:
        channel, method, _, body = message
        try:
            hear(queue, body)
        except Exception:  # whatever an endpoint sends: the next message is somebody else's
            log.exception("a message of %s was not understood", queue)
        channel.basic_ack(method.delivery_tag)


def _connect(url: str) -> Any:
    """Without AMQP's heartbeats: nothing serves a connection between two calls."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 0
    return pika.BlockingConnection(parameters)


def _make_exchanges(channel: Any) -> None:
    for name in (RESULTS, HEARTBEATS):
        channel.exchange_declare(name, "topic", durable=True)
        channel.queue_declare(name, durable=True)
        channel.queue_bind(name, name, "#")
