"""The store of this process: what was used last stays, within a number of bytes.

Rule: it forgets for want of room and for nothing else; what is too old is for others to say.
"""

from collections import OrderedDict

from proxy.cache.entry import Entry


class Memory:
    """Entries of at most *limit* bytes together, counted as `Entry.size` says."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """Give what is kept under *key*, and keep it longer than what nobody asks for."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Keep *entry* in place of what was there; one that is larger than everything is not kept.

        What was there goes in any case: it is not the newest answer any more.
        """
        former = self._entries.pop(key, None)
        if former is not None:
            self.used -= former.size
        if entry.size > self.limit:
            return
        self._entries[key] = entry
        self.used += entry.size
        while self.used > self.limit:
            _, oldest = self._entries.popitem(last=False)
            self.used -= oldest.size
