"""Uses a hub with the official MCP SDK for Python, in both protocols.

usage: client.py URL        prints what it got; exits with 1 if a call failed
"""

import asyncio
import sys
import time

from mcp import Client


async def visit(url: str, mode: str) -> None:
    began = time.monotonic()
    async with Client(url, mode=mode) as client:
        tools = (await client.list_tools()).tools
        print(f"  protocol {client.protocol_version}, {len(tools)} tools: " + ", ".join(t.name for t in tools[:4]) + ", …")
        for name, arguments in [
            ("everything__echo", {"message": "hello through the hub"}),
            ("memory__read_graph", {}),
            ("time__get_current_time", {"timezone": "UTC"}),
        ]:
            result = await client.call_tool(name, arguments)
            text = result.content[0].text.replace("\n", " ")
            if result.is_error:
                sys.exit(f"  {name} answered with an error: {text}")
            print(f"  {name} -> {text[:90]}")
    print(f"  done in {time.monotonic() - began:.2f} s")


async def main() -> None:
    for mode in ("legacy", "auto"):
        await visit(sys.argv[1], mode)


asyncio.run(main())
