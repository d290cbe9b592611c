# Completion of auth-agent in fish.

function __auth_agent_candidates
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    # The one on the PATH, not what is being typed: ./auth-agent may be anybody's.
    command auth-agent completion --complete fish $words "$current" 2>/dev/null
end

complete -c auth-agent -f -a '(__auth_agent_candidates)'
