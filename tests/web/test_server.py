from __future__ import annotations

import socket
import threading
from contextlib import closing

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from syncbroker.errors import BadSetting
from syncbroker.web.counts import Requests
from syncbroker.web.server import listen, serving, url_of
from tests.support.asking import ask


def test_a_port_that_is_taken_is_a_setting_to_change() -> None:
    with closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSetting, match=f"cannot listen on 127.0.0.1:{port}") as caught:
            listen("127.0.0.1", port)
    assert "--port" in caught.value.hint


def test_a_host_that_is_no_address_is_a_setting_to_change(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_given: object, **_options: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(BadSetting, match="no address to listen on"):
        listen("no.such.host.invalid", 0)


def test_the_url_names_the_port_that_was_taken() -> None:
    with closing(listen("127.0.0.1", 0)) as listening:
        assert url_of(listening) == f"http://127.0.0.1:{listening.getsockname()[1]}"


def test_a_request_that_is_under_way_is_answered_before_the_server_stops() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_request: Request) -> PlainTextResponse:
        begun.set()
        go_on.wait()
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/", slow)])
    listening = listen("127.0.0.1", 0)
    url, answers = url_of(listening), list[str]()
    with serving(app, listening, Requests()):
        asking = threading.Thread(target=lambda: answers.append(ask("GET", url, "/").text))
        asking.start()
        begun.wait()
        threading.Timer(0.2, go_on.set).start()
    asking.join()
    assert answers == ["done"]


def test_after_it_stopped_nobody_listens() -> None:
    listening = listen("127.0.0.1", 0)
    address = listening.getsockname()
    with serving(Starlette(), listening, Requests()):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
