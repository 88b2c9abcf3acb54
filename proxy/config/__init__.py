"""The config file, from text to settings that cannot be wrong.

    load         a file to a `Config`, or every problem in it at once
    schema       every key: type, range, built-in value, meaning
    settings     what a block of settings is, and the types its keys have
    units, fields, url   how single values are written
    document     YAML to a tree that knows where each value stood
    environment  `${…}` in scalar values
    layers       built-in < defaults < upstream < route
    crosscheck   what several keys mean together
    providers    what is known of each provider's API
    problem      what is wrong, and where

It knows nothing of what is done with the settings.
"""
