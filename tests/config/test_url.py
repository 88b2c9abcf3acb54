import pytest

from proxy.config.url import Url, is_host, is_loopback, url


@pytest.mark.parametrize(
    ("text", "host", "port", "path", "authority"),
    [
        ("https://api.openai.com", "api.openai.com", 443, "", "api.openai.com"),
        ("HTTP://Example.com:80/", "example.com", 80, "", "example.com"),
        ("http://127.0.0.1:6333/a/b/", "127.0.0.1", 6333, "/a/b", "127.0.0.1:6333"),
        ("https://[::1]:8443/x%20y", "::1", 8443, "/x%20y", "[::1]:8443"),
        ("http://[0:0::1]", "::1", 80, "", "[::1]"),
        ("http://h:443", "h", 443, "", "h:443"),
        ("http://my_service.svc.", "my_service.svc.", 80, "", "my_service.svc."),
    ],
)
def test_a_url_is_an_origin_and_a_base_path(text, host, port, path, authority):
    found = url(text)

    assert (found.host, found.port, found.path, found.authority) == (host, port, path, authority)
    assert str(found) == f"{found.scheme}://{authority}{path}"
    assert url(found) is found


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("ftp://h", "http"),
        ("h:80", "http"),
        ("api.openai.com", "http"),
        ("https:/h", "http"),
        ("", "http"),
        ("http://u:p@h", "auth"),
        ("http://@h", "auth"),
        ("http://h/?a=b", "query"),
        ("http://h/#x", "query"),
        ("http://h?", "query"),
        ("http://h:0", "port 0"),
        ("http://h:99999", "port"),
        ("http://h:x", "port"),
        ("http://[::1", "host or port"),
        ("http://[::1%25eth0]", "no host"),
        ("http://[v1.x]", "IPv6"),
        ("http://[h]", "host or port"),
        ("http://", "no host"),
        ("http:///x", "no host"),
        ("http://bücher.de", "xn--"),
        ("http://a b", "no host"),
        ("http://-h", "no host"),
        ("http://h/a b", "path"),
        ("http://h/a\\b", "path"),
        ("http://h/../x", "path"),
        ("http://h/a/./x", "path"),
        (None, "URL"),
        (5, "URL"),
    ],
)
def test_what_cannot_be_called_is_refused_without_repeating_it(text, meant):
    with pytest.raises(ValueError, match=meant) as refused:
        url(text)

    assert "u:p" not in str(refused.value)


def test_only_addresses_of_this_machine_are_loopback():
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "h")))


def test_a_host_is_a_name_or_an_address():
    assert all(map(is_host, ("h", "a.b-c.d", "::", "10.0.0.1")))
    assert not any(map(is_host, ("", "a b", "a/b", "-", "a\n")))


def test_a_url_is_a_value():
    assert Url("http", "h", 80, "") == url("http://h/")
