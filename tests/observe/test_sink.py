import io
import os
import threading

from proxy.observe.sink import Sink


def confess(count: int) -> bytes:
    return b"lost %d\n" % count


class Pausing(io.RawIOBase):
    """A stream whose reader reads only when told to."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.seen = b""

    def write(self, data) -> int:
        self.entered.set()
        self.go_on.wait()
        self.seen += bytes(data)
        return len(data)


def test_lines_come_in_order_and_none_is_missing():
    stream = io.BytesIO()
    sink = Sink(stream, confess)
    for n in range(1000):
        sink.write(b"%d\n" % n)
    sink.close()

    assert stream.getvalue() == b"".join(b"%d\n" % n for n in range(1000))


def test_a_stalled_reader_costs_lines_which_are_owned_up_to_and_no_time():
    stream = Pausing()
    sink = Sink(stream, confess, capacity=2)
    sink.write(b"a\n")
    stream.entered.wait()
    for line in (b"b\n", b"c\n", b"d\n", b"e\n"):
        sink.write(line)
    stream.go_on.set()
    sink.close()

    assert stream.seen == b"a\nb\nc\nlost 2\n"


def test_closing_does_not_wait_forever_for_a_reader():
    stream = Pausing()
    sink = Sink(stream, confess)
    sink.write(b"a\n")
    stream.entered.wait()
    sink.close(timeout=0.01)
    stream.go_on.set()


def test_a_stream_that_takes_a_part_is_given_the_rest():
    class Small(io.RawIOBase):
        seen = b""

        def write(self, data) -> int:
            self.seen += bytes(data[:3])
            return len(data[:3])

    stream = Small()
    sink = Sink(stream, confess)
    sink.write(b"0123456789\n")
    sink.close()

    assert stream.seen == b"0123456789\n"


def test_a_reader_who_left_is_no_reason_to_stop():
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as stream:
        sink = Sink(stream, confess)
        sink.write(b"a\n")
        sink.write(b"b\n")
        sink.close()
