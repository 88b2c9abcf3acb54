"""What HTTP means to the policies: statuses and fields of answers, methods and paths of requests.

    statuses    a foreign status as an error of ours
    sentences   what an upstream's error says to people
    waits       how long an answer asks to be left alone
    requests    which settings are a request's, and whether it may be sent twice

Pure. Nothing here has a connection, a clock or a policy; gateway and `inprocess` both ask it.
"""
