"""All commands, written by `make command-tree` for completion, which does without click.

By its name each has a summary, its arguments, and its options with their values' names ("": none) and help.
"""

TREE: dict[str, tuple[str, str, dict[str, tuple[str, str]]]] = {
    "": (
        "Hold logins for every program of a user, as ssh-agent holds keys.",
        "",
        {
            "--socket": ("PATH", "The agent's socket; default: AUTH_AGENT_SOCK."),
            "--config": ("PATH", "The configuration; default: AUTH_AGENT_CONFIG."),
            "-v": ("", "Print more; an agent logs more."),
            "--verbose": ("", "Print more; an agent logs more."),
            "-q": ("", "Print only results and errors."),
            "--quiet": ("", "Print only results and errors."),
            "-V": ("", "Show the version and exit."),
            "--version": ("", "Show the version and exit."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "account": (
        "Show, add, rename and remove accounts, and choose the default one.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "account add": (
        "Add an account to the configuration. `auth-agent login` can do the same, and logs in.",
        "NAME",
        {
            "--issuer": ("URL", "The provider's issuer URL, such as https://acme.eu.auth0.com/."),
            "--client-id": ("ID", "The client ID that the provider issued."),
            "--audience": ("TEXT", "The API that access tokens are for, if the provider needs to know."),
            "--scope": ("TEXT", "The scopes to request, separated by spaces (openid profile email offline_access)."),
            "--redirect-port": (
                "PORT",
                "A port of the redirect URL on this machine, 0 for any; may be repeated (48631, 48632, 48633).",
            ),
            "--redirect-host": (
                "127.0.0.1|localhost|[::1]",
                "The host of the redirect URL, as the provider has it registered (127.0.0.1).",
            ),
            "--redirect-path": ("PATH", 'The path of the redirect URL, "" if it has none (/callback).'),
            "--ca-file": ("FILE", "More certificates to trust for this provider, in PEM."),
            "--client-certificate": ("FILE", "The client's certificate, in PEM."),
            "--client-key": ("FILE", "The key of the client's certificate, in PEM."),
            "--proxy": ("URL", "The proxy for requests to the provider."),
            "--authorize": (
                "NAME=VALUE",
                "An extra authorization parameter, beside those of the account; NAME= leaves it out; may be repeated.",
            ),
            "--token-parameter": (
                "NAME=VALUE",
                "An extra parameter of token requests, beside those of the account; may be repeated.",
            ),
            "--token-header": (
                "NAME=VALUE",
                "An extra header of token requests, beside those of the account; may be repeated.",
            ),
            "--grant": (
                "authorization_code|client_credentials",
                "The grant type: a person logs in, or the client itself.",
            ),
            "--token-endpoint-auth-method": (
                "none|client_secret_basic|client_secret_post|tls_client_auth|self_signed_tls_client_auth",
                "How the client authenticates (chosen from the provider's metadata).",
            ),
            "--management-account": (
                "ACCOUNT",
                "The account whose tokens are for the provider's Management API, if this account's are not.",
            ),
            "--management-audience": ("URL", "The Management API's audience, if the issuer is a custom domain."),
            "--authorization-endpoint": ("URL", "Where a person logs in, if the provider's metadata does not name it."),
            "--token-endpoint": ("URL", "Where tokens come from, if the provider's metadata does not name it."),
            "--device-authorization-endpoint": (
                "URL",
                "Where a login on another device begins, if the provider's metadata does not name it.",
            ),
            "--revocation-endpoint": ("URL", "Where tokens are revoked, if the provider's metadata does not name it."),
            "--userinfo-endpoint": (
                "URL",
                "Where a token is exchanged for claims about its user, if the provider's metadata does not name it.",
            ),
            "--jwks-uri": ("URL", "The keys that sign ID tokens, if the provider's metadata does not name it."),
            "--id-token-signed-response-alg": (
                "RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|ES512|EdDSA|HS256|HS384|HS512",
                "The algorithm that signs ID tokens, as registered for the client (one of the provider's keys).",
            ),
            "--require-claim": (
                "NAME=VALUE",
                "A claim that each ID token must have, beside those of the account; may be repeated.",
            ),
            "--token-type": (
                "WORD",
                "The provider's own word for its access tokens, if APIs take them by that instead of Bearer.",
            ),
            "--side-requests": (
                "allow|refuse",
                "Whether the refresh token may get tokens for other scopes or APIs (where it costs nothing).",
            ),
            "--refresh-ends-access-token": (
                "",
                "Whether a refresh ends the access token from before (where that is known or proven).",
            ),
            "--no-refresh-ends-access-token": (
                "",
                "Whether a refresh ends the access token from before (where that is known or proven).",
            ),
            "--default": ("", "Use this account when a command names none; one account can be the default."),
            "--no-default": ("", "Use this account when a command names none; one account can be the default."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "account default": (
        "Choose the account that commands and programs use if they name none.",
        "ACCOUNT",
        {"--help": ("", "Show this message and exit.")},
    ),
    "account list": (
        "Show the configured accounts and, while an agent runs, their state.",
        "",
        {"--json": ("", "Print every key as JSON."), "--help": ("", "Show this message and exit.")},
    ),
    "account remove": (
        "Remove an account from the configuration.",
        "ACCOUNT",
        {"--logout": ("", "Log out first, if there is a session."), "--help": ("", "Show this message and exit.")},
    ),
    "account rename": (
        "Rename an account, also where hosts and other accounts name it. Its session moves along.",
        "ACCOUNT NAME",
        {"--help": ("", "Show this message and exit.")},
    ),
    "account show": (
        "Show all keys of an account, its session, and the hosts and accounts that refer to it.",
        "ACCOUNT",
        {"--json": ("", "Print it as JSON."), "--help": ("", "Show this message and exit.")},
    ),
    "aws": (
        "Print credentials of an AWS role, for credential_process.",
        "ACCOUNT",
        {
            "--role-arn": ("ARN", "The role to be assumed (AssumeRoleWithWebIdentity)."),
            "--session-name": ("NAME", "The role session's name (auth-agent)."),
            "--duration": ("SECONDS", "How long the credentials are to be valid, as AWS allows."),
            "--access-token": ("", "Show AWS the access token instead of the ID token."),
            "--region": ("NAME", "Ask the region's endpoint."),
            "--endpoint-url": (
                "URL",
                "Ask this endpoint (https://sts.amazonaws.com/). [hosts] must map it to the account.",
            ),
            "--timeout": ("SECONDS", "How long to wait for a token (15)."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "completion": (
        "Print a shell script that completes commands, options and accounts.",
        "bash|zsh|fish",
        {"--help": ("", "Show this message and exit.")},
    ),
    "config": ("Check and show the configuration.", "", {"--help": ("", "Show this message and exit.")}),
    "config check": (
        "Check the configuration, and whether the running agent uses it as it is now.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "config path": (
        "Print the path of the configuration, whether or not the file exists.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "config show": (
        "Print the configuration with all defaults, as TOML; the password of a proxy is left out.",
        "",
        {"--json": ("", "Print it as JSON."), "--help": ("", "Show this message and exit.")},
    ),
    "doctor": (
        "Check the agent, its socket, store, configuration, environment and providers, and say what helps.",
        "",
        {"--json": ("", "Print the findings as JSON."), "--help": ("", "Show this message and exit.")},
    ),
    "exec": (
        "Run a command with an access token in its environment.",
        "ACCOUNT -- COMMAND ARGUMENT...",
        {
            "--env": ("NAME", "The environment variable (BEARER_TOKEN)."),
            "--url": ("URL", "The URL to be called: [hosts] in the configuration maps it to an account."),
            "--audience": ("TEXT", "The API that the token is for, if not the account's own."),
            "--scope": ("TEXT", "The scopes that the token must at least have, if not the account's own."),
            "--only": ("", "Get a token with no other scopes than those of --scope."),
            "--min-ttl": ("SECONDS", "How long the token must remain valid."),
            "--force": ("", "Get a newer token than the current one."),
            "--timeout": ("SECONDS", "How long to wait for a token (15)."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "header": (
        "Print the header that authorizes a request.",
        "ACCOUNT",
        {
            "--url": ("URL", "The URL to be called: [hosts] in the configuration maps it to an account."),
            "--audience": ("TEXT", "The API that the token is for, if not the account's own."),
            "--scope": ("TEXT", "The scopes that the token must at least have, if not the account's own."),
            "--only": ("", "Get a token with no other scopes than those of --scope."),
            "--min-ttl": ("SECONDS", "How long the token must remain valid."),
            "--force": ("", "Get a newer token than the current one."),
            "--timeout": ("SECONDS", "How long to wait for a token (15)."),
            "--json": ("", "Print a JSON object of headers, as Claude Code and Codex take it."),
            "--curl": ("", "Print a line of a curl configuration, for curl -K -."),
            "--value": ("", "Print what follows the header's name, as pnpm takes it."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "id-token": (
        "Print the ID token: who logged in, signed by the provider.",
        "ACCOUNT",
        {
            "--min-ttl": ("SECONDS", "How long the token must remain valid."),
            "--json": ("", "Print the token and its properties as JSON."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "import": (
        "Import a session from its refresh token, read from standard input.",
        "ACCOUNT",
        {
            "--switch-user": ("", "Accept the refresh token of another user than before."),
            "--client-secret": ("", "Prompt for the client secret."),
            "--client-secret-fd": ("FD", "Read the client secret from this file descriptor until its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "kubectl": (
        "Give kubectl, which starts this command, the token for its cluster.",
        "",
        {
            "--id-token": ("", "Give it the ID token, which some clusters take, not the access token."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "lock": (
        "Lock the agent: no program gets anything until it is unlocked.",
        "",
        {
            "--passphrase": ("", "Ask for a passphrase that unlocks the agent."),
            "--passphrase-fd": ("FD", "Read the passphrase from this file descriptor until its end."),
            "--keep-alive": ("", "Keep the secrets in memory, and go on refreshing sessions."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "login": (
        "Log in to an account, or add one and log in.",
        "ACCOUNT",
        {
            "--issuer": ("URL", "The provider's issuer URL, such as https://acme.eu.auth0.com/."),
            "--client-id": ("ID", "The client ID that the provider issued."),
            "--audience": ("TEXT", "The API that access tokens are for, if the provider needs to know."),
            "--scope": ("TEXT", "The scopes to request, separated by spaces (openid profile email offline_access)."),
            "--redirect-port": (
                "PORT",
                "A port of the redirect URL on this machine, 0 for any; may be repeated (48631, 48632, 48633).",
            ),
            "--redirect-host": (
                "127.0.0.1|localhost|[::1]",
                "The host of the redirect URL, as the provider has it registered (127.0.0.1).",
            ),
            "--redirect-path": ("PATH", 'The path of the redirect URL, "" if it has none (/callback).'),
            "--ca-file": ("FILE", "More certificates to trust for this provider, in PEM."),
            "--client-certificate": ("FILE", "The client's certificate, in PEM."),
            "--client-key": ("FILE", "The key of the client's certificate, in PEM."),
            "--proxy": ("URL", "The proxy for requests to the provider."),
            "--authorize": (
                "NAME=VALUE",
                "An extra authorization parameter, beside those of the account; NAME= leaves it out; may be repeated.",
            ),
            "--token-parameter": (
                "NAME=VALUE",
                "An extra parameter of token requests, beside those of the account; may be repeated.",
            ),
            "--token-header": (
                "NAME=VALUE",
                "An extra header of token requests, beside those of the account; may be repeated.",
            ),
            "--grant": (
                "authorization_code|client_credentials",
                "The grant type: a person logs in, or the client itself.",
            ),
            "--token-endpoint-auth-method": (
                "none|client_secret_basic|client_secret_post|tls_client_auth|self_signed_tls_client_auth",
                "How the client authenticates (chosen from the provider's metadata).",
            ),
            "--management-account": (
                "ACCOUNT",
                "The account whose tokens are for the provider's Management API, if this account's are not.",
            ),
            "--management-audience": ("URL", "The Management API's audience, if the issuer is a custom domain."),
            "--authorization-endpoint": ("URL", "Where a person logs in, if the provider's metadata does not name it."),
            "--token-endpoint": ("URL", "Where tokens come from, if the provider's metadata does not name it."),
            "--device-authorization-endpoint": (
                "URL",
                "Where a login on another device begins, if the provider's metadata does not name it.",
            ),
            "--revocation-endpoint": ("URL", "Where tokens are revoked, if the provider's metadata does not name it."),
            "--userinfo-endpoint": (
                "URL",
                "Where a token is exchanged for claims about its user, if the provider's metadata does not name it.",
            ),
            "--jwks-uri": ("URL", "The keys that sign ID tokens, if the provider's metadata does not name it."),
            "--id-token-signed-response-alg": (
                "RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|ES512|EdDSA|HS256|HS384|HS512",
                "The algorithm that signs ID tokens, as registered for the client (one of the provider's keys).",
            ),
            "--require-claim": (
                "NAME=VALUE",
                "A claim that each ID token must have, beside those of the account; may be repeated.",
            ),
            "--token-type": (
                "WORD",
                "The provider's own word for its access tokens, if APIs take them by that instead of Bearer.",
            ),
            "--side-requests": (
                "allow|refuse",
                "Whether the refresh token may get tokens for other scopes or APIs (where it costs nothing).",
            ),
            "--refresh-ends-access-token": (
                "",
                "Whether a refresh ends the access token from before (where that is known or proven).",
            ),
            "--no-refresh-ends-access-token": (
                "",
                "Whether a refresh ends the access token from before (where that is known or proven).",
            ),
            "--default": ("", "Use this account when a command names none; one account can be the default."),
            "--no-default": ("", "Use this account when a command names none; one account can be the default."),
            "--flow": ("browser|device", "Log in with a browser on this machine, or with a code on any other device."),
            "--no-browser": ("", "Open no browser: print the URL, and read the URL that the browser ended on."),
            "--switch-user": ("", "Accept another user than before."),
            "--management-for": (
                "ACCOUNT",
                "Use this login for the Management API of ACCOUNT: it becomes its --management-account.",
            ),
            "--once": (
                "NAME=VALUE",
                "A parameter of this login alone, such as acr_values=urn:mfa, or scope; may be repeated.",
            ),
            "--organization": ("TEXT", "The organization of this login, by its id or name (Auth0)."),
            "--invitation": (
                "URL",
                "The link of an invitation to an organization, for this login (Auth0); - reads it from standard input.",
            ),
            "--client-secret": ("", "Prompt for the client secret."),
            "--client-secret-fd": ("FD", "Read the client secret from this file descriptor until its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "logout": (
        "Delete a session, and revoke its refresh token at the provider.",
        "ACCOUNT",
        {
            "--all": ("", "Log out of every account."),
            "--keep-session": ("", "Delete the session here only, without revoking it at the provider."),
            "--revoke": ("", "Revoke even if that may end another account's session."),
            "--browser": ("", "Also log out at the provider, in a browser."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "mcp": (
        "Connect an MCP client to the MCP server at URL, with the tokens of the account that [hosts] has for it.",
        "URL",
        {
            "--account": ("NAME", "Take no token of another account than this one."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "metadata": (
        "Show and change the user's metadata at the provider.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "metadata get": (
        "Print the user's metadata as JSON, or the value of one KEY, a string without quotes.",
        "ACCOUNT KEY",
        {"--json": ("", "Print a string as JSON too, in quotes."), "--help": ("", "Show this message and exit.")},
    ),
    "metadata set": (
        "Change the user's metadata, and print the result.",
        "ACCOUNT KEY=TEXT | KEY:=JSON...",
        {
            "--unset": ("KEY", "Delete a key; may be repeated."),
            "--clear": ("", "Delete all other keys."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "profile": (
        "Show who is logged in: the claims of the user from the provider.",
        "ACCOUNT",
        {
            "--max-age": ("SECONDS", "The maximum age of the profile (300); at least 60."),
            "--json": ("", "Print the claims as JSON."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "refresh": (
        "Refresh the access token now, even after failed attempts.",
        "ACCOUNT",
        {"--help": ("", "Show this message and exit.")},
    ),
    "reload": ("Make the agent read its configuration again.", "", {"--help": ("", "Show this message and exit.")}),
    "restart": (
        "Restart the agent in place, with the version that is installed now.",
        "",
        {
            "--force": ("", "Restart even if sessions are lost that are only in memory."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "run": (
        "Run the agent in the foreground until it is stopped, and log to standard error.",
        "COMMAND",
        {
            "--store": (
                "keyring|file|memory",
                "Where sessions are kept: in the system keyring, in a file sealed by a passphrase, or in memory only.",
            ),
            "--for-command": ("PID", ""),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "service": (
        "Have the agent at each login, as a service of systemd or launchd.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "service install": (
        "Install the service and start it. Does nothing that is done already.",
        "",
        {
            "--store": ("keyring|file|memory", "Where sessions are kept; by default as the running agent does."),
            "--linger": ("", "Keep the service running while you are logged out, from boot on."),
            "--force": ("", "Replace files that something else wrote, and sessions in memory only."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "service logs": (
        "Show the service's log.",
        "",
        {
            "--lines": ("TEXT", "How many lines to show."),
            "-n": ("TEXT", "How many lines to show."),
            "--follow": ("", "Go on as lines are added, until Ctrl-C."),
            "-f": ("", "Go on as lines are added, until Ctrl-C."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "service status": (
        "Show whether the service is installed and runs; the exit code is 3 if it is not installed.",
        "",
        {"--json": ("", "Print it as JSON."), "--help": ("", "Show this message and exit.")},
    ),
    "service uninstall": (
        "Stop the service and remove its files; sessions and the configuration stay.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "setup": (
        "Let another tool get its tokens from the agent; --undo takes that back.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "setup cargo": (
        "Let cargo get its tokens from the agent, for the registries of [hosts].",
        "",
        {"--undo": ("", "Take back what this command wrote."), "--help": ("", "Show this message and exit.")},
    ),
    "setup docker": (
        "Let docker, podman and skopeo get their tokens from the agent, at these registries.",
        "HOST...",
        {"--undo": ("", "Take back what this command wrote."), "--help": ("", "Show this message and exit.")},
    ),
    "setup git": (
        "Let git get its tokens from the agent, at the hosts of [hosts] or only at these.",
        "HOST...",
        {"--undo": ("", "Take back what this command wrote."), "--help": ("", "Show this message and exit.")},
    ),
    "setup kubectl": (
        "Let kubectl get its tokens from the agent, at the clusters of [hosts] or only at these hosts.",
        "HOST...",
        {
            "--id-token": ("", "Give these clusters the ID token, not the access token."),
            "--undo": ("", "Take back what this command wrote."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "setup pip": (
        "Let pip and uv get their tokens from the agent, for the package indexes of [hosts].",
        "",
        {"--undo": ("", "Take back what this command wrote."), "--help": ("", "Show this message and exit.")},
    ),
    "setup pnpm": (
        "Let pnpm get its tokens from the agent, at the registries of these hosts.",
        "HOST...",
        {"--undo": ("", "Take back what this command wrote."), "--help": ("", "Show this message and exit.")},
    ),
    "start": (
        "Start the agent in the background, unless it runs already.",
        "",
        {
            "--store": ("keyring|file|memory", "Where sessions are kept; by default as `auth-agent run` does."),
            "--shell": ("", "Print shell commands that set AUTH_AGENT_SOCK, for eval."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "status": (
        "Show the agent and its sessions: who is logged in where, what is wrong, and what helps.",
        "ACCOUNT",
        {
            "--json": ("", "Print the agent's response as JSON."),
            "--check": ("", "Print only problems; the exit code says whether each account has a valid token."),
            "--min-ttl": ("SECONDS", "With --check: the token must be valid for this long."),
            "--clients": ("", "Show which programs took tokens, how often, and when last."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "stop": (
        "Stop the agent after refreshes in flight have finished.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "store": (
        "Decide where sessions are stored, and which are used.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "store adopt": (
        "Use stored sessions that are old copies, or that another machine stored.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "store move": (
        "Move all sessions to another store, without a login.",
        "STORE",
        {
            "--passphrase-fd": ("FD", "Read the passphrase from this file descriptor until its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "store passphrase": (
        "Change the passphrase of the sealed file. Copies of the file keep the old one.",
        "",
        {
            "--passphrase-fd": ("FD", "Read the passphrase from this file descriptor until its end."),
            "--new-passphrase-fd": ("FD", "Read the new passphrase likewise."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "token": (
        "Print a valid access token.",
        "ACCOUNT",
        {
            "--url": ("URL", "The URL to be called: [hosts] in the configuration maps it to an account."),
            "--audience": ("TEXT", "The API that the token is for, if not the account's own."),
            "--scope": ("TEXT", "The scopes that the token must at least have, if not the account's own."),
            "--only": ("", "Get a token with no other scopes than those of --scope."),
            "--min-ttl": ("SECONDS", "How long the token must remain valid."),
            "--force": ("", "Get a newer token than the current one."),
            "--timeout": ("SECONDS", "How long to wait for a token (15)."),
            "--json": ("", "Print the token and its properties as JSON."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "unlock": (
        "Unlock the agent after `lock`, or the sealed file by its passphrase.",
        "",
        {
            "--passphrase-fd": ("FD", "Read the passphrase from this file descriptor until its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "user": (
        "Show the user from the provider's Management API, which Auth0 has.",
        "ACCOUNT",
        {
            "--field": ("NAME", "Show only this field; may be repeated."),
            "--json": ("", "Print the user as JSON."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "watch": (
        "Show each change of a session until Ctrl-C, also across restarts of the agent.",
        "ACCOUNT...",
        {"--json": ("", "Print each record as JSON, one a line."), "--help": ("", "Show this message and exit.")},
    ),
}
