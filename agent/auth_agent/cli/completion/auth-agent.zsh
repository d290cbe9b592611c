#compdef auth-agent
# Completion of auth-agent in zsh; sourced, or as _auth-agent in a directory of $fpath.

_auth-agent() {
    local line
    local -a described
    # The one on the PATH, not what is being typed: ./auth-agent may be anybody's.
    for line in "${(@f)$(command auth-agent completion --complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        [[ -n $line ]] && described+=("${line%%$'\t'*}:${line#*$'\t'}")
    done
    _describe 'auth-agent' described
}

if [[ $funcstack[1] == _auth-agent ]]; then
    _auth-agent "$@"
else
    compdef _auth-agent auth-agent
fi
