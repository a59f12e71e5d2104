"""Answers with the files of releases: whole from memory, as they come, in part, or not at all for who has them."""

from services.edge.answers import Answer, FileMessage, Form, file_headers, partial, whole
from services.edge.contents import STREAMED_FROM, Contents
from services.edge.files import Found
from services.edge.ranges import Part, asked_part
from services.edge.request import Request
from services.edge.responses import matches
from shared.ports import Entry, Objects
from shared.zero_copy import EXTENSION


class FileAnswers:
    """Sends files from the bucket of artifacts."""

    def __init__(self, objects: Objects) -> None:
        self._contents = Contents(objects)

    async def answer(self, found: Found, form: Form, request: Request) -> Answer:
        """Send a file in its form, or say that the client has it.

        Raises:
            ZepidError: STORAGE_READ_FAILED.
        """
        etag, headers, fixed = file_headers(found, form)
        known = request.headers.get(b"if-none-match")
        if known is not None and matches(known, etag):
            return Answer(304, headers, b"", fixed)
        entry, held = found.entry, bool(form.encoding) or found.entry.size < STREAMED_FROM
        body = await self._contents.whole(entry.digest, form.encoding) if held else b""
        size = len(body) if held else entry.size
        part = asked_part(request.headers, etag, size) if form.in_parts else None
        if part:
            answer = partial(headers, fixed, body, size, part)
        else:
            answer = whole(form, found.status, headers, fixed, body, size)
        if held or request.method == "HEAD" or (part and part.is_empty):
            return answer
        return await self._with_large(answer, entry, part, request)

    async def _with_large(self, answer: Answer, entry: Entry, part: Part | None, request: Request) -> Answer:
        if request.takes_files and (file := self._contents.opened(entry)):
            start, end = part or (0, entry.size)
            message = FileMessage(type=EXTENSION, file=file, offset=start, count=end - start)
            return answer._replace(file=message)
        first, rest = await self._contents.streamed(entry, part)
        return answer._replace(body=first, rest=rest)
