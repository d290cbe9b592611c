"""Entra's issuer that stands for any tenant: which addresses have it, and what fits it."""

import json

import pytest
from hypothesis import given, strategies as st

from auth_agent.oauth.discovery import DiscoveryError, Metadata, parse_metadata
from auth_agent.oauth.entra import Cloud, Tenant, api_parameters, is_for, is_issuer, issuers_for, keys_for, tenant_of

LOGIN = "https://login.microsoftonline.com"
TEMPLATE = f"{LOGIN}/{{tenantid}}/v2.0"
TID = "3338040d-6c67-4c5b-b112-36a304b66dad"
CONSUMERS = "9188040d-6c67-4c5b-b112-36a304b66dad"
ALICE = Tenant(f"{LOGIN}/{TID}/v2.0", TID)
# A cloud of any host: which hosts are Microsoft's is data.
HERE = (Cloud(frozenset({"127.0.0.1"}), "sts.example"),)


# ---- which addresses


@pytest.mark.parametrize("tenant", ["common", "organizations", "Common"])
@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    "host", ["login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"]
)
def test_an_address_for_all_tenants_has_its_clouds_template(host: str, tenant: str, slash: str) -> None:
    assert f"https://{host}/{{tenantid}}/v2.0" in issuers_for(f"https://{host}/{tenant}/v2.0{slash}")
    assert len({url.partition("/{")[2] for url in issuers_for(f"https://{host}/{tenant}/v2.0")}) == 1


@pytest.mark.parametrize(
    ("host", "issuer"),
    [
        ("login.microsoftonline.com", "https://sts.windows.net/{tenantid}/"),
        ("login.microsoftonline.us", "https://sts.windows.net/{tenantid}/"),
        ("login.chinacloudapi.cn", "https://sts.chinacloudapi.cn/{tenantid}/"),
    ],
)
def test_version_1_has_an_issuer_of_another_host(host: str, issuer: str) -> None:
    assert issuers_for(f"https://{host}/common") == issuers_for(f"https://{host}/common/") == {issuer}


def test_an_alias_may_be_called_by_its_clouds_first_name_and_no_other_clouds() -> None:
    named = issuers_for("https://login.windows.net/common/v2.0")
    assert TEMPLATE in named
    assert not any(cloud in issuer for issuer in named for cloud in (".us", ".cn"))


def test_the_address_of_personal_accounts_is_another_name_of_their_tenant() -> None:
    assert f"{LOGIN}/{CONSUMERS}/v2.0" in issuers_for(f"{LOGIN}/consumers/v2.0")
    assert not any("{" in issuer for issuer in issuers_for(f"{LOGIN}/consumers/v2.0"))


@pytest.mark.parametrize(
    "issuer",
    [
        f"{LOGIN}/{TID}/v2.0",  # a configured tenant is never widened
        f"{LOGIN}/acme.onmicrosoft.com/v2.0",
        f"{LOGIN}/common/v3.0",
        f"{LOGIN}/common/oauth2/v2.0",
        f"{LOGIN}/x/common/v2.0",
        f"{LOGIN}",
        f"{LOGIN}:8443/common/v2.0",
        "http://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com.evil.example/common/v2.0",
        "https://evil.example/login.microsoftonline.com/common/v2.0",
        "https://xlogin.microsoftonline.com/common/v2.0",
        "https://op.example/common/v2.0",
    ],
)
def test_no_other_issuer_has_a_template(issuer: str) -> None:
    assert issuers_for(issuer) == frozenset()
    body = json.dumps({"issuer": TEMPLATE, "token_endpoint": f"{LOGIN}/common/oauth2/v2.0/token"}).encode()
    with pytest.raises(DiscoveryError):
        parse_metadata(issuer, body)


def test_which_hosts_are_microsofts_is_data() -> None:
    assert issuers_for("https://127.0.0.1/common/v2.0") == frozenset()
    assert issuers_for("https://127.0.0.1/common/v2.0", HERE) == {"https://127.0.0.1/{tenantid}/v2.0"}


# ---- metadata


def body(issuer: str) -> bytes:
    return json.dumps({"issuer": issuer, "token_endpoint": f"{LOGIN}/common/oauth2/v2.0/token"}).encode()


def test_metadata_with_the_template_is_accepted_and_keeps_it() -> None:
    assert parse_metadata(f"{LOGIN}/common/v2.0", body(TEMPLATE)).issuer == TEMPLATE


@pytest.mark.parametrize(
    "issuer",
    [
        "https://evil.example/{tenantid}/v2.0",
        f"{LOGIN}/{{tenant}}/v2.0",
        f"{LOGIN}/{{tenantid}}/v1.0",
        f"{LOGIN}/{{tenantid}}",
        f"{LOGIN}/{TID}/v2.0",
        "https://{tenantid}/v2.0",
        "{tenantid}",
    ],
)
def test_metadata_with_another_template_is_another_issuers(issuer: str) -> None:
    with pytest.raises(DiscoveryError):
        parse_metadata(f"{LOGIN}/common/v2.0", body(issuer))


