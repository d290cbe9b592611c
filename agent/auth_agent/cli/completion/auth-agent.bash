# Completion of auth-agent in bash.

_auth_agent() {
    local candidate
    COMPREPLY=()
    # The one on the PATH, not what is being typed: ./auth-agent may be anybody's.
    while IFS= read -r candidate; do
        COMPREPLY+=("$candidate")
    done < <(command auth-agent completion --complete bash "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _auth_agent auth-agent
