"""What is known of each provider: which POSTs only read, and how long an idle connection lives.

Facts about other people's servers, each with where it stands; adding a provider is adding a line.
Nothing here is a setting, and nothing here knows a request.
"""

import re
from dataclasses import dataclass

_NOTHING = re.compile(r"(?!)")


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider's facts.

    *reads* matches the whole path, below the upstream's base path, of a POST that changes nothing
    and may be repeated. *keepalive* is how many seconds an idle connection may be used again: it
    lies below the time after which the server closes it.
    """

    name: str
    reads: re.Pattern[str] = _NOTHING
    keepalive: float = 15.0


def _reads(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern + "/?", re.ASCII)


# uvicorn closes an idle connection after 5 s (its --timeout-keep-alive), and vLLM with it.
_UVICORN = 4.0

PROVIDERS = {
    provider.name: provider
    for provider in (
        Provider("generic"),
        # Behind openai's API stands as often vLLM or another local server.
        Provider("openai", _reads(r"(?:/v1)?/(?:embeddings|moderations)"), keepalive=_UVICORN),
        Provider("anthropic", _reads(r"/v1/messages/count_tokens")),
        # api.qdrant.tech: points are read by POST; `recommend`, `discover` and `query` have a
        # batch and a groups form, `/points` alone retrieves by id, `facet` counts values.
        Provider(
            "qdrant",
            _reads(
                r"/collections/[^/]+/(?:points(?:/(?:scroll|count"
                r"|(?:search|query|recommend|discover)(?:/(?:batch|groups|matrix/(?:pairs|offsets)))?"
                r"))?|facet)"
            ),
        ),
        # docs.trychroma.com, v1 and v2; the server is uvicorn before 1.0 and hyper since.
        Provider(
            "chroma", _reads(r"/api/v[12]/(?:.+/)?collections/[^/]+/(?:get|query|search)"), _UVICORN
        ),
        # docs.weaviate.io: GraphQL has no mutations there.
        Provider("weaviate", _reads(r"/v1/graphql(?:/batch)?")),
        # docs.pinecone.io, data plane.
        Provider(
            "pinecone",
            _reads(r"/(?:query|describe_index_stats|records/namespaces/[^/]+/search|embed|rerank)"),
        ),
        # milvus.io, RESTful v2; each resource is also listed and described by POST.
        Provider(
            "milvus",
            _reads(
                r"/v2/vectordb/(?:entities/(?:get|query|search|hybrid_search|advanced_search)"
                r"|[a-z_]+/(?:list|describe|has|get_stats|get_load_state|get_progress))"
            ),
        ),
        # elastic.co and opensearch.org share these.
        *(
            Provider(
                name,
                _reads(
                    r"(?:/[^/]+)?/_(?:search|msearch|count|mget|field_caps|validate/query|rank_eval"
                    r"|(?:m?search|render)/template|knn_search|termvectors|mtermvectors|analyze)"
                    r"|/[^/]+/_(?:explain|termvectors)/[^/]+"
                ),
            )
            for name in ("elasticsearch", "opensearch")
        ),
    )
}
