"""Clients that read a site as fast as they can, in a process of their own: `python -m tests.hammer ADDRESS HOST COUNT`.

Each reads the page and the script that it names, which must belong together. At the end of stdin it prints as JSON
how many pages were read, and what was wrong.
"""

import asyncio
import json
import sys

import httpx


async def _read_page(browser: httpx.AsyncClient) -> str:
    """Return what was wrong, "" if nothing."""
    page = await browser.get("/", headers={"accept": "text/html"})
    number = page.text.partition("<h1>")[2].partition("</h1>")[0]
    if page.status_code != 200:
        return f"the page answered {page.status_code}: {page.text[:200]}"
    script = await browser.get(page.text.partition('src="')[2].partition('"')[0])
    if script.status_code != 200 or script.text != number:
        return f"the script of page {number} answered {script.status_code}: {script.text[:200]}"
    return ""


async def _hammer(address: str, host: str, stopping: asyncio.Event, faults: list[str]) -> int:
    read = 0
    async with httpx.AsyncClient(base_url=f"http://{address}", headers={"host": host}, trust_env=False) as browser:
        while not stopping.is_set():
            try:
                fault = await _read_page(browser)
            except httpx.HTTPError as error:
                fault = repr(error)
            faults += [fault] if fault else []
            read += 1
    return read


async def main(address: str, host: str, count: int) -> None:
    stopping = asyncio.Event()
    faults: list[str] = []
    clients = [asyncio.create_task(_hammer(address, host, stopping, faults)) for _ in range(count)]
    await asyncio.to_thread(sys.stdin.read)
    stopping.set()
    print(json.dumps({"read": sum(await asyncio.gather(*clients)), "faults": faults}))  # noqa: T201 - its answer


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
