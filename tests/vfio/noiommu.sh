#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds vfio.ko with CONFIG_VFIO_NOIOMMU for the guest's kernel, which Debian builds without it; prints the module's path.
#   tests/vfio/noiommu.sh KERNEL-PACKAGE FOLDER
# The sources and headers are Debian's packages of that kernel (155 MB to fetch, of which one module of 50 KB is kept in FOLDER), so that
# the other modules of the kernel fit it. Nothing is installed. Fails with one line that says why.
set -euo pipefail

abi=${1#linux-image-}
abi=${abi%-unsigned}
folder=$2
series=$(cut -d. -f1-2 <<<"$abi") # 6.1 of 6.1.0-56-cloud-amd64
common=${abi%-cloud-amd64}-common
if [[ -e $folder/vfio.ko ]]; then
	echo "$folder/vfio.ko"
	exit 0
fi

work=
fail()
{
	echo "$*" >&2
	exit 1
}
trap 'rm -rf "$work"' EXIT
command -v make >/dev/null && command -v gcc-12 >/dev/null || fail "make and gcc-12 are not installed: run deploy/setup"
version=$(apt-cache show "linux-headers-$abi" 2>/dev/null | sed -n 's/^Version: //p' | head -n 1)
[[ $version ]] || fail "apt knows no linux-headers-$abi: run apt-get update"
mkdir -p "$folder"
work=$(mktemp -d "$folder/build.XXXXXX") # not /tmp, which may be small
cd "$work"
for package in linux-source-"$series" linux-headers-"$abi" linux-headers-"$common" linux-kbuild-"$series" linux-compiler-gcc-12-x86; do
	apt-get -q -o Acquire::Retries=3 download "$package=$version" >log 2>&1 || fail "apt-get download $package=$version: $(tail -n 1 log)"
	dpkg -x "$package"_*.deb root
	rm "$package"_*.deb
done
mkdir vfio
tar -xJf "root/usr/src/linux-source-$series.tar.xz" -C vfio --strip-components=3 "linux-source-$series/drivers/vfio"
headers=$work/root/usr/src/linux-headers-$abi
sed -i "s|/usr/src|$work/root/usr/src|" "$headers/Makefile"
# vfio.ko alone, from the objects that its own makefile names; that one would build its neighbours, too.
objects=$(sed -n '/^vfio-y/,/[^\\]$/p' vfio/Makefile | tr -d '\\\n' | sed 's/.*+=//')
cat >vfio/Makefile <<END
obj-m := vfio.o
vfio-y := $objects
ccflags-y := -DCONFIG_VFIO_NOIOMMU=1
END
make -s -C "$headers" M="$work/vfio" modules >log 2>&1 || fail "the module does not build: $(grep -m 1 -i error log || tail -n 1 log)"
strip --strip-debug vfio/vfio.ko
mv vfio/vfio.ko "$folder/vfio.ko"
echo "$folder/vfio.ko"
