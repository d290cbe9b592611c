"""What kubectl says to its credential plugin, what it is told, and how its kubeconfig is read."""

import json

import pytest

from auth_agent.cli.kubectl import credential, read_info
from auth_agent.cli.light import UsageError
from auth_agent.cli.setup.kubeconfig import Context, Kubeconfig, Plugin, read_kubeconfig

GROUP = "client.authentication.k8s.io"


def info(**members: object) -> str:
    return json.dumps({"kind": "ExecCredential", "apiVersion": f"{GROUP}/v1", **members})


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_kubectl_names_the_version_and_the_cluster(version: str) -> None:
    cluster = {"server": "https://k8s.example.com:6443", "certificate-authority-data": "LS0t", "config": None}
    text = info(apiVersion=f"{GROUP}/{version}", spec={"cluster": cluster, "interactive": True})
    assert read_info(text) == (f"{GROUP}/{version}", "https://k8s.example.com:6443")


@pytest.mark.parametrize(
    "spec",
    [None, [], {}, {"interactive": False}, {"cluster": None}, {"cluster": {}}, {"cluster": {"server": 1}}],
)
def test_the_cluster_may_be_missing(spec: object) -> None:
    assert read_info(info(spec=spec)) == (f"{GROUP}/v1", None)
    assert read_info(info()) == (f"{GROUP}/v1", None)


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (None, "kubectl starts this"),
        ("", "kubectl starts this"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not an ExecCredential"),
        (info(kind="Pod"), "not an ExecCredential"),
        (info(apiVersion=f"{GROUP}/v1alpha1"), f"{GROUP}/v1 or"),
        (info(apiVersion=1), f"{GROUP}/v1 or"),
    ],
)
def test_anything_else_is_refused(text: str | None, fact: str) -> None:
    with pytest.raises(UsageError, match=fact):
        read_info(text)


def test_a_token_is_replaced_a_minute_before_its_end() -> None:
    answer = json.loads(credential(f"{GROUP}/v1beta1", "at-1", 2_000_000_000.9))
    assert answer == {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "ExecCredential",
        "status": {"token": "at-1", "expirationTimestamp": "2033-05-18T03:32:20Z"},
    }


def test_a_token_without_a_known_end_has_no_timestamp() -> None:
    assert json.loads(credential(f"{GROUP}/v1", "at-1", None))["status"] == {"token": "at-1"}


def test_the_kubeconfig_as_kubectl_prints_it() -> None:
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://k8s.example.com"}}, {"name": "d"}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "a"}},
            {"name": "two", "context": {"cluster": "d", "user": ""}},
            {"name": "three", "context": {"cluster": "gone"}},
        ],
        "users": [
            {"name": "a", "user": {"exec": {"command": "/bin/x", "args": ["y"], "env": None}}},
            {"name": "b", "user": {"exec": {"command": "x", "args": None}}},
            {"name": "c", "user": {"token": "REDACTED"}},
        ],
    }
    assert read_kubeconfig(json.dumps(content)) == Kubeconfig(
        (Context("one", "https://k8s.example.com", "a"), Context("two", "", ""), Context("three", "", "")),
        {"a": Plugin("/bin/x", ("y",)), "b": Plugin("x", ()), "c": None},
    )


@pytest.mark.parametrize("text", ["{}", '{"clusters": null, "contexts": null, "users": null}', '{"users": [1, {}]}'])
def test_an_empty_kubeconfig_has_nothing(text: str) -> None:
    config = read_kubeconfig(text)
    assert (config.contexts, set(config.users) - {""}) == ((), set())
