#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# udplaned with a DPDK device on this machine, without QEMU: net_af_packet on a veth end that the kernel has been made deaf on, the
# TAP, and a peer in another namespace. What needs a real NIC is tests/vfio.
. "$(dirname "$0")/../lib/case.sh"

guest=$UDPLANE_BIN/tests/vfio/guest
ctl=$UDPLANE_BIN/client/ctl/udplanectl
work=$(mktemp -d)
on_exit rm -rf "$work"
export UDPLANE_SOCKET=$work/udplane.sock

# Frames of 4 KiB: the driver insists on 2016 bytes of room.
# The wire end va has no address, and a bridge that is down takes every frame after the packet socket has seen it.
deafen()
{
	ip -n "$ns_a" address flush dev va
	in_a sysctl -qw net.ipv6.conf.va.disable_ipv6=1
	ip -n "$ns_a" link add br0 type bridge || return 1
	ip -n "$ns_a" link set va master br0
	in_a ethtool -K va tx off rx off gro off >/dev/null
	in_b ethtool -K vb tx off rx off gro off tso off gso off >/dev/null
}

start_udplaned()
{
	start in_a "$UDPLANE_BIN/sidecar/udplaned" --backend vfio --device net_af_packet0,iface=va --interface tap0 --ports 7000-7100 \
		--address 10.99.0.1/24,fd99::1/64 --gateway 10.99.0.2 --socket "$UDPLANE_SOCKET" --frames 4096 --frame-size 4096 --hugepages off
	udplaned=$started
	wait_until 10 "$ctl" health
}

counter() { "$ctl" device --json | python3 -c "import json, sys; print(json.load(sys.stdin)['counters']['$1'])"; }

serving() { in_a ss -Hlun | grep -q :7000 && in_a ss -Hltn | grep -q :7500; }

comes_up() { start_udplaned && "$ctl" device | grep -q net_af_packet; }

tap_has_the_addresses()
{
	ip -n "$ns_a" -o address show dev tap0 | grep -q "10.99.0.1/24" && ip -n "$ns_a" route | grep -q "default via 10.99.0.2 dev tap0"
	assert_equal "MAC" "$(in_a cat /sys/class/net/va/address)" "$(in_a cat /sys/class/net/tap0/address)"
}

ping_both_ways()
{
	in_b ping -q -c 3 -i 0.2 -W 2 10.99.0.1 && in_b ping -q -c 3 -i 0.2 -W 2 fd99::1 && in_a ping -q -c 3 -i 0.2 -W 2 10.99.0.2
}

echo_by_the_fast_path()
{
	local delivered
	in_b "$guest" peer 10.99.0.1 7000 2000 64
	in_b "$guest" peer fd99::1 7000 500 1400
	delivered=$("$ctl" stats --json | python3 -c "import json, sys
d = json.load(sys.stdin)
print(sum(w['counters']['rx_delivered'] if 'counters' in w else w['rx_delivered'] for w in d['workers']))")
	((delivered >= 2400)) || fail "only $delivered of 2500 datagrams took the fast path"
}

tcp_through_the_tap()
{
	in_b "$guest" tcp-get 10.99.0.1 7500 64 && in_b "$guest" tcp-get fd99::1 7500 4
}

# What the NIC cannot send is dropped and counted, not sent as far as it fits.
larger_mtu_on_the_tap_than_on_the_nic()
{
	local before
	before=$(counter tx_invalid)
	ip -n "$ns_a" link set tap0 mtu 4000
	! in_a ping -q -c 2 -i 0.2 -W 1 -M "do" -s 3000 10.99.0.2 || fail "3000 bytes went through"
	(($(counter tx_invalid) >= before + 2)) || fail "not counted"
	in_a ping -q -c 1 -W 2 10.99.0.2
	ip -n "$ns_a" link set tap0 mtu 1500
}

# Neighbour discovery may come in between two of the readings.
all_counted() { (($(counter rx_seen) == $(counter rx_diverted) + $(counter rx_passed_jumbo))); }

nothing_unaccounted_for()
{
	wait_until 5 all_counted || fail "rx_seen is not the sum of rx_diverted and rx_passed_jumbo"
	(($(counter tap_rx) > 0 && $(counter tap_tx) > 0 && $(counter rx_lost_no_frame) == 0)) || fail "tap counters"
}

gone() { [[ ! -e /proc/$udplaned ]]; }

killed_and_back()
{
	kill -KILL "$udplaned"
	wait_until 5 gone # the script's shell reaps it
	ip -n "$ns_a" -o address show dev tap0 | grep -q 10.99.0.1/24 || fail "the TAP lost its address"
	start_udplaned
	wait_until 5 in_b ping -q -c 1 -W 1 10.99.0.1
	wait_until 10 in_b "$guest" peer 10.99.0.1 7000 200 64
}

require_root
netns_pair
deafen || skip_all "no bridge in this kernel"
run_case comes_up
start_udplaned || fail "udplaned does not start"
start in_a "$guest" echo 7000
start in_a "$guest" tcp-serve 7500
wait_until 5 serving || fail "the servers do not start"
run_case tap_has_the_addresses
run_case ping_both_ways
run_case echo_by_the_fast_path
run_case tcp_through_the_tap
run_case larger_mtu_on_the_tap_than_on_the_nic
run_case nothing_unaccounted_for
run_case killed_and_back
finish
