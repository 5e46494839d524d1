#!/usr/bin/env bash
# Usage: fetch.sh DIR
# Fetches Debian's source package of Caffe and unpacks it as DIR/source, through the machine's own apt:
# its Debian site, proxies and keys. The package lists are kept in DIR, so that nothing of the system's
# configuration changes and no root is needed. CAFFE_DEBIAN_SITE=http://... names another site.
set -euo pipefail
. "$(dirname "$0")/common.sh"

DIR=$(cd "$1" && pwd)
debian_sites
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
