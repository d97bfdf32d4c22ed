# shellcheck shell=bash
# What the demo writes: steps, claims, and errors that say where to look.

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m' clear=$'\r\e[K'
else
    bold='' dim='' green='' red='' plain='' clear=''
fi
passed=0
failed=0

# A headline of the story.
chapter() {
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}

say() {
    printf '   %s\n' "$@"
}

# The set-up's progress: what, then how long it took.
step_started=0
step() {
    step_started=$(date +%s%N)
    printf '   %-44s' "$1"
}
step_done() {
    local ms=$((($(date +%s%N) - step_started) / 1000000))
    printf '%sdone in %d.%d s%s%s\n' "$dim" $((ms / 1000)) $((ms % 1000 / 100)) "$plain" "${1:+  $1}"
}

# $1 text; $2 got; $3 wanted (a glob pattern). Counts, and shows what differs.
claim() {
    # shellcheck disable=SC2053 # the right side is a pattern
    if [[ $2 == $3 ]]; then
        passed=$((passed + 1))
        printf '   %sok%s    %s\n' "$green" "$plain" "$1"
    else
        failed=$((failed + 1))
        printf '   %sFAIL%s  %s\n         wanted: %s\n         got:    %s\n' "$red" "$plain" "$1" "$3" "$2"
    fi
}

# $1 what went wrong; $2 a log whose end may say why.
fail() {
    printf '\n%serror:%s %s\n' "$red" "$plain" "$1" >&2
    if [ -n "${2:-}" ] && [ -s "$2" ]; then
        printf 'The end of %s:\n' "$(basename "$2")" >&2
        tail -n 20 "$2" | sed 's/^/   | /' >&2
    fi
    exit 1
}
