"""An agent that asks the page's tools (MCP) by its own client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.types import CallToolResult

Answer = tuple[dict[str, Any], list[CallToolResult]]


async def _ask(studio: str, headers: Mapping[str, str], calls: tuple[tuple[str, dict[str, Any]], ...]) -> Answer:
    address = f"{studio}/gradio_api/mcp/"
    async with (
        streamablehttp_client(address, headers=dict(headers)) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        offered = {tool.name: tool for tool in (await session.list_tools()).tools}
        return offered, [await session.call_tool(name, values) for name, values in calls]


def ask_tools(studio: str, *calls: tuple[str, dict[str, Any]], headers: Mapping[str, str] | None = None) -> Answer:
    """The tools by name, and what each call answers."""
    with ThreadPoolExecutor(1) as thread:  # a browser that was started in this process keeps a loop of its own running
        return thread.submit(asyncio.run, _ask(studio, headers or {}, calls)).result()