def test_the_api_is_named_as_each_version_has_it() -> None:
    def metadata(token_endpoint: str) -> Metadata:
        return Metadata(f"{LOGIN}/{TID}/v2.0", token_endpoint)

    assert metadata(f"{LOGIN}/{TID}/oauth2/v2.0/token").api_parameters == ()
    assert metadata(f"{LOGIN}/{TID}/oauth2/token").api_parameters == ("resource",)
    assert api_parameters("https://op.example/oauth2/v2.0/token") is None


# ---- ID tokens


def test_the_issuer_must_be_the_template_with_the_tokens_own_tenant() -> None:
    assert tenant_of({"iss": ALICE.issuer, "tid": TID}, {TEMPLATE}) == ALICE


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": ALICE.issuer},
        {"tid": TID},
        {"iss": ALICE.issuer, "tid": CONSUMERS},
        {"iss": f"{ALICE.issuer}/", "tid": TID},
        {"iss": f"https://evil.example/{TID}/v2.0", "tid": TID},
        {"iss": TEMPLATE, "tid": "{tenantid}"},
        {"iss": f"{LOGIN}/common/v2.0", "tid": "common"},
        {"iss": f"{LOGIN}//v2.0", "tid": ""},
        {"iss": f"{LOGIN}/x/../{TID}/v2.0", "tid": f"x/../{TID}"},
        {"iss": f"{LOGIN}/{TID}\n/v2.0", "tid": f"{TID}\n"},
        {"iss": ALICE.issuer, "tid": [TID]},
        {"iss": [ALICE.issuer], "tid": TID},
    ],
    ids=str,
)
def test_any_other_issuer_is_no_tenants(claims: dict[str, object]) -> None:
    assert tenant_of(claims, {TEMPLATE}) is None


@given(st.dictionaries(st.sampled_from(["iss", "tid"]), st.text() | st.none() | st.integers() | st.lists(st.text())))
def test_any_claims_name_a_tenant_or_none(claims: dict[str, object]) -> None:
    assert tenant_of(claims, {TEMPLATE}) is None


def test_personal_accounts_are_of_one_tenant() -> None:
    issuers = issuers_for(f"{LOGIN}/consumers/v2.0")
    assert tenant_of({"iss": f"{LOGIN}/{CONSUMERS}/v2.0", "tid": CONSUMERS}, issuers) is not None
    assert tenant_of({"iss": ALICE.issuer, "tid": TID}, issuers) is None


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [(TEMPLATE, True), (ALICE.issuer, True), (f"{LOGIN}/{CONSUMERS}/v2.0", False), (None, False), (7, False)],
)
def test_what_may_be_a_template_is_for_a_tenant(issuer: object, expected: bool) -> None:
    assert is_for(issuer, ALICE) is expected


# ---- redirects (RFC 9207)


@pytest.mark.parametrize(
    ("named", "issuer", "expected"),
    [
        ("https://op.example", "https://op.example", True),
        ("https://op.example/", "https://op.example", False),
        (ALICE.issuer, TEMPLATE, True),
        (TEMPLATE, TEMPLATE, False),
        (f"{LOGIN}/common/v2.0", TEMPLATE, False),
        (f"https://loginxmicrosoftonline.com/{TID}/v2.0", TEMPLATE, False),
        (f"{ALICE.issuer}/", TEMPLATE, False),
    ],
)
def test_the_issuer_of_a_redirect_is_compared_as_a_string(named: str, issuer: str, expected: bool) -> None:
    assert is_issuer(named, issuer) is expected


# ---- keys


def test_keys_of_other_issuers_are_left_out() -> None:
    keys = [
        {"kid": "any"},
        {"kid": "template", "issuer": TEMPLATE},
        {"kid": "own", "issuer": ALICE.issuer},
        {"kid": "consumers", "issuer": f"{LOGIN}/{CONSUMERS}/v2.0"},
        {"kid": "evil", "issuer": "https://evil.example/{tenantid}/v2.0"},
        {"kid": "null", "issuer": None},
        7,
    ]
    kept = json.loads(keys_for(json.dumps({"keys": keys}), ALICE))["keys"]
    assert [key["kid"] if isinstance(key, dict) else key for key in kept] == ["any", "template", "own", 7]


@pytest.mark.parametrize("key_set", ["", "[]", "{}", '{"keys": 7}', "\ud83d"])
def test_a_key_set_that_can_not_be_read_is_left_to_the_check(key_set: str) -> None:
    assert keys_for(key_set, ALICE) == key_set
