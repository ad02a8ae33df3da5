"""Uses a PromptBased hub with the official SDK. Prints "good" at the end, or fails."""

import asyncio
import json
import sys

from mcp.client import Client

PROMPT = "what time is it in Tokyo right now"
ARGUMENTS = {"timezone": "Asia/Tokyo"}


def text(result):
    assert not result.is_error, result
    return "".join(block.text for block in result.content)


async def names(client):
    return [tool.name for tool in (await client.list_tools(cache_mode="bypass")).tools]


async def legacy(url):
    changed = asyncio.Event()

    async def heard(message):
        if "list_changed" in str(message) or "ToolListChanged" in type(message).__name__:
            changed.set()

    async with Client(url, mode="legacy", message_handler=heard) as client:
        before = await names(client)
        assert before and all(name.startswith("hub__") for name in before), before
        print("starts with", before)
        print(text(await client.call_tool("hub__analyze_prompt", {"prompt": PROMPT}))[:300])
        await asyncio.wait_for(changed.wait(), 120)
        after = await names(client)
        assert "time__get_current_time" in after, after
        assert "Asia/Tokyo" in text(await client.call_tool("time__get_current_time", ARGUMENTS))
        # A tool that is not listed can be called all the same.
        assert "memory__read_graph" not in after, after
        assert "entities" in text(await client.call_tool("memory__read_graph", {}))


async def search(url, mode):
    async with Client(url, mode=mode) as client:
        assert "time__get_current_time" not in await names(client)
        found = json.loads(text(await client.call_tool("hub__find_tools", {"query": PROMPT, "limit": 3})))
        tools = found["tools"]
        assert any(tool["definition"]["name"] == "time__get_current_time" for tool in tools), found
        dispatched = {"name": "time__get_current_time", "arguments": ARGUMENTS, "selectionId": found["selectionId"]}
        refused = await client.call_tool("hub__call_read", {"name": "memory__delete_entities", "arguments": {}})
        assert refused.is_error, refused
        answers = [await client.call_tool(f"hub__call_{kind}", dispatched) for kind in ("read", "destructive")]
        good = [answer for answer in answers if not answer.is_error]
        assert good and "Asia/Tokyo" in text(good[0]), answers


async def view(url):
    async with Client(url + "/v/clock", mode="legacy") as client:
        await client.call_tool("hub__find_tools", {"query": "read the knowledge graph"})
        try:
            hidden = await client.call_tool("memory__read_graph", {})
        except Exception as error:  # a protocol error, like any unknown tool
            print("hidden:", error)
        else:
            raise AssertionError(hidden)


async def main(url):
    await legacy(url)
    await search(url, "legacy")
    await search(url, "2026-07-28")
    await view(url)
    print("good")


asyncio.run(main(sys.argv[1]))
