#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The route table against a real kernel: changes by ip(8) in a namespace of its own, then wherever the table says "fast" the kernel
# must agree on device, next hop, source and MTU. Needs root. Prints PASS or FAIL and the name of each case.
#
#   host (namespace $host)                    router (namespace $router)
#   v0 10.0.0.2/24 2001:db8::2/64  -------- p0 10.0.0.1/24 2001:db8::1/64 fe80::1, forwards to
#   d0 another device (its peer d1)           d0 MTU 1300, 203.0.113.1/24 2600:9::1/64
set -u

bin=${UDPLANE_BIN:-$(git rev-parse --show-toplevel)/bazel-bin}
oracle=$bin/tests/integration/route/route_oracle
host=udpl-rt-$$-h
router=udpl-rt-$$-r
router_mac=02:00:00:00:00:01
failed=0
oracle_pid=

cleanup() {
	stop_oracle
	ip netns del "$host" 2>/dev/null
	ip netns del "$router" 2>/dev/null
}
trap cleanup EXIT
trap 'exit 1' INT TERM

h() { ip -n "$host" "$@"; }

start_oracle() {
	coproc ORACLE { exec ip netns exec "$host" "$oracle" "$1"; }
	# shellcheck disable=SC2153 # the coprocess's
	oracle_pid=$ORACLE_PID
}

stop_oracle() {
	[ -n "$oracle_pid" ] || return
	eval "exec ${ORACLE[1]-9}>&-" 2>/dev/null # end of its input
	wait "$oracle_pid" 2>/dev/null || true
	oracle_pid=
}

# A command for the oracle; its answer in $answer.
ask() {
	answer="bad: no answer"
	echo "$*" >&"${ORACLE[1]}" && read -t 60 -r answer <&"${ORACLE[0]}"
}

# ok COMMAND...: the answer must start with ok.
ok() {
	ask "$@"
	case $answer in
	ok*) ;;
	*) wrong="$wrong
  $*: $answer" ;;
	esac
}

