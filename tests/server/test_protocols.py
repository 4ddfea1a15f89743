"""The protocols of the port, spoken over real TCP: OpenAI's, llama.cpp's, ours, and what operators look at."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import msgspec
import pytest

from model_runtime.client.client import Client
from model_runtime.client.endpoint import Endpoint
from model_runtime.gateway import raw_prompt
from model_runtime.manifest import Fim
from model_runtime.protocol import Done, InfillRequest
from tests import tiny
from tests.scripted import ScriptedEngine
from tests.server.serving import PATIENCE, completion, served, talkative


def events(response: httpx.Response) -> list[Any]:
    """The JSON of each server-sent event; OpenAI's last word as text."""
    found = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [json.loads(one) if one != "[DONE]" else one for one in found]


def read_by(engine: ScriptedEngine, at: int = -1) -> str:
    """What the model read, markers included."""
    return engine.tokenizer._inner.decode(list(engine.calls[at].prompt), skip_special_tokens=False)


async def test_a_completion_comes_as_openai_words_it() -> None:
    async with served() as here, here.http() as http:
        answer = (await http.post("/v1/completions", json=completion(max_tokens=8))).json()
    (choice,) = answer.pop("choices")
    assert choice == {"index": 0, "text": "return a", "logprobs": None, "finish_reason": "stop"}
    assert answer["object"] == "text_completion" and answer["model"] == "scripted" and answer["id"].startswith("cmpl-")
    usage = answer["usage"]
    assert usage["completion_tokens"] == 2
    assert usage["total_tokens"] == usage["prompt_tokens"] + 2


async def test_a_stream_comes_as_openai_words_it() -> None:
    async with served() as here, here.http() as http:
        body = completion(stream=True, stream_options={"include_usage": True}, logprobs=1)
        response = await http.post("/v1/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *parts, usage, last = events(response)
    assert last == "[DONE]"
    assert usage["usage"]["completion_tokens"] == 2
    assert "".join(part["choices"][0]["text"] for part in parts) == "return a"
    assert [part["choices"][0]["finish_reason"] for part in parts][-1] == "stop"
    logprobs = [value for part in parts for value in part["choices"][0]["logprobs"]["token_logprobs"]]
    assert logprobs == [-0.5, -0.5]


async def test_several_candidates_come_each_with_its_number() -> None:
    async with served() as here, here.http() as http:
        whole = (await http.post("/v1/completions", json=completion(n=3, temperature=0.8))).json()
        stream = events(await http.post("/v1/completions", json=completion(n=3, stream=True)))
    assert [choice["index"] for choice in whole["choices"]] == [0, 1, 2]
    assert whole["usage"]["completion_tokens"] == 6
    texts = {0: "", 1: "", 2: ""}
    for one in stream[:-1]:
        texts[one["choices"][0]["index"]] += one["choices"][0]["text"]
    assert set(texts.values()) == {"return a"}


@pytest.mark.parametrize(
    "prompt",
    [
        "<|fim_prefix|>one<|fim_suffix|>two<|fim_middle|>",
        "<fim_prefix>one<fim_suffix>two<fim_middle>",
        "<PRE> one <SUF>two <MID>",
        "<｜fim▁begin｜>one<｜fim▁hole｜>two<｜fim▁end｜>",
        "<|code_prefix|>one<|code_suffix|>two<|code_middle|>",
        "[SUFFIX]two[PREFIX]one",
        "<|suffix|>two<|prefix|>one",
    ],
)
async def test_a_raw_prompt_of_an_editor_is_laid_out_as_the_model_learnt_it(prompt: str) -> None:
    engine = talkative()
    async with served(engine) as here, here.http() as http:
        stops = ["<|endoftext|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|file_sep|>"]
        body = {"model": "", "prompt": prompt, "max_tokens": 64, "temperature": 0.2, "stop": stops}
        response = await http.post("/v1/completions", json=body)
        assert response.status_code == 200, response.text
    assert read_by(engine) == "<|file|>\n<|suffix|>two<|prefix|>one"


def test_text_that_only_looks_like_markup_stays_text() -> None:
    for prompt in ("x = '<|fim_prefix|>'", "<|fim_prefix|>no more of it", "<PRE> a <SUF>b"):
        assert raw_prompt.raw_infill(prompt, tiny.FIM) == raw_prompt.RawInfill(prompt)


def test_the_markup_of_a_model_that_puts_the_prefix_first_is_known() -> None:
    fim = Fim("psm", ("<end>",), prefix="<P>", suffix="<S>", middle="<M>")
    assert raw_prompt.raw_infill("<P>one<S>two<M>", fim) == raw_prompt.RawInfill("one", "two")


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[]", 400, None),
        (b'{"suffix": "x"}', 400, "prompt"),
        (b'{"prompt": ["a", "b"]}', 400, "prompt"),
        (b'{"prompt": [1, 2]}', 400, "prompt"),
        (b'{"prompt": "a", "max_tokens": -1}', 400, None),
        (b'{"prompt": "a", "n": 99}', 400, None),
        (b'{"prompt": "a", "temperature": 9}', 400, None),
        (b'{"prompt": "a", "echo": true}', 400, "echo"),
        (b'{"prompt": "a", "best_of": 4}', 400, "best_of"),
        (b'{"prompt": "a", "model": "gpt-9"}', 404, "model"),
    ],
)
async def test_a_request_that_makes_no_sense_is_told_in_openais_shape(
    body: bytes, status: int, param: str | None
) -> None:
    async with served() as here, here.http() as http:
        response = await http.post("/v1/completions", content=body)
    assert response.status_code == status
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error" and error["param"] == param and error["message"]


