"""Answers that are kept, so that the same question need not be asked twice.

Rule 1: whatever happens in here, a request is answered at worst as if there were no cache.
Rule 2: nothing here knows upstreams, policies or metrics; what a question is, and how it is really
asked, is handed in.

    caches       those of a process: one for each place where answers are kept
    cache        the face: an answer from here, or one call for all who ask the same
    rules        which questions are the same, what may be kept, and for how long (RFC 9111)
    entry        one kept answer, and its form as bytes
    memory       the store of this process
    redis        the store that several processes share; may fail at any time
    flights      one call for many who wait for it
    collecting   a reply that keeps what is said to it
"""
