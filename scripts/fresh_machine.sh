#!/usr/bin/env bash
# Do what the README says under "Install" on a fresh machine, a chroot of Debian 13, and print it with times and sizes.
#
#   scripts/fresh_machine.sh >docs/fresh-machine.txt   # for root on Debian, with its archive in reach; 10 GB
#   scripts/fresh_machine.sh --tests                   # also what sets up for development and runs the tests; 20 GB
#
# What is committed is cloned. The certificates of this machine go along: its network may have a proxy known by them.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD/build/fresh
umount "$root/proc" "$root/dev/shm" 2>/dev/null || true
rm -rf "$root"
mkdir -p "$root"
debootstrap --variant=minbase --include=ca-certificates trixie "$root" >"$root.log"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
cp /etc/resolv.conf "$root/etc/"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
trap 'umount "$root/proc" "$root/dev/shm"' EXIT
git clone -q . "$root/home/vsgshift"
section=$(git show HEAD:README.md | sed -n '/^## Install/,/^## Use/p')

echo "$(. "$root/etc/os-release"; echo "$PRETTY_NAME"), $(nproc) cores: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)"
echo "commit $(git log -1 --format='%h of %cs')"
lines=$(grep -o 'apt install [^`]*' <<<"$section"; sed -n 's/^    //p' <<<"$section")
{ if [ "${1:-}" = --tests ]; then cat; else grep -v pytest; fi; } <<<"$lines" |
  chroot "$root" env -i HOME=/home PATH=/usr/sbin:/usr/bin TERM=dumb DEBIAN_FRONTEND=noninteractive \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt bash -c '
    cd ~/vsgshift
    TIMEFORMAT="%0R %0U %0S"
    while IFS= read -r line; do
      printf "\n\$ %s\n" "$line"
      { time eval "${line/apt install/apt install -y}" >~/log 2>&1 </dev/null; } 2>~/time && word=done || word="exit status $?"
      read -r real user system <~/time
      tr "\r" "\n" <~/log | sed "s#$HOME/#~/#g" | grep -v "^ *$\|━" | tail -n 6 | cut -c 1-160
      echo "[$word after $real s, $((user + system)) s of processor time; $(du -shx / | cut -f 1) on the disk]"
    done'
