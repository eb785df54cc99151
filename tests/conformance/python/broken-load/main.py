"""Fails while its module loads."""

from sagabox import Context, RawEvent, on, saga, subject

raise RuntimeError("broken while it loads")


@saga()
class Broken:
    @on("Anything", key=subject)
    def anything(self, event: RawEvent, ctx: Context) -> None: ...
