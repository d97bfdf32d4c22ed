# Sourced, by tests/run and by the demo: the packages that the project stands on.
#
#   ensure_packages SECTION...    sections of tests/packages: build, test, ...
#
# Installs what is missing, and only that; calls apt only if something is. Returns
# non-zero, with the reason on standard error, if it cannot.

packages_of() {
    awk -v wanted="[$1]" '/^#/ || /^$/ { next } /^\[/ { inside = ($0 == wanted); next } inside' \
        "$(dirname "${BASH_SOURCE[0]}")/packages"
}

missing_packages() {
    local package
    for package in "$@"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
    done
}

ensure_packages() {
    local section as_root=() packages=() missing=()
    for section in "$@"; do
        mapfile -t -O "${#packages[@]}" packages < <(packages_of "$section")
    done
    if [ "${#packages[@]}" -eq 0 ]; then
        echo "error: tests/packages has no section $*" >&2
        return 1
    fi
    if ! command -v dpkg-query >/dev/null; then
        echo "This is not Debian: what these packages hold must be there: ${packages[*]}" >&2
        return 0
    fi
    mapfile -t missing < <(missing_packages "${packages[@]}")
    [ "${#missing[@]}" -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
            echo "error: these packages are missing, and neither root nor sudo is at hand to install them:" >&2
            echo "  apt-get install ${missing[*]}" >&2
            return 1
        fi
        as_root=(sudo)
    fi
    echo "Installing: ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >/dev/null &&
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "${missing[@]}" >/dev/null || {
        echo "error: apt-get could not install: ${missing[*]}" >&2
        return 1
    }
}
