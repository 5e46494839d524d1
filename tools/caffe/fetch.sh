#!/usr/bin/env bash
# Usage: fetch.sh DIR
# Fetches Debian's source package of Caffe and unpacks it as DIR/source, through the machine's own apt:
# its Debian site, proxies and keys. The package lists are kept in DIR, so that nothing of the system's
# configuration changes and no root is needed. CAFFE_DEBIAN_SITE=http://... names another site, e.g.
# Debian's archive once the suite has moved there.
set -euo pipefail
. "$(dirname "$0")/common.sh"

# The sites of this machine's own Debian entries, be they in sources.list or in *.sources files.
debian_sites() {
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian'
    # Without package lists apt knows no origin; the release's own code name tells the entries then.
    local codename
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(SITE)' 'Created-By: Packages' "Release: $codename"
}

DIR=$(cd "$1" && pwd)
if [ -n "${CAFFE_DEBIAN_SITE:-}" ]; then
    SITES=("$CAFFE_DEBIAN_SITE")
else
    mapfile -t SITES < <(debian_sites | sort -u)
fi
[ ${#SITES[@]} -gt 0 ] ||
    die "apt has no Debian site to fetch from; name one: CAFFE_DEBIAN_SITE=http://SITE/debian"

mkdir -p "$DIR/apt/lists/partial" "$DIR/apt/archives/partial"
for site in "${SITES[@]}"; do
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $CAFFE_SUITE main"
done >"$DIR/apt/sources.list"
APT=(-q -o "Dir::Etc::SourceList=$DIR/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$DIR/apt/lists" -o "Dir::Cache=$DIR/apt" -o APT::Sandbox::User=root
    -o Acquire::Retries=3)

say "fetching Caffe $CAFFE_SOURCE_VERSION from ${SITES[*]} ($CAFFE_SUITE)"
cd "$DIR"
apt-get "${APT[@]}" update || say "not every site has $CAFFE_SUITE; trying what was found"
apt-get "${APT[@]}" source --download-only --only-source "caffe=$CAFFE_SOURCE_VERSION" ||
    die "no source package caffe $CAFFE_SOURCE_VERSION at ${SITES[*]}, suite $CAFFE_SUITE; if Debian has
moved the suite, name its site: CAFFE_DEBIAN_SITE=http://SITE/debian make caffe"
dpkg-source -x caffe_*.dsc source
