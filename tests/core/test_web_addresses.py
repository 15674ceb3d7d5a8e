from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncbroker.core import values
from syncbroker.core.mapping import ValueSpec
from syncbroker.core.types import Type
from syncbroker.core.web_addresses import (
    HAS_LOGIN,
    NO_DOMAIN,
    NO_URL,
    NOT_WEB,
    fast_domain,
    fast_url,
    slow_domain,
    slow_url,
)

URL = ValueSpec(type=Type.URL)
DOMAIN = ValueSpec(type=Type.DOMAIN)


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("example.com", "https://example.com"),
        ("//example.com/a", "https://example.com/a"),
        ("HTTP://Example.COM/", "http://example.com"),
        ("http://example.com:80/a", "http://example.com/a"),
        ("https://example.com:443", "https://example.com"),
        ("https://example.com:8443/", "https://example.com:8443"),
        ("example.com:8080/x", "https://example.com:8080/x"),
        ("https://example.com/?a=1", "https://example.com?a=1"),
        ("https://example.com/A/b/", "https://example.com/A/b/"),
        ("https://example.com/a#Part", "https://example.com/a#Part"),
        ("https://example.com/a?#", "https://example.com/a"),
        ("https://example.com/a?", "https://example.com/a"),
        ("https://example.com./a", "https://example.com/a"),
        ("https://münchen.de/straße", "https://xn--mnchen-3ya.de/stra%C3%9Fe"),
        ("https://example.com/%c3%9f", "https://example.com/%C3%9F"),
        ("https://example.com/a?u=https://b.example", "https://example.com/a?u=https://b.example"),
        ("example.com/a?u=https://b.example", "https://example.com/a?u=https://b.example"),
        ("http://192.0.2.1/x", "http://192.0.2.1/x"),
        ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://", None),
        ("n/a", None),
        ("ftp://example.com", NOT_WEB),
        ("javascript:alert(1)", NOT_WEB),
        ("mailto:ann@example.com", NOT_WEB),
        ("https://ann:secret@example.com", HAS_LOGIN),
        ("ann@example.com", HAS_LOGIN),
        ("acme", NO_URL),
        ("http://localhost", NO_URL),
        ("https://exa mple.com", NO_URL),
        ("https://example.com:99999", NO_URL),
        ("https://-a.com", NO_URL),
        ("https://a_b.com", NO_URL),
        ("https://1.2.3", NO_URL),
        ("see our site", NO_URL),
    ],
    ids=ascii,
)
def test_a_url_is_normalised_without_leading_elsewhere(raw: str, becomes: object) -> None:
    assert values.canonical(URL, raw) == becomes


@pytest.mark.parametrize(
    ("raw", "becomes"),
    [
        ("Example.com", "example.com"),
        ("www.example.com", "example.com"),
        ("www.www.example.com", "example.com"),
        ("www.com", "www.com"),
        ("https://www.Example.com/about?x#y", "example.com"),
        ("http://user:secret@shop.example.com:8080", "shop.example.com"),
        ("ann@mail.example.com", "mail.example.com"),
        ("example.com.", "example.com"),
        ("münchen.de", "xn--mnchen-3ya.de"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("n/a", None),
        ("acme", NO_DOMAIN),
        ("192.0.2.1", NO_DOMAIN),
        ("exa mple.com", NO_DOMAIN),
        ("a..b", NO_DOMAIN),
        ("a" * 64 + ".com", NO_DOMAIN),
        ("a." * 200 + "com", NO_DOMAIN),
    ],
    ids=lambda raw: ascii(raw)[:40],
)
def test_a_domain_is_bare_and_ascii(raw: str, becomes: object) -> None:
    assert values.canonical(DOMAIN, raw) == becomes


HOSTS = st.lists(
    st.text(alphabet="abx019-", min_size=1, max_size=5)
    | st.sampled_from(["www", "xn--a", "b--c", "a" * 63, "a" * 64]),
    min_size=1,
    max_size=4,
).map(".".join)
TAILS = st.text(alphabet="/aB%3?#:.~&=@ é", max_size=10)


@given(st.builds(str.__add__, HOSTS, st.sampled_from(["", ".com", ".c0m", ".1"])))
@example("www.com")
@example("a" * 61 + ".co")
def test_the_fast_path_for_domains_says_what_taking_apart_says(text: str) -> None:
    assert fast_domain(text) in (None, slow_domain(text))


@given(
    st.builds(
        lambda *parts: "".join(parts), st.sampled_from(["http://", "https://", "HTTP://", ""]), HOSTS, TAILS
    )
)
def test_the_fast_path_for_urls_says_what_taking_apart_says(text: str) -> None:
    assert fast_url(text) in (None, slow_url(text))


@pytest.mark.parametrize("text", ["https://example.com", "http://shop.example.co.uk/a/b-c_d.html"])
def test_the_fast_path_answers_for_usual_urls(text: str) -> None:
    assert fast_url(text) == text
