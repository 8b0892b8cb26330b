from __future__ import annotations

import httpx
import pytest
from requests.utils import should_bypass_proxies

from config.environment import drop_outer_variables, exempt_loopback

HERE = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("given", "excepted"),
    [
        ({}, HERE),
        ({"NO_PROXY": "internal.example"}, f"internal.example,{HERE}"),
        ({"no_proxy": "a.example, b.example"}, f"a.example,b.example,{HERE}"),
        ({"no_proxy": "a.example", "NO_PROXY": "b.example"}, f"a.example,b.example,{HERE}"),
        ({"no_proxy": "127.0.0.1"}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
        ({"no_proxy": ""}, HERE),
    ],
)
def test_what_was_excepted_stays_so_and_loopback_comes_to_it(
    given: dict[str, str], excepted: str
) -> None:
    exempt_loopback(given)
    assert given == {"no_proxy": excepted, "NO_PROXY": excepted}
    again = dict(given)
    exempt_loopback(again)
    assert again == given


@pytest.mark.parametrize("spelled", ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"])
def test_clients_go_past_a_proxy_to_this_machine_and_through_it_to_others(
    spelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {spelled: "http://127.0.0.1:9"}
    exempt_loopback(environment)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for url in ("http://127.0.0.1:4200/api", "http://localhost:4200/", "http://[::1]:4200/"):
        assert should_bypass_proxies(url, no_proxy=None)
    client = httpx.Client()
    direct = client._transport
    assert client._transport_for_url(httpx.URL("http://127.0.0.1:4200/api")) is direct
    assert client._transport_for_url(httpx.URL("http://localhost:4200/api")) is direct
    assert client._transport_for_url(httpx.URL("http://example.com/")) is not direct


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "socks4", "SOCKS5"])
def test_a_proxy_that_no_library_here_speaks_to_is_left_out(scheme: str) -> None:
    environment = {"all_proxy": f"{scheme}://127.0.0.1:1080", "https_proxy": "http://proxy:3128"}
    exempt_loopback(environment)
    assert "all_proxy" not in environment
    assert environment["https_proxy"] == "http://proxy:3128"


def test_what_an_outer_job_says_of_itself_goes_and_how_servers_are_reached_stays() -> None:
    outer = {
        "MLFLOW_RUN_ID": "abc",
        "MLFLOW_EXPERIMENT_ID": "7",
        "MLFLOW_EXPERIMENT_NAME": "theirs",
        "MLFLOW_TRACKING_URI": "http://127.0.0.1:9",
        "MLFLOW_REGISTRY_URI": "databricks",
        "MLFLOW_ENABLE_ASYNC_LOGGING": "true",
        "_MLFLOW_ACTIVE_MODEL_ID": "m-1",
        "MLFLOW_BACKEND_STORE_URI": "sqlite:///theirs.db",
        "PREFECT_HOME": "/theirs",
        "PREFECT_PROFILE": "theirs",
        "PREFECT__FLOW_RUN_ID": "f",
        "PREFECT_API_DATABASE_CONNECTION_URL": "sqlite+aiosqlite:////theirs.db",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_TEST_MODE": "1",
        "PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true",
    }
    kept = {
        "MLFLOW_TRACKING_TOKEN": "t",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_S3_ENDPOINT_URL": "https://s3",
        "PREFECT_API_URL": "https://prefect/api",
        "PREFECT_API_KEY": "k",
        "PREFECT_CLIENT_MAX_RETRIES": "7",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PATH": "/bin",
        "MELO_HOME": "/home",
    }
    environment = outer | kept
    drop_outer_variables(environment)
    assert environment == kept


def test_within_a_run_of_prefect_its_own_variables_stay() -> None:
    environment = {"PREFECT__FLOW_RUN_ID": "f", "PREFECT_HOME": "/h", "MLFLOW_RUN_ID": "abc"}
    drop_outer_variables(environment, prefect=False)
    assert environment == {"PREFECT__FLOW_RUN_ID": "f", "PREFECT_HOME": "/h"}