async def test_an_infill_comes_as_llama_cpp_words_it() -> None:
    engine = talkative()
    body = {
        "input_prefix": "def f(a):\n",
        "input_suffix": "\n",
        "input_extra": [{"filename": "b.py", "text": "import c\n"}],
        "prompt": "    ",
        "n_predict": 8,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        "t_max_predict_ms": 500,
    }
    async with served(engine) as here, here.http() as http:
        answer = (await http.post("/infill", json=body)).json()
        stream = events(await http.post("/infill", json={**body, "stream": True}))
        warm = (await http.post("/infill", json={**body, "n_predict": 0})).status_code
        wrong = await http.post("/infill", json={"input_prefix": "a"})
    assert (answer["content"], answer["stop"], answer["stop_type"]) == ("return a", True, "eos")
    assert answer["timings"]["predicted_n"] == 2
    assert "".join(one["content"] for one in stream) == "return a"
    assert [one["stop"] for one in stream][-1] is True
    assert read_by(engine, 0) == "<|context|>b.py\nimport c\n<|file|>\n<|suffix|>\n<|prefix|>def f(a):\n    "
    assert warm == 200 and engine.calls[-1].max_tokens == 0
    assert wrong.status_code == 400
    assert wrong.json()["error"]["code"] == 400 and wrong.json()["error"]["type"] == "invalid_request_error"


async def test_our_own_client_speaks_to_the_port() -> None:
    async with served() as here:
        client = Client(Endpoint(url=here.url))
        health = await client.health()
        found = [event async for event in client.infill(InfillRequest("me", "a.py", "def f():\n", "\n"))]
        await client.close()
    assert health.model == "scripted" and health.state == "ready"
    assert isinstance(found[-1], Done) and len(found) == 3


async def test_nobody_can_end_the_service_from_the_port() -> None:
    async with served() as here, here.http() as http:
        assert (await http.post("/drain")).status_code == 404
        assert (await http.post("/lacuna/drain")).status_code == 404
        assert here.service.state == "ready"


async def test_models_health_and_metrics_are_there_for_those_who_look() -> None:
    async with served() as here, here.http() as http:
        await http.post("/v1/completions", json=completion())
        listed = (await http.get("/v1/models")).json()
        one = await http.get("/v1/models/scripted")
        health, ready = await http.get("/health"), await http.get("/ready")
        metrics = (await http.get("/metrics")).text
    assert [model["id"] for model in listed["data"]] == ["scripted"] == [one.json()["id"]]
    assert health.json() == {"status": "ok"} and ready.json() == {"status": "ready"}
    for stage in ("queue", "layout", "prefill", "decode", "total"):
        assert f'lacuna_stage_seconds_count{{stage="{stage}"}} 1.0' in metrics
    assert "lacuna_connections 1.0" in metrics


async def test_a_model_that_still_loads_is_alive_but_not_ready() -> None:
    async with served() as here, here.http() as http:
        here.service.state = "loading"
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ready")).status_code == 503
        here.service.state = "ready"


async def test_who_hangs_up_frees_the_engine() -> None:
    engine = ScriptedEngine()
    async with served(engine) as here:
        for stream in (False, True):
            http = here.http()
            asking = asyncio.create_task(http.post("/v1/completions", json=completion(stream=stream)))
            assert await asyncio.to_thread(engine.begun.wait, PATIENCE)
            engine.begun.clear()
            asking.cancel()
            await http.aclose()
            async with asyncio.timeout(PATIENCE):
                while here.service.worker.busy:
                    await asyncio.sleep(0.01)
    assert engine.finished == ["cancelled", "cancelled"]


async def test_a_drain_lets_what_runs_finish() -> None:
    engine = ScriptedEngine()
    async with served(engine) as here, here.http() as http:
        asking = asyncio.create_task(http.post("/v1/completions", json=completion()))
        assert await asyncio.to_thread(engine.begun.wait, PATIENCE)
        here.service.end()
        engine.gate.set()
        assert (await asking).json()["choices"][0]["text"] == "return a"


async def test_a_fault_of_the_engine_is_a_server_error_without_details() -> None:
    async with served(ScriptedEngine(fault=ValueError("secret"))) as here, here.http() as http:
        response = await http.post("/v1/completions", json=completion())
    assert response.status_code == 500
    assert response.json()["error"]["type"] == "server_error" and "secret" not in response.text


@pytest.mark.parametrize("path", ["/v1/completions", "/infill", "/lacuna/infill"])
async def test_a_client_of_http_1_0_gets_a_stream_as_a_whole(path: str) -> None:
    async with served() as here:
        request = completion(stream=True)
        if path == "/infill":
            request = {"input_prefix": "def f(a):\n    ", "input_suffix": "", "stream": True}
        elif path == "/lacuna/infill":
            infill = InfillRequest(client="one", path="a.py", prefix="def f(a):\n    ", suffix="", max_tokens=8)
            request = msgspec.to_builtins(infill)
        body = json.dumps(request).encode()
        reader, writer = await asyncio.open_connection(*here.address)
        token = here.http().headers.get("authorization", "")
        head = f"POST {path} HTTP/1.0\r\nauthorization: {token}\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        async with asyncio.timeout(PATIENCE):
            answer = await reader.read()
        writer.close()
    found, _, content = answer.partition(b"\r\n\r\n")
    assert b" 200 " in found and b"chunked" not in found.lower()
    assert f"content-length: {len(content)}".encode() in found.lower()
    assert b"return" in content and content.endswith(b"\n")
