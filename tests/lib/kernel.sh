# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Debian's cloud kernel for QEMU guests, kept in ${UDPLANE_CACHE:-/var/cache/udplane} for the next time. For sourcing; call fetch_kernel.

kernel_cache=${UDPLANE_CACHE:-/var/cache/udplane}/kernel

# Prints the kernel's package. Of one series the archive keeps the headers of several versions, but kbuild's of the newest of each suite, and
# the signed image comes days after its sources: so the kernel is the newest version of which there are kbuild, headers and an image,
# signed or not.
choose_kernel()
{
	local series=$1 version abi suffix
	for version in $(versions_of "linux-kbuild-$series"); do
		abi=$(apt-cache pkgnames "linux-headers-$series." | grep -- '-cloud-amd64$' | xargs -r apt-cache madison |
			awk -v version="$version" '$3 == version { sub("linux-headers-", "", $1); print $1; exit }')
		[[ $abi ]] || continue
		for suffix in "" -unsigned; do
			if versions_of "linux-image-$abi$suffix" | grep -qxF -- "$version"; then
				echo "linux-image-$abi$suffix"
				return 0
			fi
		done
	done
	return 1
}

versions_of() # PACKAGE; the newest first
{
	apt-cache madison "$1" | awk '$NF == "Packages" && !seen[$3]++ { print $3 }'
}

# Prints the folder with the unpacked package; when apt knows of none, that of the one fetched last.
fetch_kernel()
{
	local series package folder
	series=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: linux-image-\([0-9]*\.[0-9]*\)\..*/\1/p' | head -n 1)
	if [[ ! $series ]] || ! package=$(choose_kernel "$series"); then
		folder=$(find "$kernel_cache" -maxdepth 2 -name "done" -printf '%T@ %h\n' 2>/dev/null | sort -rn | head -n 1 | cut -d' ' -f2)
		[[ $folder ]] || { echo "apt knows no linux-image-*-cloud-amd64 with its kbuild: run apt-get update" >&2; exit 1; }
		echo "$folder"
		return
	fi
	folder=$kernel_cache/$package
	if [[ ! -e $folder/done ]]; then
		mkdir -p "$folder"
		# Debian's download sandbox cannot write here; that is only a warning.
		(cd "$folder" && apt-get -q -o Acquire::Retries=3 download "$package" >&2 && dpkg -x "$package"_*.deb . && rm ./*.deb)
		depmod -b "$folder" "$(ls "$folder/lib/modules")"
		touch "$folder/done"
	fi
	echo "$folder"
}
