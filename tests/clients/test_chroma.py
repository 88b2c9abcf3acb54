"""A real Chroma server and its own client: what it does by itself, and what when it is killed."""

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any, Self
from urllib.parse import urlsplit

import chromadb
import pytest
from chromadb.api.client import Client
from chromadb.errors import ChromaError, NotFoundError
from clients.running import Chroma, Served

pytestmark = pytest.mark.real_time

CONFIG = """
version: 1
listen: {{port: 0}}
admin: {{port: 0}}
log: {{format: json}}
defaults:
  retry: {{base_delay: 10ms}}
  breaker: {{timeout: 200ms, max_timeout: 400ms}}
upstreams:
  chroma: {{kind: vectordb, provider: chroma, url: "{url}", listen: {{port: 0}}}}
  untouched: {{kind: vectordb, url: "{url}", listen: {{port: 0}}, rewrite_client_errors: false}}
"""

VECTORS = {"north": [0.0, 1.0], "east": [1.0, 0.0], "south": [0.0, -1.0]}


@pytest.fixture(scope="module")
def chroma(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chroma]:
    with socket.socket() as claim:
        # Bound and never listening, it keeps the port Chroma's while Chroma is dead.
        claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        claim.bind(("127.0.0.1", 0))
        server = Chroma(claim.getsockname()[1], tmp_path_factory.mktemp("chroma"))
        server.start()
        try:
            server.listen()
            yield server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def served(chroma: Chroma, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    config: Path = tmp_path_factory.mktemp("proxy") / "proxy.yaml"
    config.write_text(CONFIG.format(url=f"http://127.0.0.1:{chroma.port}"))
    with Served(config) as proxy:
        yield proxy


@contextmanager
def client_at(address: str) -> Iterator[Client]:
    """Give Chroma's client for an address; without a path, as the host and port of its examples."""
    where = urlsplit(address)
    host = {"host": address} if where.path else {"host": where.hostname, "port": where.port}
    settings = chromadb.Settings(anonymized_telemetry=False)
    with chromadb.HttpClient(**host, settings=settings) as client:
        try:
            yield client
        finally:
            for part in (client, client._admin_client):
                part._server._session.close()  # its own close() leaves these to the collector


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    """Chroma's client, at the listener that the upstream has for itself."""
    with client_at(served.addresses[1]) as client:
        yield client
        for collection in client.list_collections():
            client.delete_collection(collection.name)


def filled(client: Client, name: str = "winds") -> Any:
    collection = client.create_collection(name, embedding_function=None)
    collection.upsert(ids=list(VECTORS), embeddings=list(VECTORS.values()), documents=list(VECTORS))
    return collection


def envelope_of(error: Exception) -> dict[str, Any]:
    """Read what the client raises for an error it does not know: the text of the answer."""
    assert type(error) is Exception, error
    told: dict[str, Any]
    told, _ = json.JSONDecoder().raw_decode(str(error))  # a trace id may stand behind it
    assert set(told) >= {"error", "message", "details"}
    return told


def test_a_collection_lives_its_life(client: Client) -> None:
    winds = filled(client)
    assert winds.count() == 3
    assert winds.query(query_embeddings=[[0.1, 0.9]], n_results=2)["ids"] == [["north", "east"]]
    winds.upsert(ids=["north"], embeddings=[[0.0, 2.0]], documents=["north by north"])
    assert winds.get(ids=["north"])["documents"] == ["north by north"]
    winds.delete(ids=["south"])
    assert winds.get()["ids"] == ["north", "east"]
    client.delete_collection("winds")
    assert client.list_collections() == []


def test_answers_are_the_server_s_own(chroma: Chroma, client: Client) -> None:
    question = {"query_embeddings": [[0.7, 0.7]], "include": ["embeddings", "documents"]}
    through = filled(client).query(**question)
    with client_at(f"http://127.0.0.1:{chroma.port}") as direct:
        answer = direct.get_collection("winds", embedding_function=None).query(**question)
    assert str(through) == str(answer)  # arrays have no single truth


def test_a_large_batch_goes_through_whole(client: Client) -> None:
    many = client.create_collection("many", embedding_function=None)
    ids = [str(n) for n in range(2000)]
    many.upsert(ids=ids, embeddings=[[float(n)] * 64 for n in range(2000)], documents=ids)
    got = many.get(include=["embeddings", "documents"])
    assert got["documents"] == ids
    assert [row[0] for row in got["embeddings"]] == [float(n) for n in range(2000)]


def test_a_path_prefix_works_where_the_whole_url_is_the_host(served: Served) -> None:
    with client_at(f"{served.addresses[0]}/chroma") as client:
        assert filled(client, "prefixed").count() == 3
        client.delete_collection("prefixed")


def test_what_is_not_found_is_our_envelope(client: Client) -> None:
    with pytest.raises(Exception, match="VECTOR_DB_ERROR") as caught:
        client.get_collection("nowhere")
    told = envelope_of(caught.value)
    assert told["details"]["status_code"] == 404
    assert told["details"]["upstream_error"]["error"] == "NotFoundError"
    assert "nowhere" in told["message"]


def test_what_is_not_found_is_the_client_s_own_exception_where_4xx_are_left_alone(
    served: Served,
) -> None:
    with client_at(served.addresses[2]) as client:
        with pytest.raises(NotFoundError, match="nowhere"):
            client.get_collection("nowhere")
        filled(client, "twice")
        with pytest.raises(ChromaError, match="exists"):
            client.create_collection("twice", embedding_function=None)
        client.delete_collection("twice")


class Load:
    """Callers who query and upsert without end, and what each of their calls came to."""

    def __init__(self, collection: Any) -> None:
        self._collection = collection
        self._over = threading.Event()
        self._results: Queue[str] = Queue()
        self.codes: set[str] = set()

    def __enter__(self) -> Self:
        self._callers = ThreadPoolExecutor(4)
        self._calls = [self._callers.submit(self._call, n) for n in range(4)]
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._callers.shutdown()
        for call in self._calls:
            call.result()  # raises what was no envelope

    def _call(self, number: int) -> None:
        try:
            while not self._over.is_set():
                self._results.put(self._once(number))
        finally:
            self._results.put("over")

    def _once(self, number: int) -> str:
        try:
            if number % 2:
                self._collection.query(query_embeddings=[[0.0, 1.0]], n_results=1)
            else:
                self._collection.upsert(ids=["north"], embeddings=[[0.0, 1.0]])
        except Exception as error:  # noqa: BLE001 -- what else it could be is what is asked
            return str(envelope_of(error)["error"])
        return "good"

    def until(self, wanted: str, times: int = 1) -> None:
        """Follow the calls until *wanted* has come out of so many of them."""
        while times:
            result = self._results.get(timeout=30)
            assert result != "over"
            self.codes.add(result)
            times -= result == wanted


def test_killed_under_load_it_is_left_alone_and_comes_back_by_itself(
    chroma: Chroma, served: Served, client: Client
) -> None:
    winds = filled(client)
    with Load(winds) as load:
        load.until("good", times=40)
        chroma.kill()
        load.until("CIRCUIT_OPEN")
        chroma.start()
        load.until("good", times=40)
    assert load.codes >= {"good", "NETWORK_ERROR", "CIRCUIT_OPEN"}
    assert winds.count() == 3
    moves = "octollm_proxy_breaker_transitions_total"
    assert served.metric(moves, upstream="chroma", to_state="open") >= 1
    assert served.metric(moves, upstream="chroma", to_state="closed") >= 1
    state = "octollm_proxy_breaker_state"
    assert served.metric(state, upstream="chroma", state="closed") == 1
    assert served.tells("breaker.closed")
    told = [e["event"] for e in served.events if e["event"].startswith("breaker.")]
    moved = [event for event in told if event != "breaker.rejecting"]
    assert moved[0] == "breaker.opened"
    assert moved[moved.index("breaker.closed") - 1] == "breaker.half_opened"
