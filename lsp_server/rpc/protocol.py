"""Messages in, calls of the server and replies out: pygls' protocol, with what pygls 2.1.1 gets wrong mended.

A request that cannot be read is answered and not dropped; nothing a message holds is ever logged; the documents are the
session's, not pygls' own.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from concurrent.futures import Future
from typing import Any, Protocol

import cattrs
import msgspec
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pygls.protocol import LanguageServerProtocol, lsp_method

from lsp_server.rpc.wire import inline_item

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
INTERNAL_ERROR, NOT_INITIALIZED, CANCELLED = -32603, -32002, -32800

_CANCEL = types.CANCEL_REQUEST


class Host(Protocol):
    """What the protocol tells the server of."""

    def opened(self, params: types.DidOpenTextDocumentParams) -> None:
        """A document is shown."""

    def changed(self, params: types.DidChangeTextDocumentParams) -> None:
        """A document was edited."""

    def closed(self, params: types.DidCloseTextDocumentParams) -> None:
        """A document is no longer shown."""

    def missed(self, method: str, uri: str | None) -> None:
        """A notification could not be read."""

    def replied(self, identifier: int | str) -> None:
        """The answer to a request has been written."""

    def failed(self, error: BaseException) -> None:
        """Something of ours raised what it should not."""

    def left(self) -> None:
        """The editor said exit."""


class LacunaProtocol(LanguageServerProtocol):
    """pygls' protocol: every request is answered, in its order of arrival, and nothing of it is logged."""

    host: Host
    arrived: float = 0.0  # when the message being handled was read, in seconds of time.monotonic()

    def receive(self, body: bytes, at: float) -> None:
        """One message, as it came."""
        try:
            data = _decoded(body)
        except (ValueError, RecursionError):
            self._refuse(None, PARSE_ERROR, "the message is not JSON")
            return
        if not isinstance(data, dict) or data.get("jsonrpc") != "2.0":
            self._refuse(_identifier(data), INVALID_REQUEST, "the message is not JSON-RPC 2.0")
            return
        if "method" not in data:
            self._respond(data)
        elif self._is_due(data):
            self._handle(data, at)

    def _is_due(self, data: dict[str, Any]) -> bool:
        """Whether the message may come now; a request that may not is refused."""
        method, known = data["method"], self._workspace is not None
        refusal: tuple[int, str] | None = None
        if not isinstance(method, str):
            refusal = INVALID_REQUEST, "the method is not a text"
        elif "id" in data and _identifier(data) is None:
            refusal = INVALID_REQUEST, "the id is neither a number nor a text"
        elif method == types.EXIT:
            pass
        elif self._shutdown:
            refusal = INVALID_REQUEST, "the server is shutting down"
        elif known == (method == types.INITIALIZE):
            refusal = INVALID_REQUEST if known else NOT_INITIALIZED, "initialize comes first, and once"
        elif method not in self.fm.builtin_features and method not in self.fm.features and method != _CANCEL:
            refusal = METHOD_NOT_FOUND, "there is no such method here"
        if refusal is not None and "id" in data:
            self._refuse(_identifier(data), *refusal)
        return refusal is None

    def _handle(self, data: dict[str, Any], at: float) -> None:
        try:
            message = self.structure_message(data)
        except JsonRpcException as error:
            if "id" in data:
                self._refuse(_identifier(data), INVALID_PARAMS, _complaint(error))
            else:
                self.host.missed(data["method"], _uri(data))
            return
        self.arrived = at
        self.handle_message(message)

    def _respond(self, data: dict[str, Any]) -> None:
        """The editor's answer to a request of ours."""
        try:
            self.handle_message(self.structure_message(data))
        except JsonRpcException as error:
            future = self._request_futures.pop(str(data.get("id")), None)
            if future is not None and not future.done():
                future.set_exception(error)

    def _refuse(self, identifier: int | str | None, code: int, message: str) -> None:
        """An error reply."""
        self._send_data({"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}})

    def _send_response(
        self, msg_id: int | str, result: Any | None = None, error: types.ResponseError | None = None
    ) -> None:
        super()._send_response(msg_id, result, error)
        self.host.replied(msg_id)

    def _send_handler_result(self, future: Future[Any], *, msg_id: int | str) -> None:
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            self._send_response(msg_id, error=types.ResponseError(CANCELLED, "cancelled"))
        elif (error := future.exception()) is None:
            self._send_response(msg_id, result=future.result())
        elif isinstance(error, JsonRpcException):
            self._send_response(msg_id, error=types.ResponseError(error.code, error.message))
        else:
            self.host.failed(error)
            words = f"Lacuna failed ({type(error).__name__}); see its log and report it"
            self._send_response(msg_id, error=types.ResponseError(INTERNAL_ERROR, words))

    def _check_handler_result(self, future: Future[Any]) -> None:
        if not future.cancelled() and (error := future.exception()) is not None:
            self.host.failed(error)

    @lsp_method(types.TEXT_DOCUMENT_DID_OPEN)
    def lsp_text_document__did_open(self, params: types.DidOpenTextDocumentParams) -> None:
        """The session's document, not pygls'."""
        self.host.opened(params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CHANGE)
    def lsp_text_document__did_change(self, params: types.DidChangeTextDocumentParams) -> None:
        """The session's document, not pygls'."""
        self.host.changed(params)

    @lsp_method(types.TEXT_DOCUMENT_DID_CLOSE)
    def lsp_text_document__did_close(self, params: types.DidCloseTextDocumentParams) -> None:
        """The session's document, not pygls'."""
        self.host.closed(params)

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: Any) -> Generator[Any, Any, None]:
        """Ends the loop in order, where pygls would raise SystemExit in the midst of it."""
        self.host.left()
        yield from ()

    def rehearse(self) -> None:
        """Read and write one of each message that comes with a key: cattrs compiles its code with the first."""
        at = {"line": 0, "character": 0}
        document = {"uri": "untitled:rehearsal", "version": 0}
        edit = {"range": {"start": at, "end": at}, "text": ""}
        asked = {"textDocument": document, "position": at}
        for method, params in (
            (types.TEXT_DOCUMENT_DID_OPEN, {"textDocument": {**document, "languageId": "", "text": ""}}),
            (types.TEXT_DOCUMENT_DID_CHANGE, {"textDocument": document, "contentChanges": [edit, {"text": ""}]}),
            (types.TEXT_DOCUMENT_INLINE_COMPLETION, {**asked, "context": {"triggerKind": 2}}),
            (types.TEXT_DOCUMENT_COMPLETION, asked),
            (types.CANCEL_REQUEST, {"id": 0}),
        ):
            self.structure_message({"jsonrpc": "2.0", "id": 0, "method": method, "params": params})
        place = types.Position(0, 0)
        self._serialize_message(types.InlineCompletionResponse(0, [inline_item("", 0, place)]))
        self._serialize_message(types.InlineCompletionResponse(0, []))

    @property
    def orderly(self) -> bool:
        """Whether shutdown came before."""
        return self._shutdown


def hush() -> None:
    """Keep pygls from logging messages, which hold the user's code, or errors about them, which quote it."""
    for name in ("pygls", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _decoded(body: bytes) -> Any:
    """JSON, quickly where it is clean; half a surrogate pair, which editors may send, is left to the patient reader."""
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        return json.loads(body)


def _identifier(data: Any) -> int | str | None:
    found = data.get("id") if isinstance(data, dict) else None
    return found if isinstance(found, int | str) and not isinstance(found, bool) else None


def _uri(data: dict[str, Any]) -> str | None:
    """The document that a message is about, if it can be told."""
    params = data.get("params")
    document = params.get("textDocument") if isinstance(params, dict) else None
    uri = document.get("uri") if isinstance(document, dict) else None
    return uri if isinstance(uri, str) else None


def _complaint(error: JsonRpcException) -> str:
    """What is wrong with a request's parameters: where and what was expected, never what was there."""
    try:
        reasons = cattrs.transform_error(error.__cause__, format_exception=_expected)  # type: ignore[arg-type]
    except Exception:  # an error about an error helps nobody
        reasons = []
    return "; ".join(["the parameters cannot be read", *reasons[:3]])


def _expected(error: BaseException, kind: type | None) -> str:
    if isinstance(error, KeyError):
        return "a field is missing"
    return f"expected {getattr(kind, '__name__', None) or 'something else'}"
