#!/bin/bash
# Make a minimal Debian system in a folder and run a command there, in a clone of this checkout's last commit.
#
#   bash jobs/env/debian-root.sh RELEASE FOLDER [command, default: both commands of the README]
#   bash jobs/env/debian-root.sh trixie /var/tmp/trixie bash jobs/quickstart.sh
#
# Needs root and debootstrap. Packages come from where this machine gets them: its apt sources with the
# release's name, its certificates, proxies and pip's variables. A second call uses the folder again;
# nothing stays mounted, so `rm -rf FOLDER` removes it.
# Exit status: that of the command; 69 if the system could not be made.
set -euo pipefail

usage="usage: bash jobs/env/debian-root.sh RELEASE FOLDER [command ...]"
release=${1:?$usage}
root=${2:?$usage}
command=("${@:3}")
[ ${#command[@]} -gt 0 ] || command=(bash -c 'bash jobs/quickstart.sh && bash jobs/test.sh')
checkout=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)

stop() { printf 'debian-root: %s\n' "$1" >&2; exit 69; }

# The lines "URI suite" of this machine's Debian sources, with the release's name for its own.
sources() {
    # shellcheck disable=SC1091,SC2016
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(ORIGIN)' |
        awk -v own="$(. /etc/os-release && echo "$VERSION_CODENAME")" -v new="$release" \
            '$3 == "Debian" && index($2, own) == 1 {sub(own, new, $2); print $1, $2}' | sort -u
}

make_root() {
    local mirror
    mirror=$(sources | awk -v suite="$release" '$2 == suite {print $1; exit}')
    mkdir -p "$root"
    # without a mirror debootstrap has its own
    # shellcheck disable=SC2086
    debootstrap --variant=minbase "$release" "$root" $mirror >"$root.log" 2>&1 ||
        { tail -n 5 "$root.log" >&2; stop "debootstrap could not make $release in $root, see $root.log"; }
    sources | awk '{print "deb", $1, $2, "main"}' >"$root/etc/apt/sources.list"
    apt-config dump --format '%f "%v";%n' Acquire | grep -E '^Acquire::(https?::|Check-|Retries)' \
        >"$root/etc/apt/apt.conf.d/99host" || true
    # the bundle as it is for what runs before ca-certificates is there, and as a source of what that makes
    if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
        mkdir -p "$root/etc/ssl/certs" "$root/usr/local/share/ca-certificates"
        cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
        cp /etc/ssl/certs/ca-certificates.crt "$root/usr/local/share/ca-certificates/host.crt"
    fi
    touch "$root/made"
}

# A clone, so that what is not committed, an old .venv above all, stays out.
copy_checkout() {
    mkdir -p "$root/root"
    [ -d "$root/root/hpcsim" ] || git clone -q "$checkout" "$root/root/hpcsim"
    git -C "$root/root/hpcsim" fetch -q "$checkout" HEAD
    git -C "$root/root/hpcsim" reset -q --hard FETCH_HEAD
}

# In namespaces of its own: its mounts and processes end with it.
run_inside() {
    local keep
    mapfile -t keep < <(env | grep -av '^PIP_FIND_LINKS=/' |
        grep -aE '^(PIP_|HPCSIM_|SSL_CERT|REQUESTS_CA|CURL_CA|https?_proxy=|no_proxy=|HTTPS?_PROXY=|NO_PROXY=|OPENBLAS_|CI=)')
    cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
    # shellcheck disable=SC2016
    exec unshare --mount --pid --fork --kill-child bash -c '
        root=$1; shift
        mount --rbind /dev "$root/dev" && mount --rbind /sys "$root/sys" && mount -t proc proc "$root/proc" || exit 69
        exec chroot "$root" env -i -C /root/hpcsim "$@"' -- "$root" "${keep[@]}" \
        HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${command[@]}"
}

[ "$(id -u)" = 0 ] || stop "only root can make a system and change into it"
for program in debootstrap unshare chroot git; do
    command -v $program >/dev/null || stop "$program is missing: apt-get install debootstrap util-linux git"
done
root=$(realpath -m "$root")
[ -e "$root/made" ] || make_root
copy_checkout
run_inside