must() { "$@" || wrong="$wrong
  failed: $*"; }

begin() { name=$1 wrong=; }
end() {
	if [ -z "$wrong" ]; then
		echo "PASS $name"
	else
		echo "FAIL $name$wrong"
		failed=1
	fi
}

fast4="fast/$router_mac/10.0.0.2/1500"
fast6="fast/$router_mac/2001:db8::2/1500"

setup() {
	ip netns add "$host" && ip netns add "$router" || exit 1
	ip -n "$host" link add v0 type veth peer name p0 netns "$router"
	h link add d0 type veth peer name d1
	ip -n "$router" link add d0 type veth peer name d1
	ip -n "$router" link set p0 address $router_mac
	ip -n "$router" link set d0 mtu 1300
	ip netns exec "$host" sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv6.conf.v0.accept_dad=0 \
		net.ipv6.conf.d0.accept_dad=0 net.ipv6.conf.v0.keep_addr_on_down=0
	ip netns exec "$router" sysctl -qw net.ipv6.conf.p0.accept_dad=0 net.ipv6.conf.d0.accept_dad=0 \
		net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
	for device in lo p0 d0 d1; do ip -n "$router" link set $device up; done
	for device in lo v0 d0 d1; do h link set $device up; done
	ip -n "$router" addr add 10.0.0.1/24 dev p0
	ip -n "$router" addr add 2001:db8::1/64 dev p0
	ip -n "$router" addr add fe80::1/64 dev p0
	ip -n "$router" addr add 203.0.113.1/24 dev d0
	ip -n "$router" addr add 2600:9::1/64 dev d0
	h addr add 172.16.0.1/24 dev d0
	h addr add 2001:db8:d::1/64 dev d0
	addresses
}

addresses() {
	h addr replace 10.0.0.2/24 brd + dev v0
	h addr replace 2001:db8::2/64 dev v0
	h route replace default via 10.0.0.1
	h -6 route replace default via fe80::1 dev v0 metric 1024
}

# Makes the kernel resolve the two gateways and an IPv6 neighbour.
resolve() {
	ask send 8.8.8.8 10
	ask send 2600::1 10
	ask send 2001:db8::1 10
	ok await "$fast4" 8.8.8.8
	ok await "$fast6" 2600::1
	ok await "$fast6" 2001:db8::1
}

test_basics() {
	begin basics
	ok await neighbour 10.0.0.9
	resolve
	ok await "fast/$router_mac/fe80::*" fe80::1
	ok await local 10.0.0.2
	ok await local 172.16.0.1
	ok await broadcast 10.0.0.255
	ok await device 172.16.0.9
	ok await device 2001:db8:d::9
	ok await "fast/$router_mac/172.16.0.1/1500" 8.8.8.8 172.16.0.1
	ok await source 8.8.8.8 10.0.0.3
	ok locals 5 # two each, and v0's link-local one
	ok check 3000 1
	end
}

test_addresses() {
	begin addresses
	ok forget
	must h addr add 10.7.0.1/16 dev v0
	ok flags addrs
	ok await local 10.7.0.1
	ok await broadcast 10.7.255.255
	ok await neighbour 10.7.1.1
	ok locals 6
	must h addr add 2001:db8:7::1/64 dev v0
	ok await local 2001:db8:7::1
	ok check 2000 2
	must h addr del 10.7.0.1/16 dev v0
	ok await "$fast4" 10.7.0.1
	must h addr del 2001:db8:7::1/64 dev v0
	ok await "$fast6" 2001:db8:7::1
	ok locals 5
	ok check 1000 3
	end
}

test_source() {
	begin source
	must h addr add 10.0.0.3/24 dev v0 # secondary
	must h addr add 10.8.0.1/24 dev v0
	must h addr add 169.254.3.3/16 scope link dev v0
	must h addr add 192.168.9.1 peer 192.168.9.2 dev v0
	must h neigh replace 192.168.9.2 lladdr 02:00:00:00:09:02 dev v0 nud permanent
	must h neigh replace 10.8.0.2 lladdr 02:00:00:00:08:02 dev v0 nud permanent
	must h neigh replace 169.254.3.4 lladdr 02:00:00:00:03:04 dev v0 nud permanent
	must h route add 20.0.0.0/8 via 10.8.0.2
	must h route add 21.0.0.0/8 via 192.168.9.2
	must h route add 22.0.0.0/8 via 10.0.0.1 src 172.16.0.1
	must h route add 23.0.0.0/8 via inet6 fe80::1 dev v0
	must h route add 24.0.0.0/8 via 169.254.3.4 dev v0
	must h addr add 2600:1::2/64 dev v0
	must h addr add 2600:2::2/64 dev v0
	must h addr add 2600:2::3/128 dev v0 preferred_lft 0
	must h -6 route add 2600:5::/32 via fe80::1 dev v0 src 2001:db8:d::1
	ok await "fast/02:00:00:00:08:02/10.8.0.1/1500" 20.1.1.1
	ok await "fast/02:00:00:00:09:02/192.168.9.1/1500" 21.1.1.1
	ok await "fast/$router_mac/172.16.0.1/1500" 22.1.1.1
	ok await "fast/$router_mac/10.0.0.2/1500" 23.1.1.1
	ok await "fast/$router_mac/2600:2::2/1500" 2600:2:0:5::1
	ok await "fast/$router_mac/2001:db8:d::1/1500" 2600:5::1
	ok check 6000 4
	must h addr del 10.0.0.2/24 dev v0 # 10.0.0.3 goes too, the default route stays
	must h addr add 10.0.0.2/24 brd + dev v0
	ok check 2000 5
	must h addr flush dev v0
	must ip -n "$host" link set v0 down
	must ip -n "$host" link set v0 up
	must addresses
	resolve
	end
}

test_silent_flush() {
	begin routes_that_go_without_a_word
	must h addr add 10.0.5.5/32 dev v0
	must h route add 30.0.0.0/8 via 10.0.0.1 src 10.0.5.5
	ok await "fast/$router_mac/10.0.5.5/1500" 30.1.1.1
	must h addr del 10.0.5.5/32 dev v0
	ok await "$fast4" 30.1.1.1
	must h route add 31.0.0.0/8 via 172.16.0.9 dev d0
	ok await device 31.1.1.1
	must h link set d0 down
	ok await "$fast4" 31.1.1.1
	ok locals 4 # its IPv4 address stays in the local table
	must h link set d0 up
	must h addr add 2001:db8:d::1/64 dev d0
	ok locals 5
	must h nexthop add id 7 via 172.16.0.9 dev d0
	must h route add 32.0.0.0/8 nhid 7
	ok await policy 32.1.1.1
	must h nexthop del id 7
	ok await "$fast4" 32.1.1.1
	ok check 1000 6
	end
}

test_routes() {
	begin routes
	must h neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 dev v0 nud permanent
	must h route add 40.0.0.0/8 via 10.0.0.77
	ok await "fast/02:00:00:00:00:77/10.0.0.2/1500" 40.1.1.1
	must h route replace 40.0.0.0/8 via 10.0.0.1
	ok await "$fast4" 40.1.1.1
	must h route add 40.0.0.0/8 via 10.0.0.77 metric 5
	ok check 300 7
	must h route del 40.0.0.0/8 via 10.0.0.1
	ok await "fast/02:00:00:00:00:77/10.0.0.2/1500" 40.1.1.1
	must h route append 40.0.0.0/8 via 10.0.0.1 metric 5
	ok await policy 40.1.1.1
	must h route replace 40.0.0.0/8 via 172.16.0.9 metric 5
	ok check 300 8
	must h route flush 40.0.0.0/8
	ok await "$fast4" 40.1.1.1
	must h route add 41.0.0.0/8 nexthop via 10.0.0.1 nexthop via 10.0.0.77
	must h route add 41.1.0.0/16 via 10.0.0.1 tos 8
	must h route add 41.2.0.0/16 via 10.0.0.1 mtu lock 1400
	must h route add 41.3.0.0/16 via 10.0.0.1 mtu 1400
	must h route add 41.4.0.0/16 via 10.0.0.1 mtu 9000
	must h route add unreachable 41.5.0.0/16
	must h route add blackhole 41.6.0.0/16
	must h route add prohibit 41.7.0.0/16
	must h route add throw 41.8.0.0/16
	must h route add 41.8.0.0/16 via 10.0.0.77 table default
	must h route add local 41.9.0.0/16 dev lo
	must h route add broadcast 41.10.0.1 dev v0 table local
	ok await policy 41.11.1.1
	ok await policy 41.1.1.1
	ok await policy 41.2.1.1
	ok await "fast/$router_mac/10.0.0.2/1400" 41.3.1.1
	ok await "fast/$router_mac/10.0.0.2/1500" 41.4.1.1
	ok await no_route 41.5.1.1
	ok await no_route 41.6.1.1
	ok await no_route 41.7.1.1
	ok await "fast/02:00:00:00:00:77/10.0.0.2/1500" 41.8.1.1
	ok await local 41.9.1.1
	ok await broadcast 41.10.0.1
	ok check 3000 9
	must h route flush root 41.0.0.0/8
	must h route flush table default
	must h route flush root 41.0.0.0/8 table local
	ok await "$fast4" 41.9.1.1
	ok check 300 10
	end
}

test_routes6() {
	begin routes6
	must h neigh replace 2001:db8::77 lladdr 02:00:00:00:00:77 dev v0 nud permanent
	must h -6 route add 2700::/16 via 2001:db8::77
	ok await "fast/02:00:00:00:00:77/2001:db8::2/1500" 2700::1
	must h -6 route replace 2700::/16 via 2001:db8::1
	ok await "$fast6" 2700::1
	must h -6 route append 2700::/16 via 2001:db8::77
	ok await policy 2700::1
	must h -6 route del 2700::/16 via 2001:db8::1
	ok await "fast/02:00:00:00:00:77/2001:db8::2/1500" 2700::1
	must h -6 route add 2700::/16 via 2001:db8::1 metric 5 mtu 1300
	ok await "fast/$router_mac/2001:db8::2/1300" 2700::1
	must h -6 route add 2701::/16 from 2001:db8::/64 via 2001:db8::1
	must h -6 route add unreachable 2702::/16
	must h -6 route add local 2703::/16 dev lo
	must h -6 route append default via 2001:db8::77 metric 1024
	ok await policy 2701::1
	ok await no_route 2702::1
	ok await local 2703::1
	ok await policy 2800::1
	ok check 3000 11
	must h -6 route del default via 2001:db8::77
	must h -6 route flush 2700::/16
	must h -6 route flush 2701::/16
	must h -6 route del unreachable 2702::/16
	must h -6 route del local 2703::/16 dev lo
	ok await "$fast6" 2800::1
	must h -6 route add 2704::/16 via 2001:db8::77 expires 2
	ok await "fast/02:00:00:00:00:77/2001:db8::2/1500" 2704::1
	ok await "policy" 2704::1 # run out, but not collected yet
	ok check 300 12
	must h -6 route flush 2704::/16
	ok await "$fast6" 2704::1
	end
}

test_rules() {
	begin rules
	must h rule add pref 100 to 50.0.0.0/8 lookup 77
	ok await policy 50.1.2.3
	ok await "$fast4" 8.8.8.8
	must h rule add pref 90 fwmark 1 lookup 77
	must h rule add pref 91 from 203.0.113.9 lookup 77
	must h rule add pref 92 iif lo ipproto tcp lookup 77
	must h -6 rule add pref 100 fwmark 1 lookup 77
	ok await "$fast4" 8.8.8.8
	ok await "$fast6" 2600::1
	ok check 500 15
	must h rule add pref 93 uidrange 0-9 lookup 77
	ok await policy 8.8.8.8
	ok await policy 10.0.0.1
	must h rule add pref 80 lookup main suppress_prefixlength 0
	ok await "$fast4" 10.0.0.1
	ok await policy 8.8.8.8
	ok check 500 16
	must h rule del pref 80
	must h rule del pref 93
	must h rule add pref 94 from 10.0.0.2 lookup 77
	ok await policy 8.8.8.8 10.0.0.2
	ok await "$fast4" 8.8.8.8
	must h -6 rule add pref 101 from 2001:db8::2 lookup 77
	ok await policy 2600::1
	for pref in 90 91 92 94 100; do must h rule del pref $pref; done
	must h -6 rule del pref 100
	must h -6 rule del pref 101
	ok await "$fast4" 8.8.8.8
	ok await "$fast6" 2600::1
	must h rule del pref 32766
	ok await policy 8.8.8.8
	must h rule add pref 32766 lookup main
	ok await "$fast4" 8.8.8.8
	ok check 1000 13
	end
}

rp_filter() {
	ip netns exec "$host" sysctl -qw "net.ipv4.conf.all.rp_filter=$1" "net.ipv4.conf.v0.rp_filter=$2"
	ok poll 50
}

# Which sources the kernel accepts: what the table calls valid must be. (Linux takes to the full check for good once a policy rule was
# there, hence also before test_rules.)
test_sources() {
	begin "sources$1"
	must h addr add 192.0.2.1/32 dev lo
	must h route add 198.51.100.0/24 dev d0
	must h route add local 198.18.0.0/16 dev lo
	must h route add unreachable 198.19.0.0/16
	for mode in "0 0" "1 0" "0 2" "2 1"; do
		# shellcheck disable=SC2086
		rp_filter $mode
		ok sources 1500 21 10.0.0.2
		case $answer in *valid=0*) wrong="$wrong
  none is valid: $answer" ;; esac
		[ "$mode" = "0 0" ] || ok await "$fast4" 8.8.8.8
	done
	must h route del default via 10.0.0.1
	ok await no_route 8.8.8.8
	ok sources 1500 22 10.0.0.2
	must h route replace default via 10.0.0.1
	must h rule add pref 70 from 10.0.0.2 lookup 77
	ok await policy 8.8.8.8 10.0.0.2
	ok sources 500 23 10.0.0.2
	must h rule del pref 70
	rp_filter 0 0
	must h rule add pref 71 to 198.18.0.0/15 lookup 77
	must h route add broadcast 198.19.7.0/24 dev v0 table 77
	ok await policy 198.19.1.1
	ok sources 1500 24 10.0.0.2
	must h rule del pref 71
	must h route flush table 77
	must h route del unreachable 198.19.0.0/16
	must h route del local 198.18.0.0/16 dev lo
	must h route del 198.51.100.0/24 dev d0
	must h addr del 192.0.2.1/32 dev lo
	ok await "$fast4" 8.8.8.8
	end
}

