#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Makes what the QEMU guest boots: vmlinuz and initramfs.gz in DIR.
#   tests/vfio/initramfs.sh DIR [noiommu]
# noiommu: with the kernel module that needs building (noiommu.sh); why there is none is then in DIR/no-noiommu.
# The kernel is that of tests/lib/kernel.sh; the programs are those in
# $UDPLANE_BIN (bazel-bin) and this system's own, with the libraries that they want.
set -euo pipefail

out=$1
noiommu=${2-}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bin=${UDPLANE_BIN:-$root/bazel-bin}
tree=$out/tree
. "$root/tests/lib/kernel.sh"
libs=/usr/lib/x86_64-linux-gnu
modules=(virtio_pci virtio_net vmxnet3 vfio-pci vfio_iommu_type1 tun 8021q)
drivers=(net_virtio net_e1000 net_vmxnet3 net_null bus_pci bus_vdev mempool_ring)

put() # FILE DESTINATION
{
	mkdir -p "$tree/$(dirname "$2")"
	[[ -e $tree/$2 ]] || cp -L "$1" "$tree/$2"
}

# The program or library and what it links to. Debug information stays outside.
put_linked() # FILE DESTINATION
{
	local lib
	[[ ! -e $tree/$2 ]] || return 0
	put "$1" "$2"
	chmod u+w "$tree/$2"
	strip --strip-debug "$tree/$2" 2>/dev/null || true
	while read -r lib; do
		case $lib in
		*/librte_bus_* | */librte_net_* | */librte_mempool_* | */librte_common_*) put_driver "${lib##*/}" ;;
		*) put "$lib" "$lib" ;;
		esac
	done < <(ldd "$1" 2>/dev/null | grep -o '/[^ ]*')
}

# EAL loads drivers from this folder; libraries that link to one must find the same file, or it would register twice.
put_driver() # librte_x.so.23
{
	put_linked "$libs/dpdk/pmds-23.0/$1" "$libs/dpdk/pmds-23.0/$1"
	mkdir -p "$tree/$libs"
	ln -sf "dpdk/pmds-23.0/$1" "$tree/$libs/$1"
	ln -sf "$1" "$tree/$libs/dpdk/pmds-23.0/${1%.so.*}.so" # EAL takes names that end so
}

kernel=$(fetch_kernel)
version=$(ls "$kernel/lib/modules")
rm -rf "$tree"
mkdir -p "$tree"/{bin,sbin,proc,sys,dev,run,tmp,etc,root,lib64} "$tree/usr/bin"
chmod 755 "$tree"
cp "$kernel/boot/vmlinuz-$version" "$out/vmlinuz"
put /bin/busybox bin/busybox
put_linked /bin/dash bin/sh # busybox's own shell would prefer its own ip
put_linked "$(command -v ip)" sbin/ip
put_linked "$bin/sidecar/udplaned" usr/sbin/udplaned
put_linked "$bin/sidecar/device/dpdk/libudplane-dpdk.so" usr/lib/udplane/libudplane-dpdk.so
put_linked "$bin/client/ctl/udplanectl" usr/bin/udplanectl
put_linked "$bin/tests/vfio/guest" usr/bin/guest
put "$root/deploy/bind-vfio" usr/sbin/bind-vfio
put "$root/tests/vfio/init" init
for driver in "${drivers[@]}"; do
	put_driver "librte_$driver.so.23"
done
# In the order of their dependences.
for module in "${modules[@]}"; do
	modprobe -d "$kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
	put "$file" "lib/modules/${file##*/}"
	echo "${file##*/}"
done >"$out/order"
put "$out/order" lib/modules/order
# Beside Debian's vfio.ko one that knows the mode without an IOMMU, if it can be made here.
[[ -z $noiommu || -e $kernel/noiommu/vfio.ko ]] || echo "building vfio.ko with CONFIG_VFIO_NOIOMMU, once: 155 MB to fetch, 20 to 40 s"
if [[ $noiommu ]] && module=$("$root/tests/vfio/noiommu.sh" "${kernel##*/}" "$kernel/noiommu" 2>"$out/no-noiommu"); then
	put "$module" lib/modules/noiommu/vfio.ko
	rm "$out/no-noiommu"
fi
(cd "$tree" && find . | cpio --quiet -o -H newc | gzip -1 >"$out/initramfs.gz")
