# Shared by scripts/demo and scripts/test: setting up what is missing. Sourced, not run.

say() { printf '\n== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# Installs the Debian packages that provide commands which are missing. Arguments: command=package ...
need() {
    packages=
    for pair; do
        command -v "${pair%%=*}" >/dev/null 2>&1 || packages="$packages ${pair#*=}"
    done
    [ -n "$packages" ] || return 0
    command -v apt-get >/dev/null 2>&1 || die "missing:$packages. Install them with this system's package manager and run this again."
    if [ "$(id -u)" = 0 ]; then
        root=
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        root="sudo -n"
    else
        die "missing:$packages. Run as root: apt-get install$packages"
    fi
    say "installing$packages"
    # shellcheck disable=SC2086 # words are meant to be split
    $root env DEBIAN_FRONTEND=noninteractive apt-get update -qq && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null ||
        die "apt-get could not install:$packages"
}

need_rust() {
    [ -x "$HOME/.cargo/bin/cargo" ] && PATH="$HOME/.cargo/bin:$PATH"
    command -v cargo >/dev/null 2>&1 || die "cargo is missing: install Rust 1.88 or newer from https://rustup.rs"
    command -v cc >/dev/null 2>&1 || need cc=gcc
}