test_neighbours() {
	begin neighbours
	must h neigh add 10.0.0.60 lladdr 02:00:00:00:00:60 dev v0 nud reachable
	ok await "fast/02:00:00:00:00:60/10.0.0.2/1500" 10.0.0.60
	must h neigh change 10.0.0.60 lladdr 02:00:00:00:00:61 dev v0 nud permanent
	ok await "fast/02:00:00:00:00:61/10.0.0.2/1500" 10.0.0.60
	must h neigh change 10.0.0.60 dev v0 nud failed
	ok await neighbour 10.0.0.60
	must h neigh change 10.0.0.60 lladdr 02:00:00:00:00:60 dev v0 nud stale
	ok await "fast/02:00:00:00:00:60/10.0.0.2/1500" 10.0.0.60
	must h neigh del 10.0.0.60 dev v0
	ok await neighbour 10.0.0.60
	must h neigh add proxy 10.0.0.61 dev v0
	must h neigh add 10.0.0.62 lladdr 02:00:00:00:00:62 dev d0
	ok await neighbour 10.0.0.61
	ok await neighbour 10.0.0.62
	must h neigh del proxy 10.0.0.61 dev v0
	ok check 500 14
	end
}

# NTF_USE makes a stale entry be probed, and reachable again.
test_use() {
	begin use
	must h neigh change 10.0.0.1 lladdr $router_mac dev v0 nud stale
	ip netns exec "$host" sysctl -qw net.ipv4.neigh.v0.delay_first_probe_time=1
	ok use 10.0.0.1
	ok use 10.0.0.222 # unknown: nothing happens
	local until=$((SECONDS + 8))
	while ! h neigh show 10.0.0.1 | grep -q REACHABLE; do
		[ $SECONDS -lt $until ] || { wrong="$wrong
  $(h neigh show 10.0.0.1)"; break; }
		ok poll 20
	done
	must test -z "$(h neigh show 10.0.0.222)"
	ok await "$fast4" 8.8.8.8
	end
}

# Learnt path MTUs are nowhere announced; they are looked for once a second. IPv4 lists one only after something has looked the
# destination up again: here a second datagram, in a flow the next ICMP message.
test_path_mtu() {
	begin path_mtu
	ask send 203.0.113.9 1400
	ask send 203.0.113.9 1400
	ask send 2600:9::9 1400
	ok await "fast/$router_mac/10.0.0.2/1300" 203.0.113.9
	ok await "fast/$router_mac/2001:db8::2/1300" 2600:9::9
	ok await "$fast4" 203.0.113.10
	ok check 500 15
	must h route flush cache
	must h -6 route flush cache
	ok await "$fast4" 203.0.113.9
	ok await "$fast6" 2600:9::9
	end
}

test_link() {
	begin link
	ok forget
	must h link set v0 mtu 1400
	ok flags link
	ok await "fast/$router_mac/10.0.0.2/1400" 8.8.8.8
	ok check 300 16
	ip netns exec "$host" sysctl -qw net.ipv6.conf.v0.mtu=1350
	ok await "fast/$router_mac/2001:db8::2/1350" 2600::1
	ok await "fast/$router_mac/10.0.0.2/1400" 8.8.8.8
	ok check 300 17
	must h link set v0 mtu 1500
	ok await "$fast6" 2600::1
	ok forget
	must ip -n "$router" link set p0 down # no carrier
	ok flags link
	ok await device 8.8.8.8
	must ip -n "$router" link set p0 up
	must ip -n "$router" addr replace 2001:db8::1/64 dev p0
	must ip -n "$router" addr replace fe80::1/64 dev p0
	resolve # without carrier Linux forgets its neighbours
	must h link set v0 down
	ok await no_route 2600::1
	ok await no_route 8.8.8.8
	must h link set v0 up
	must addresses
	resolve
	ok check 500 18
	end
}

random_host() { # SEED
	RANDOM=$1
	local i metric via len
	for ((i = 0; i < 120; i++)); do
		via="via 10.0.0.$((RANDOM % 4 ? 1 : 77))"
		((RANDOM % 5)) || via="dev v0 scope link"
		((RANDOM % 5)) || via="via 172.16.0.9"
		((RANDOM % 8)) || via="via inet6 fe80::1 dev v0"
		metric=$((RANDOM % 3))
		len=$((8 + RANDOM % 25))
		echo "route append $((60 + RANDOM % 3)).$((RANDOM % 4 * 64)).$((RANDOM % 2 * 128)).0/$len $via metric $metric"
		via="via 2001:db8::$((RANDOM % 4 ? 1 : 77))"
		((RANDOM % 5)) || via="dev v0"
		((RANDOM % 5)) || via="via 2001:db8:d::9"
		len=$((16 + RANDOM % 49))
		echo "-6 route append 276$((RANDOM % 3)):$((RANDOM % 4))000:$((RANDOM % 2))::/$len $via metric $((1 + metric))"
	done
}

test_random() {
	local seed
	for seed in 1 2 3 4 5 6; do
		begin "random_routes_$seed"
		random_host $seed | grep -v "^-6" >"$batch"
		h -force -batch "$batch" 2>/dev/null # some have host bits set, and are refused
		random_host $seed | sed -n 's/^-6 //p' >"$batch"
		h -6 -force -batch "$batch" 2>/dev/null
		ok check 6000 $((100 + seed))
		echo "     $answer"
		for net in 60 61 62; do h route flush root $net.0.0.0/8; done
		for net in 2760 2761 2762; do h -6 route flush root $net::/16; done
		ok check 300 $((200 + seed))
		end
	done
}

five_thousand() { # VERB
	local i
	for ((i = 0; i < 5000; i++)); do echo "route $1 70.$((i / 256)).$((i % 256)).0/24 via 10.0.0.1"; done
}

test_many() {
	begin five_thousand_routes
	five_thousand add >"$batch"
	must h -batch "$batch"
	ok await "$fast4" 70.19.0.1
	ok check 3000 300
	end

	begin overrun
	ok forget
	for verb in del add del add; do
		five_thousand $verb >"$batch"
		must h -batch "$batch"
	done
	must h addr add 10.9.0.1/24 dev v0
	ok flags resync
	ok await local 10.9.0.1
	ok await "$fast4" 70.19.0.1
	ok check 3000 301
	must h addr del 10.9.0.1/24 dev v0
	end

	begin many_neighbours
	for ((i = 0; i < 900; i++)); do
		echo "neigh replace 10.0.$((i / 250)).$((i % 250 + 3)) lladdr 02:00:00:01:00:0$((i % 10)) dev v0 nud permanent"
	done >"$batch"
	must h addr add 10.0.0.2/22 dev v0
	must h -batch "$batch"
	ok await "fast/02:00:00:01:00:09/10.0.0.2/1500" 10.0.3.152
	ok check 3000 302
	must h neigh flush dev v0 nud permanent
	must h addr del 10.0.0.2/22 dev v0
	must h neigh replace 10.0.0.77 lladdr 02:00:00:00:00:77 dev v0 nud permanent
	end
}

# Addresses that come and go as fast as ip(8) can, over 5000 routes: less processor time than ip itself takes, and the end is right.
test_storm() {
	local before i flapper
	begin storm
	for ((i = 0; i < 200; i++)); do
		echo "addr add 10.6.0.1/24 dev v0"
		echo "addr del 10.6.0.1/24 dev v0"
	done >"$batch"
	ask cpu
	before=${answer#ok }
	(
		until=$((SECONDS + 3))
		while [ $SECONDS -lt $until ]; do ip -n "$host" -batch "$batch"; done
	) &
	flapper=$!
	ok poll 2500
	local tables=${answer#ok }
	ask cpu
	local used=$((${answer#ok } - before))
	wait $flapper
	echo "     $used ms of processor time in 2500 ms, $tables tables"
	[ $used -lt 2000 ] || wrong="$wrong
  $used ms of processor time"
	# A complete table each 12 ms (2.4 us a route), and one in which all is slow in between.
	[ "$tables" -lt 500 ] || wrong="$wrong
  $tables tables"
	ok await "$fast4" 10.6.0.1
	ok check 1000 400
	five_thousand del >"$batch"
	must h -batch "$batch"
	ok await "$fast4" 70.19.0.1
	ok check 300 401
	end
}

test_gone() {
	begin gone
	ok forget
	must h link del v0
	ok flags gone
	ok await "no_route" 8.8.8.8
	end
	stop_oracle
}

test_idle() {
	begin idle
	ask cpu
	local before=${answer#ok }
	ok poll 2000
	ask cpu
	local used=$((${answer#ok } - before))
	[ $used -lt 20 ] || wrong="$wrong
  $used ms of processor time in 2000 ms"
	end
}

[ "$(id -u)" = 0 ] || { echo "FAIL route_test (needs root)"; exit 1; }
[ -x "$oracle" ] || { echo "FAIL route_test (no $oracle)"; exit 1; }
batch=$(mktemp /tmp/udpl-rt-XXXXXX)
trap 'cleanup; rm -f "$batch"' EXIT
setup
start_oracle v0
test_basics
test_addresses
test_source
test_silent_flush
test_routes
test_routes6
test_sources _first
test_rules
test_sources _again
test_neighbours
test_use
test_path_mtu
test_link
test_random
test_many
test_storm
test_idle
test_gone
exit $failed
