"""What tests, the demo and users share: virtual time, and an upstream that misbehaves as told.

`clock`     time that moves when told, or when nothing else is left to do
`upstream`  a real server on a real socket that answers by script, path or header
`request`   what it was asked
`caller`    the other side of one of its connections
`script`    what it can be told: steps, and the answers made of them
`sse`       event streams in the forms of OpenAI and Anthropic
`providers` plain answers in the forms of OpenAI and Anthropic
`vectors`   a small vector database in the form of Qdrant
`words`     how all this is said in a path or a header
"""
