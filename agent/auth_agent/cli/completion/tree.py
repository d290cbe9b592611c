"""All commands, written by `make command-tree` for completion, which does without click.

By its name each has a summary, its arguments, and its options with their values' names ("": none) and help.
"""

TREE: dict[str, tuple[str, str, dict[str, tuple[str, str]]]] = {
    "": (
        "Hold logins for every program of a user, as ssh-agent holds keys.",
        "",
        {"--version": ("", "Show the version and exit."), "--help": ("", "Show this message and exit.")},
    ),
    "account": ("Show, add and remove accounts.", "", {"--help": ("", "Show this message and exit.")}),
    "account add": (
        "Add an account to the configuration; `auth-agent login` does so too, and logs in.",
        "NAME",
        {
            "--issuer": ("URL", "The provider's address, such as https://acme.eu.auth0.com/."),
            "--client-id": ("ID", "The id that the provider gave its client."),
            "--audience": ("TEXT", "The API that access tokens are for, where the provider asks."),
            "--scope": ("TEXT", "What access tokens allow, separated by spaces (openid profile email offline_access)."),
            "--redirect-port": (
                "PORT",
                "A port for the browser to come back to, 0 for any; may be repeated (48631, 48632, 48633).",
            ),
            "--proxy": ("URL", "The proxy on the way to the provider."),
            "--authorize": (
                "NAME=VALUE",
                "A parameter more for the login page, such as prompt=login; may be repeated.",
            ),
            "--grant": ("authorization_code|client_credentials", "Who logs in: a person, or the client itself."),
            "--token-endpoint-auth-method": (
                "none|client_secret_basic|client_secret_post",
                "How the client says who it is (as the provider's metadata has it).",
            ),
            "--management-account": (
                "ACCOUNT",
                "The account whose tokens are for the provider's Management API, where they aren't this one's own.",
            ),
            "--management-audience": ("URL", "That API's audience, where a custom domain hides it."),
            "--default": ("", "Whether it is meant where no account is named; one can be."),
            "--no-default": ("", "Whether it is meant where no account is named; one can be."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "account list": (
        "Show the accounts of the configuration and, while an agent runs, their state.",
        "",
        {"--json": ("", "Print all that is configured."), "--help": ("", "Show this message and exit.")},
    ),
    "account remove": (
        "Remove an account from the configuration.",
        "ACCOUNT",
        {"--logout": ("", "Log out first, where there is a session."), "--help": ("", "Show this message and exit.")},
    ),
    "completion": (
        "Print the script by which a shell completes commands, options and accounts.",
        "bash|zsh|fish",
        {"--help": ("", "Show this message and exit.")},
    ),
    "id-token": (
        "Print the ID token: who logged in, signed by the provider.",
        "ACCOUNT",
        {
            "--min-ttl": ("SECONDS", "For how long it must be valid still."),
            "--json": ("", "Print all that is known of the token."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "import": (
        "Take a session over by its refresh token from stdin.",
        "ACCOUNT",
        {
            "--switch-user": ("", "The refresh token may be another user's than before."),
            "--client-secret": ("", "Ask for the client's secret, where it has one."),
            "--client-secret-fd": ("FD", "Read the client's secret from that descriptor, to its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "login": (
        "Log in to an account, or add one and log in.",
        "ACCOUNT",
        {
            "--issuer": ("URL", "The provider's address, such as https://acme.eu.auth0.com/."),
            "--client-id": ("ID", "The id that the provider gave its client."),
            "--audience": ("TEXT", "The API that access tokens are for, where the provider asks."),
            "--scope": ("TEXT", "What access tokens allow, separated by spaces (openid profile email offline_access)."),
            "--redirect-port": (
                "PORT",
                "A port for the browser to come back to, 0 for any; may be repeated (48631, 48632, 48633).",
            ),
            "--proxy": ("URL", "The proxy on the way to the provider."),
            "--authorize": (
                "NAME=VALUE",
                "A parameter more for the login page, such as prompt=login; may be repeated.",
            ),
            "--grant": ("authorization_code|client_credentials", "Who logs in: a person, or the client itself."),
            "--token-endpoint-auth-method": (
                "none|client_secret_basic|client_secret_post",
                "How the client says who it is (as the provider's metadata has it).",
            ),
            "--management-account": (
                "ACCOUNT",
                "The account whose tokens are for the provider's Management API, where they aren't this one's own.",
            ),
            "--management-audience": ("URL", "That API's audience, where a custom domain hides it."),
            "--default": ("", "Whether it is meant where no account is named; one can be."),
            "--no-default": ("", "Whether it is meant where no account is named; one can be."),
            "--flow": (
                "browser|device",
                "Where to log in: in a browser of this machine, or on any other device, by a code.",
            ),
            "--no-browser": ("", "Open no browser: print the address, and take the one that the browser ended on."),
            "--switch-user": ("", "It may be another user than before."),
            "--management-for": (
                "ACCOUNT",
                "The account whose user's data this login is for: it becomes that one's --management-account.",
            ),
            "--client-secret": ("", "Ask for the client's secret, where it has one."),
            "--client-secret-fd": ("FD", "Read the client's secret from that descriptor, to its end."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "logout": (
        "Forget a session, and revoke its refresh token at the provider.",
        "ACCOUNT",
        {
            "--all": ("", "Log out of every account."),
            "--keep-session": ("", "Forget it here only: the provider is told nothing."),
            "--revoke": ("", "Revoke it although another account's session may end with it."),
            "--browser": ("", "End the login at the provider itself too, in a browser."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "metadata": (
        "Show and change what is kept with the user at the provider.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "metadata get": (
        "Print the user's metadata as JSON; of one KEY its value, a text as it is.",
        "ACCOUNT KEY",
        {"--json": ("", "Print a text as JSON too, in quotes."), "--help": ("", "Show this message and exit.")},
    ),
    "metadata set": (
        "Change the user's metadata, and print it as it is then.",
        "ACCOUNT KEY=TEXT | KEY:=JSON...",
        {
            "--unset": ("KEY", "Delete a key; may be repeated."),
            "--clear": ("", "Delete all other keys too."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "profile": (
        "Show who is logged in, as the provider tells it.",
        "ACCOUNT",
        {
            "--max-age": ("SECONDS", "How long ago the provider may have been asked (300); less than 60 is 60."),
            "--json": ("", "Print the claims as they are, and nothing else."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "refresh": (
        "Refresh a session's access token now, and forget past failures.",
        "ACCOUNT",
        {"--help": ("", "Show this message and exit.")},
    ),
    "reload": ("Have the agent read its configuration again.", "", {"--help": ("", "Show this message and exit.")}),
    "restart": (
        "Restart the agent in its place, with the version that is installed by now.",
        "",
        {
            "--force": ("", "Even if sessions are lost, since they are kept in memory only."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "run": (
        "Be the agent: serve until stopped, and log to standard error.",
        "",
        {
            "--store": (
                "keyring|memory",
                "Where sessions are kept: in the system keyring, or in memory, where they end with the agent.",
            ),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "status": (
        "Show the agent and its sessions: who is logged in where, what is wrong, and what helps.",
        "ACCOUNT",
        {
            "--json": ("", "Print what the agent answered."),
            "--check": ("", "Print nothing; the exit code tells whether all of it has a valid token."),
            "--min-ttl": ("SECONDS", "With --check: valid for so long."),
            "--clients": ("", "Show which programs took tokens, how often, and when they did last."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "stop": (
        "Stop the agent; refreshes in flight are finished first.",
        "",
        {"--help": ("", "Show this message and exit.")},
    ),
    "token": (
        "Print an access token that is valid now.",
        "ACCOUNT",
        {
            "--url": ("URL", "What it is for: the configuration's [hosts] say whose token that gets."),
            "--audience": ("TEXT", "The API it is for, where that isn't the account's own."),
            "--scope": ("TEXT", "The scopes it must have, where those aren't the account's own."),
            "--min-ttl": ("SECONDS", "For how long it must be valid still."),
            "--force": ("", "A token newer than the current one."),
            "--timeout": ("SECONDS", "How long to wait for it (15)."),
            "--json": ("", "Print all that is known of the token."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "user": (
        "Show the user as the provider's Management API has it.",
        "ACCOUNT",
        {
            "--field": ("NAME", "A field that is wanted; may be repeated (all)."),
            "--json": ("", "Print it as it is."),
            "--help": ("", "Show this message and exit."),
        },
    ),
    "watch": (
        "Show what the sessions are doing, as it happens, until Ctrl-C; also across restarts of the agent.",
        "ACCOUNT...",
        {
            "--json": ("", "Print each record as the agent told it, one a line."),
            "--help": ("", "Show this message and exit."),
        },
    ),
}
