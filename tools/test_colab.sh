#!/usr/bin/env bash
# The tests on Colab's own versions: Python 3.13 in a Debian trixie folder made by debootstrap.
#
#     bash tools/test_colab.sh [--if-possible] [what pytest is to be given]
#
# --if-possible: where this machine lacks what the folder needs, say so in one line and exit 0.
# COLAB_FREEZE: the list of Colab's versions; by default the newest in ../shared/data/colab.
# docs/colab-versions.md tells more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# All mounts are made in a mount namespace of our own: however this ends, they end with it, and
# nothing that deletes .colab can reach through one of them.
if [ -z "${TEST_COLAB_INSIDE:-}" ] && unshare --mount true 2>/dev/null; then
    TEST_COLAB_INSIDE=1 exec unshare --mount --propagation private bash tools/test_colab.sh "$@"
fi

if_possible=
if [ "${1:-}" = --if-possible ]; then if_possible=1; shift; fi

cannot() {  # what is missing and the cure, in one line
    if [ -n "$if_possible" ]; then echo "SKIP test-colab: $*"; exit 0; fi
    echo "test-colab: $*" >&2
    exit 2
}

started=
step() {  # prints how long the last step took, and opens the next
    [ -z "$started" ] || printf '   %d s\n' $((SECONDS - started))
    started=$SECONDS
    echo "== $*"
}

folder=.colab
root=$folder/root
cache=${DUCKDETECT_CACHE:-$HOME/.cache/duckdetect}
shared=../shared
freeze=${COLAB_FREEZE:-$(find "$shared/data/colab" -name 'pip-freeze-*.txt' 2>/dev/null | sort | tail -1)}
ca=/etc/ssl/certs/ca-certificates.crt

[ "$(id -u)" = 0 ] || cannot "needs root for debootstrap and chroot: run it with sudo"
[ -n "${TEST_COLAB_INSIDE:-}" ] || cannot "may not mount here (unshare --mount fails): run it on a machine or in a container that allows mounts"
[ -f "$freeze" ] || cannot "no list of Colab's versions: set COLAB_FREEZE to what 'pip freeze' printed on Colab"

if [ ! -d "$root" ]; then
    if ! command -v debootstrap >/dev/null; then
        step "debootstrap, by apt"
        command -v apt-get >/dev/null || cannot "needs debootstrap: install it"
        install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap)
        "${install[@]}" >/dev/null 2>&1 || { apt-get update -qq && "${install[@]}" >/dev/null 2>&1; } ||
            cannot "needs debootstrap and apt cannot install it: apt-get install debootstrap"
    fi
    step "Debian trixie (about 50 s, once)"
    # The Debian mirror that this machine's apt uses; debootstrap's own default where it uses none.
    mirror=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 2>/dev/null |
        sed -n 's/^Debian //p' | sort -u | head -1)
    rm -rf --one-file-system "$root.partial"
    mkdir -p "$folder"
    # Besides Python: git and make as on Colab; the two libraries are what opencv-python links to.
    debootstrap --variant=minbase \
        --include=python3,python3-venv,ca-certificates,make,git,libgl1,libglib2.0-0t64 \
        trixie "$root.partial" ${mirror:+"$mirror"} >"$folder/debootstrap.log" 2>&1 ||
        cannot "debootstrap failed ($(tail -1 "$folder/debootstrap.log")): see $folder/debootstrap.log"
    rm -rf "$root.partial"/var/cache/apt/archives/*.deb
    mv "$root.partial" "$root"
fi

step "a copy of the checkout, mounts, network"
mkdir -p "$root/project/duckdetect" "$root/project/shared" "$root/project/cache" "$cache"
find "$root/project/duckdetect" -mindepth 1 -maxdepth 1 -exec rm -rf --one-file-system {} +
# What git knows and what is new: no results, environments or caches of this machine.
git ls-files -z --cached --others --exclude-standard |
    tar -c --null --files-from=- --ignore-failed-read 2>/dev/null | tar -x -C "$root/project/duckdetect"
cp "$freeze" "$root/project/colab-freeze.txt"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$cache" "$root/project/cache"
if [ -d "$shared" ]; then
    mount --bind "$shared" "$root/project/shared"
    mount -o remount,bind,ro "$root/project/shared"
fi
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
# pip's own setting first: it may name a bundle with a proxy's certificate.
machine_pip() { python3 -m pip config list 2>/dev/null | sed -n "s/^[^=]*\.$1='\(.*\)'$/\1/p" | tail -1; }
for bundle in "$(machine_pip cert)" "${SSL_CERT_FILE:-}" "$ca"; do
    if [ -f "$bundle" ]; then cp -L "$bundle" "$root$ca"; break; fi
done

# A clean environment, but for how this machine reaches the network.
inside=(HOME=/root PATH=/venv/bin:/usr/bin:/bin LANG=C.UTF-8 TF_CPP_MIN_LOG_LEVEL=3
    DUCKDETECT_CACHE=/project/cache PIP_CERT=$ca SSL_CERT_FILE=$ca REQUESTS_CA_BUNDLE=$ca
    PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONFIG_FILE=/dev/null
    PIP_TIMEOUT=180 PIP_RETRIES=8)  # TensorFlow's wheel is 600 MB, and mirrors pause
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || inside+=("$name=${!name}")
done
for key in index-url extra-index-url trusted-host proxy timeout; do
    value=$(machine_pip "$key" | tr ' ' '\n' | grep -v '^file:' | paste -sd' ' || true)
    variable=PIP_${key//-/_}
    # Folders of packages on this machine stay outside: Colab has none.
    [ -z "$value" ] || inside+=("${variable^^}=$value")
done
run() { chroot "$root" env -i "${inside[@]}" bash -euo pipefail -c "cd /project/duckdetect; $1" bash "${@:2}"; }

# Everything that decides what is installed.
stamp=$(cat "$freeze" requirements.txt requirements-odapi.txt requirements-colab.txt tools/test_colab.sh | sha256sum)
if [ "$stamp" != "$(cat "$root/venv/stamp" 2>/dev/null || true)" ]; then
    step "Colab's versions of what the project uses"
    rm -rf "$root/venv"
    run '
        python3 -m venv /venv
        python tools/colab_requirements.py constraints ../colab-freeze.txt > ../constraints.txt
        pip install -q -c ../constraints.txt pip setuptools
        pip install -q -c ../constraints.txt -r requirements.txt anywidget ipykernel ipywidgets pytest
        # What Colab lacks goes again: it has to come in as it does there.
        python tools/colab_requirements.py extra ../colab-freeze.txt > ../extra.txt
        pip uninstall -q -y -r ../extra.txt
        python tools/colab_requirements.py check ../colab-freeze.txt'
    step "what Colab lacks, as the notebook installs it"
    # The second install has no index to take from: it passes if nothing is missing or too old.
    run '
        pip install -q --no-deps --require-hashes -r requirements-colab.txt
        pip install -q --no-index -r requirements.txt
        python tools/colab_requirements.py check ../colab-freeze.txt'
    step "test tools"
    run 'pip install -q -c ../constraints.txt pytest pytest-xdist hypothesis nbformat nbclient ipykernel'
    echo "$stamp" >"$root/venv/stamp"
fi
step "the project itself"
run '
    pip install -q --no-deps -e .
    python tools/colab_requirements.py check ../colab-freeze.txt'
step "tests"
result=0
run 'python -m pytest -n 2 --dist loadfile -m "not browser" "$@"' "$@" || result=$?
printf '   %d s\n== %d s in all\n' $((SECONDS - started)) "$SECONDS"
exit "$result"
