"""The config file, from text to settings that cannot be wrong.

    load         a file to a `Config`, or every problem in it at once
    schema       every key: type, range, built-in value, meaning
    listening    the keys of listen, admin and tls, in the same form
    settings     what a block of settings is, and the types its keys have
    units, fields, url   how single values are written
    document     YAML to a tree that knows where each value stood
    environment  `${…}` in scalar values
    layers       built-in < defaults < upstream < route
    origin       which layer and line a value came from
    crosscheck   what several keys mean together
    doubts       policies that together do less than somebody might think
    tls          what a tls block means to OpenSSL
    providers    what is known of each provider's API
    problem      what is wrong, and where
    forms        how each sort of value is written, for people and editors
    reference    every key as a file has it, read off the schema
    editor       JSON Schema of the file

It knows nothing of what is done with the settings.
"""
