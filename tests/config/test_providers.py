import pytest

from proxy.config.providers import PROVIDERS

READS = {
    "openai": ["/v1/embeddings", "/embeddings", "/v1/moderations"],
    "anthropic": ["/v1/messages/count_tokens"],
    "qdrant": [
        "/collections/c/points",
        "/collections/c/points/scroll",
        "/collections/c/points/count",
        "/collections/c/points/search",
        "/collections/c/points/search/batch",
        "/collections/c/points/search/matrix/pairs",
        "/collections/c/points/query",
        "/collections/c/points/query/groups",
        "/collections/c/points/recommend",
        "/collections/c/points/discover/batch",
        "/collections/c/facet",
    ],
    "chroma": [
        "/api/v1/collections/x/query",
        "/api/v2/tenants/t/databases/d/collections/x/get",
        "/api/v2/tenants/t/databases/d/collections/x/search",
    ],
    "weaviate": ["/v1/graphql", "/v1/graphql/batch"],
    "pinecone": ["/query", "/describe_index_stats", "/records/namespaces/n/search"],
    "milvus": [
        "/v2/vectordb/entities/search",
        "/v2/vectordb/entities/hybrid_search",
        "/v2/vectordb/collections/list",
        "/v2/vectordb/indexes/describe",
    ],
    "elasticsearch": ["/_search", "/i/_search", "/i/_count", "/_msearch", "/i/_explain/1"],
    "opensearch": ["/i/_search", "/i,j/_mget", "/_search/template"],
}

WRITES = {
    "generic": ["/", "/search", "/query"],
    "openai": ["/v1/chat/completions", "/v1/files", "/v1/embeddings/x"],
    "anthropic": ["/v1/messages", "/v1/messages/batches"],
    "qdrant": [
        "/collections/c/points/delete",
        "/collections/c/points/payload",
        "/collections/c/points/batch",
        "/collections/c/points/vectors/delete",
        "/collections/c/index",
        "/collections/aliases",
        "/collections/c/snapshots",
        "/collections/points",
    ],
    "chroma": [
        "/api/v2/tenants/t/databases/d/collections",
        "/api/v2/tenants/t/databases/d/collections/x/add",
        "/api/v2/tenants/t/databases/d/collections/x/upsert",
        "/api/v2/tenants/t/databases/d/collections/x/delete",
        "/api/v2/tenants",
    ],
    "weaviate": ["/v1/objects", "/v1/batch/objects", "/v1/schema"],
    "pinecone": ["/vectors/upsert", "/vectors/delete", "/vectors/update"],
    "milvus": ["/v2/vectordb/entities/insert", "/v2/vectordb/entities/delete"],
    "elasticsearch": ["/_bulk", "/i/_doc", "/i/_update/1", "/_delete_by_query", "/i/_delete/1"],
    "opensearch": ["/i/_bulk", "/i/_update_by_query"],
}


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, ps in READS.items() for p in ps])
def test_a_post_that_only_reads_is_known(name, path):
    assert PROVIDERS[name].reads.fullmatch(path)


@pytest.mark.parametrize(("name", "path"), [(n, p) for n, ps in WRITES.items() for p in ps])
def test_a_post_that_writes_is_never_taken_for_a_read(name, path):
    assert not PROVIDERS[name].reads.fullmatch(path)


def test_every_provider_is_covered_and_leaves_before_the_server_hangs_up():
    assert PROVIDERS.keys() == READS.keys() | WRITES.keys()
    assert PROVIDERS["chroma"].keepalive < 5
    assert PROVIDERS["generic"].keepalive == 15
