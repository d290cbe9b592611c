"""Checks of the running agent: its version, its socket, its store and its sessions, by the result of `status`."""

from collections.abc import Mapping

from auth_agent import remedies
from auth_agent.cli.condition import condition_of
from auth_agent.cli.doctor.finding import GOOD, WARNING, WRONG, Finding
from auth_agent.cli.stake import accounts_at_stake, is_persistent
from auth_agent.cli.status import store_name
from auth_agent.cli.terminal import duration
from auth_agent.storage.lock import unreachable
from auth_agent_client import AgentStatus, Record, Status
from auth_agent_client.errors import AgentError, AgentNotRunning

_VERDICTS = {"good": GOOD, "off": WARNING, "warning": WARNING, "bad": WRONG}


def judge_missing(error: AgentError, lost: int | None = None) -> Finding:
    """Return the finding if the agent can't be asked; `lost`: the process of one that runs nevertheless."""
    if lost is not None:
        text = f"{error.message}, but an agent for it runs: process {lost}"
        return Finding("agent", WRONG, text, unreachable(lost))
    verdict = WARNING if isinstance(error, AgentNotRunning) else WRONG
    return Finding("agent", verdict, error.message, error.remedy)


def judge_agent(status: Mapping[str, object], version: str, config: str, now: float) -> list[Finding]:
    """Return the findings about the agent itself.

    Args:
        status: the result of `status`.
        version: this command's version.
        config: the configuration file that this command reads.
        now: Unix time in seconds.

    """
    agent = Status(status).agent
    parts = [
        f"version {agent.version}",
        f"process {agent.pid}",
        *([] if agent.started_at is None else [f"running for {duration(now - agent.started_at)}"]),
    ]
    findings = [Finding("agent", GOOD, ", ".join(parts)), _judge_socket(agent)]
    if agent.locked:
        findings.append(Finding("agent", WARNING, "locked: it serves nobody", (remedies.unlock(),)))
    if agent.version != version:
        text = f"the agent runs version {agent.version}, and this command is {version}"
        findings.append(Finding("version", WARNING, text, (remedies.restart(),)))
    if agent.restart_refused is not None:
        text = f"the last restart was refused: {agent.restart_refused.reason}"
        findings.append(Finding("agent", WARNING, text, agent.restart_refused.remedy))
    if agent.config is not None and agent.config != config:
        text = f"the agent reads {agent.config}, and this command {config}"
        findings.append(Finding("config", WARNING, text, (remedies.same_configuration(),)))
    return findings


def _judge_socket(agent: AgentStatus) -> Finding:
    if agent.socket_problem is None:
        return Finding("socket", GOOD, str(agent.socket))
    return Finding("socket", WARNING, f"{agent.socket}: {agent.socket_problem.reason}", agent.socket_problem.remedy)


def judge_store(status: Mapping[str, object]) -> list[Finding]:
    """Return the findings about the store that the agent uses."""
    store = Status(status).agent.store
    name = store_name(store)
    findings: list[Finding] = []
    if store.problem is not None:
        findings.append(Finding("store", WRONG, f"{name}: {store.problem}", store.remedy))
    elif not is_persistent(store):
        findings.append(Finding("store", WARNING, "sessions are kept in memory only, and end with the agent"))
    else:
        findings.append(Finding("store", GOOD, str(name)))
    unsaved = accounts_at_stake(status) if is_persistent(store) else []
    if unsaved:
        findings.append(Finding("store", WARNING, f"not saved yet: {', '.join(unsaved)}"))
    return findings


def judge_files(status: Mapping[str, object]) -> list[Finding]:
    """Return the findings about the files that hold tokens."""
    findings: list[Finding] = []
    for file in Status(status).agent.files:
        text = f"{file.path}: {file.account}'s {'ID token' if file.kind == 'id' else 'access token'}"
        if file.reason is None:
            findings.append(Finding("file", GOOD, text if file.present else f"{text} is on its way"))
        else:
            verdict = WRONG if file.failure == "file_failed" else WARNING
            findings.append(Finding("file", verdict, f"{text}: {file.reason}", file.remedy))
    return findings


def judge_session(record: Record, now: float) -> Finding:
    """Return the finding about an account's session; `now` is Unix time in seconds."""
    condition = condition_of(record, now)
    words = ", ".join(filter(None, [condition.words, condition.more]))
    text = f"{record.account}: {words}" + (f": {condition.problem}" if condition.problem else "")
    remedy = condition.remedy if condition.kind != "good" else ()
    return Finding("session", _VERDICTS[condition.kind], text, tuple(remedy))
