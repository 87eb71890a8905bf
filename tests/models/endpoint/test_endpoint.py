"""The endpoint client against a real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import base64
import io
import json
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import (
    BadModelOutput,
    ConfigError,
    InvalidValue,
    ModelError,
    ModelUnavailable,
    UnknownName,
)
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target
from fdvs.models.endpoint.endpoint import EndpointCaptioner, EndpointLanguageModel
from fdvs.models.endpoint.replies import parse_reply, retry_after_s
from fdvs.types import Clip, ClipView, Frame


@pytest.fixture
def server(chat_server: Any) -> Any:
    return chat_server


def client(server: Any, *, pauses: list[float] | None = None, **options: Any) -> ChatClient:
    waits = pauses if pauses is not None else []
    return ChatClient(parse_target(server.target), EndpointOptions(**options), sleep=waits.append)


def ask(chat: ChatClient) -> str:
    return chat.chat([{"role": "user", "content": "hi"}], max_tokens=5).text


def card(server: Any, role: Any = "captioner", **options: Any) -> Card:
    return Card(name="it", role=role, backend="endpoint", target=server.target, options=options)


def view(color: int, *, num_frames: int = 2, index: int = 0) -> ClipView:
    frames = tuple(
        Frame(time_s=index * 10.0 + t, image=np.full((24, 32, 3), color, np.uint8))
        for t in range(num_frames)
    )
    clip = Clip(video_id="v", index=index, start_s=index * 10.0, end_s=index * 10.0 + 10)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


def test_a_good_reply_comes_with_its_counts_and_the_request_is_a_chat(server: Any) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3}
    server.queue = [server.says("yes", usage=usage)]
    reply = client(server).chat([{"role": "user", "content": "hi"}], max_tokens=5)
    assert (reply.text, reply.num_prompt_tokens, reply.num_tokens) == ("yes", 7, 3)
    assert server.paths == ["/v1/chat/completions"]
    assert server.asked[0]["model"] == "tiny/model"
    assert (server.asked[0]["temperature"], server.asked[0]["max_tokens"]) == (0, 5)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503])
def test_what_may_pass_is_asked_again_and_counted(server: Any, code: int) -> None:
    server.queue = [server.sends(status=code), server.sends(status=code)]
    pauses: list[float] = []
    chat = client(server, pauses=pauses, backoff_s=1.0)
    assert ask(chat) == "a red square"
    assert len(server.asked) == 3
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0


@pytest.mark.parametrize("code", [400, 413, 422])
def test_a_refused_request_is_not_repeated(server: Any, code: int) -> None:
    server.queue = [server.sends(status=code)]
    chat = client(server)
    with pytest.raises(ModelError, match=f"status {code}, not retried"):
        ask(chat)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("code", "why"), [(401, "FDVS_API_KEY"), (403, "key"), (404, "#MODEL")])
def test_a_refused_key_or_model_stops_everything(server: Any, code: int, why: str) -> None:
    server.queue = [server.sends(status=code)]
    with pytest.raises(ModelUnavailable, match=why):
        ask(client(server))
    assert len(server.asked) == 1


def test_the_servers_retry_after_is_honoured_and_bounded(server: Any) -> None:
    server.queue = [
        server.sends(status=429, Retry_After="7"),
        server.sends(status=503, Retry_After="100000"),
    ]
    pauses: list[float] = []
    ask(client(server, pauses=pauses, max_retry_after_s=9))
    assert pauses == [7.0, 9]


def test_pauses_never_grow_beyond_the_bound(server: Any) -> None:
    server.queue = [server.sends(status=500)] * 6
    pauses: list[float] = []
    ask(client(server, pauses=pauses, backoff_s=1.0, max_backoff_s=3.0, max_attempts=7))
    assert len(pauses) == 6
    assert all(1.5 <= pause <= 3.0 for pause in pauses[2:])


def test_the_last_failed_attempt_is_an_error_with_its_reason(server: Any) -> None:
    server.default = server.sends(status=500)
    chat = client(server, max_attempts=3)
    with pytest.raises(ModelError, match=r"status 500 \(no\) after 3 attempts") as caught:
        ask(chat)
    assert not isinstance(caught.value, ModelUnavailable)
    assert len(server.asked) == 3


def test_a_stall_ends_by_time_out_and_is_asked_again(server: Any) -> None:
    server.queue = [lambda h, b: server.done.wait(5) and None]
    chat = client(server, timeout_s=0.3)
    start_s = time.monotonic()
    assert ask(chat) == "a red square"
    assert time.monotonic() - start_s < 3
    assert len(server.asked) == 2


def test_a_reply_that_drips_does_not_outlive_the_time_out(server: Any) -> None:
    def drip(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(60):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    server.default = drip
    start_s = time.monotonic()
    with pytest.raises(ModelError, match=r"no whole answer within 0\.3 s"):
        ask(client(server, timeout_s=0.3, max_attempts=1))
    assert time.monotonic() - start_s < 1.5


def test_a_lost_connection_is_asked_again(server: Any) -> None:
    def hang_up(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        handler.close_connection = True
        handler.connection.close()

    server.queue = [hang_up]
    chat = client(server)
    assert ask(chat) == "a red square"
    assert len(server.asked) == 2


def test_nobody_there_means_unavailable_and_names_the_url() -> None:
    target = parse_target("http://127.0.0.1:9/v1#m")
    chat = ChatClient(target, EndpointOptions(max_attempts=2), sleep=lambda s: None)
    with pytest.raises(ModelUnavailable, match=r"127\.0\.0\.1:9/v1: no connection.*2 attempts"):
        ask(chat)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b"[]",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": [{"message": "a"}]}',
        b'{"choices": "abc"}',
        b"\xff\xfe\x00",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:24]),
)
def test_garbage_is_bad_output_with_an_excerpt_and_not_repeated(server: Any, body: bytes) -> None:
    server.queue = [server.sends(body)]
    with pytest.raises(BadModelOutput, match="chat completion") as caught:
        ask(client(server))
    assert len(str(caught.value)) < 1000
    assert len(server.asked) == 1


def test_a_huge_reply_is_cut_off_while_it_is_read(server: Any) -> None:
    server.queue = [server.sends(b"x" * 5_000_000)]
    with pytest.raises(BadModelOutput, match="larger than 2000 bytes"):
        ask(client(server, max_reply_bytes=2000))


def test_a_compressed_reply_is_refused(server: Any) -> None:
    server.queue = [server.sends(b"\x1f\x8b", Content_Encoding="gzip")]
    with pytest.raises(BadModelOutput, match="compressed"):
        ask(client(server))


def test_redirects_are_not_followed(server: Any) -> None:
    server.queue = [server.sends(status=302, Location="/elsewhere")]
    with pytest.raises(ModelError, match="status 302"):
        ask(client(server))
    assert server.paths == ["/v1/chat/completions"]


def test_the_key_is_sent_as_a_header_and_shown_nowhere(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-secret-123")
    caplog.set_level(logging.DEBUG)
    echo = b'{"error": "wrong key sk-secret-123"}'
    server.queue = [server.sends(status=500), server.sends(echo, 401)]
    chat = client(server, api_key_env="MY_KEY")
    with pytest.raises(ModelUnavailable, match=r"set MY_KEY.*\*\*\*") as caught:
        ask(chat)
    assert server.headers[0]["Authorization"] == "Bearer sk-secret-123"
    assert "sk-secret" not in caplog.text + str(caught.value) + repr(chat.options)


def test_a_key_echoed_in_garbage_is_blotted_out(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_API_KEY", "sk-secret-123")
    server.queue = [server.sends(b"you sent sk-secret-123")]
    with pytest.raises(BadModelOutput, match=r"you sent \*\*\*"):
        ask(client(server))


def test_without_a_key_no_authorization_is_sent(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FDVS_API_KEY", raising=False)
    ask(client(server))
    assert "Authorization" not in server.headers[0]


@pytest.mark.parametrize(
    ("host", "warned"), [("192.0.2.1", True), ("127.0.0.1", False), ("localhost", False)]
)
def test_a_key_over_plain_http_to_another_machine_is_warned_of(
    host: str, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FDVS_API_KEY", "k")
    ChatClient(parse_target(f"http://{host}/v1#m"), EndpointOptions()).close()
    assert ("not https" in caplog.text) is warned


@pytest.mark.parametrize(
    "target",
    [
        *("", "localhost:80/v1#m", "http://h/v1", "http://h/v1# ", "ftp://h/v1#m"),
        *("http:///v1#m", "http://user:pw@h/v1#m", "http://h/v1?key=pw#m"),
    ],
)
def test_a_wrong_target_is_an_error_that_shows_no_secret(target: str) -> None:
    with pytest.raises(ConfigError, match="HOST") as caught:
        parse_target(target)
    assert "pw" not in str(caught.value)


def test_a_target_is_url_and_model() -> None:
    target = parse_target("https://h:8000/v1/#org/model:7b")
    assert (target.base_url, target.model) == ("https://h:8000/v1", "org/model:7b")


def test_retry_after_is_read_as_seconds_or_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=30))
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=30))
    assert retry_after_s("12") == 12.0
    assert 25 < (retry_after_s(soon) or 0) <= 30
    assert retry_after_s(past) == 0.0
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 -0000") == 0.0
    assert [retry_after_s(v) for v in (None, "", "soon", "-5", "1" * 50)] == [None] * 5


def test_counts_that_are_no_counts_are_none_and_a_cut_reply_is_said() -> None:
    value = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": "7", "completion_tokens": True},
    }
    reply = parse_reply(json.dumps(value).encode())
    assert (reply.num_prompt_tokens, reply.num_tokens, reply.stopped) == (None, None, False)


def test_only_kept_frames_are_sent_as_jpeg_in_one_question_a_clip(server: Any) -> None:
    captioner = EndpointCaptioner.load(card(server), LoadSettings())
    (found,) = captioner.describe([view(200, num_frames=3)])
    assert [(o.source, o.text, o.start_s, o.end_s) for o in found] == [
        ("caption", "a red square", 0.0, 10.0)
    ]
    (question,) = server.asked
    *parts, words = question["messages"][0]["content"]
    assert "3 pictures" in words["text"]
    assert [one["text"] for one in parts[::2]] == [
        "Picture 1, 0:00:", "Picture 2, 0:01:", "Picture 3, 0:02:",
    ]  # fmt: skip
    pictures = parts[1::2]
    assert len(pictures) == 3
    for picture in pictures:
        head, _, data = picture["image_url"]["url"].partition(",")
        assert head == "data:image/jpeg;base64"
        from PIL import Image

        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
        assert image.shape == (24, 32, 3)
        assert abs(int(image.mean()) - 200) <= 1


def test_one_call_a_frame_gives_one_observation_a_frame(server: Any) -> None:
    captioner = EndpointCaptioner.load(card(server, frames_per_call=1), LoadSettings())
    (found,) = captioner.describe([view(1, num_frames=3, index=2)])
    assert [(o.start_s, o.end_s) for o in found] == [(20, 21), (21, 22), (22, 30)]
    assert len(server.asked) == 3


def test_many_clips_keep_their_order_and_the_bound_on_concurrency(server: Any) -> None:
    """Three must be asked at the same time to be let go, and a fourth would be counted."""
    three = threading.Barrier(3)
    now: list[int] = []
    most: list[int] = []

    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        from PIL import Image

        now.append(1)
        most.append(len(now))
        three.wait(timeout=20)
        url = body["messages"][0]["content"][1]["image_url"]["url"]
        image = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        level = round(float(np.asarray(image).mean()) / 10)
        time.sleep(0.02 * (level % 3))
        now.pop()  # before the answer is out: then the client may ask again
        server.says(f"level {level}")(handler, body)

    server.default = answer
    captioner = EndpointCaptioner.load(card(server, concurrency=3), LoadSettings())
    found = captioner.describe([view(10 * n, index=n) for n in range(9)])
    assert [[o.text for o in clip] for clip in found] == [[f"level {n}"] for n in range(9)]
    assert max(most) == 3
    assert captioner.batch_size == 3
    assert len(server.asked) == 9


def test_a_clip_without_frames_costs_no_call(server: Any) -> None:
    captioner = EndpointCaptioner.load(card(server), LoadSettings())
    assert captioner.describe([view(1, num_frames=0)]) == [[]]
    assert server.asked == []


@pytest.mark.parametrize("text", ["", "  \n", "<think>hm", "<|im_end|>", "Assistant:", "..."])
def test_an_empty_caption_is_bad_output(server: Any, text: str) -> None:
    server.default = server.says(text)
    captioner = EndpointCaptioner.load(card(server), LoadSettings())
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.describe([view(1)])


def test_thoughts_roles_and_special_tokens_do_not_reach_the_caption(server: Any) -> None:
    text = "<think>a dog?\n</think> Assistant: A cat\n  sleeps.<|im_end|></s>"
    server.default = server.says(text)
    captioner = EndpointCaptioner.load(card(server), LoadSettings())
    assert captioner.describe([view(1)])[0][0].text == "A cat sleeps."


def test_the_writer_sends_both_roles_and_counts_what_the_server_does_not(server: Any) -> None:
    writer = EndpointLanguageModel.load(card(server, "llm"), LoadSettings())
    written = writer.write("be short", "what?", max_tokens=9)
    assert (written.text, written.stopped) == ("a red square", True)
    assert written.num_prompt_tokens == writer.count_tokens("be short") + writer.count_tokens(
        "what?"
    )
    assert written.num_tokens == writer.count_tokens("a red square") == 4
    assert [m["role"] for m in server.asked[0]["messages"]] == ["system", "user"]
    assert len(server.asked) == 1


def test_the_writer_believes_the_servers_counts(server: Any) -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": 2}
    server.default = server.says(" ok ", usage=usage)
    written = EndpointLanguageModel.load(card(server, "llm"), LoadSettings()).write(
        "", "q", max_tokens=5
    )
    assert (written.text, written.num_prompt_tokens, written.num_tokens) == ("ok", 11, 2)
    assert [m["role"] for m in server.asked[0]["messages"]] == ["user"]


def test_a_prompt_that_does_not_fit_is_never_sent(server: Any) -> None:
    writer = EndpointLanguageModel.load(card(server, "llm", context_tokens=64), LoadSettings())
    with pytest.raises(ModelError, match="do not fit in the 64"):
        writer.write("", "word " * 100, max_tokens=5)
    assert server.asked == []


def test_an_empty_answer_is_bad_output(server: Any) -> None:
    server.default = server.says("  ")
    with pytest.raises(BadModelOutput, match="wrote nothing"):
        EndpointLanguageModel.load(card(server, "llm"), LoadSettings()).write("", "q", max_tokens=5)


def test_wrong_options_are_refused_before_anything_is_sent(server: Any) -> None:
    with pytest.raises(UnknownName, match="concurrency"):
        EndpointCaptioner.load(card(server, concurency=3), LoadSettings())
    with pytest.raises(InvalidValue, match="1 to 64"):
        EndpointCaptioner.load(card(server, concurrency=0), LoadSettings())
    with pytest.raises(InvalidValue, match="concurrency is True; allowed: a value of type int"):
        EndpointLanguageModel.load(card(server, "llm", concurrency=True), LoadSettings())
    assert server.asked == []
