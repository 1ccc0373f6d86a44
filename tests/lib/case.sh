# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2030,SC2031 # a case is a subshell and has a list of its own of what to clean up
# For test scripts: `. "$(dirname "$0")/../lib/case.sh"`. Cases, cleaning up, waiting, and two namespaces joined by a veth pair.
#
#   require_root                       # or the whole script is skipped
#   netns_pair                         # $ns_a and $ns_b; see below
#   echo_v4() { ... || return 1; }     # a case: fails by a false command (set -e) or `fail "why"`; may `skip "why"`
#   run_case echo_v4
#   finish                             # exit status; always last
#
# Each case runs in a subshell. What it leaves behind (processes, files) is its own business, or on_exit's inside it.

UDPLANE_ROOT=${UDPLANE_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)}
UDPLANE_BIN=${UDPLANE_BIN:-$UDPLANE_ROOT/bazel-bin}   # built programs: $UDPLANE_BIN/sidecar/udplaned

cases_failed=0
cleanup_commands=()
cleanup_shell=$BASHPID

# --- cases ---------------------------------------------------------------------------------------------------------

skip_all() # REASON...
{
	echo "skipped: $*"
	exit 77
}

require_root()
{
	((EUID == 0)) || skip_all "needs root"
}

run_case() # FUNCTION [ARGUMENT...]; its name with the arguments is the case's
{
	local status start=${EPOCHREALTIME/[.,]/}
	set +e
	(
		cleanup_commands=() cleanup_shell=$BASHPID
		trap run_cleanup EXIT
		set -e
		"$@"
	)
	status=$?
	local took=$(((${EPOCHREALTIME/[.,]/} - start) / 1000))
	case $status in
	0) echo "PASS $* ($took ms)" ;;
	77) echo "SKIP $*" ;;
	*)
		echo "FAIL $* ($took ms)"
		cases_failed=$((cases_failed + 1))
		;;
	esac
}

skip() # REASON...
{
	echo "skipped: $*"
	exit 77
}

fail() # REASON...
{
	echo "failed: $*" >&2
	exit 1
}

assert_equal() # WHAT EXPECTED ACTUAL
{
	[[ $2 == "$3" ]] || fail "$1: expected \"$2\", got \"$3\""
}

finish()
{
	exit $((cases_failed > 0))
}

# --- cleaning up ---------------------------------------------------------------------------------------------------

# Runs COMMAND when this script (or, inside a case, that case) ends, however it ends; the last one registered first.
on_exit() # COMMAND [ARGUMENT...]
{
	cleanup_commands+=("${*@Q}")
}

run_cleanup()
{
	local i
	[[ $BASHPID == "$cleanup_shell" ]] || return 0
	set +e
	for ((i = ${#cleanup_commands[@]} - 1; i >= 0; i--)); do
		eval "${cleanup_commands[i]}"
	done
	cleanup_commands=()
}
trap run_cleanup EXIT
trap 'exit 130' INT TERM HUP

# Starts a program (not a shell function, in_a and in_b aside) in the background, to be ended with the case or script; its
# process id is in $started.
start() # [in_a|in_b] COMMAND [ARGUMENT...]
{
	local before now
	case $1 in
	in_a) set -- ip netns exec "$ns_a" "${@:2}" ;;
	in_b) set -- ip netns exec "$ns_b" "${@:2}" ;;
	esac
	"$@" &
	started=$!
	on_exit stop $started
	# Until then it is a copy of this shell, and a signal would run this shell's traps.
	mapfile -d '' -t before </proc/$BASHPID/cmdline
	until
		now=()
		mapfile -d '' -t now 2>/dev/null </proc/$started/cmdline || true
		[[ ${now[*]} != "${before[*]}" ]]
	do :; done
}

# Ends a background program and waits for it.
stop() # PID [SIGNAL]
{
	kill -s "${2:-TERM}" "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
}

# --- waiting -------------------------------------------------------------------------------------------------------

# Tries COMMAND until it succeeds; false after SECONDS.
wait_until() # SECONDS COMMAND [ARGUMENT...]
{
	local deadline=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		((${EPOCHREALTIME/[.,]/} < deadline)) || return 1
		sleep 0.02
	done
}

# --- namespaces ----------------------------------------------------------------------------------------------------

# Two namespaces joined by a veth pair, gone at the script's (or case's) end:
#   $ns_a  va  10.99.0.1/24  fd99::1/64        $ns_b  vb  10.99.0.2/24  fd99::2/64
# QUEUES receive and transmit queues on both ends (default 1).
netns_pair() # [QUEUES]
{
	local queues=${1:-1} ns link end
	ns_a=udplane-a-$BASHPID ns_b=udplane-b-$BASHPID
	ip netns add "$ns_a" || fail "cannot make a network namespace"
	on_exit ip netns del "$ns_a"
	ip netns add "$ns_b" || fail "cannot make a network namespace"
	on_exit ip netns del "$ns_b"
	ip link add va netns "$ns_a" numrxqueues "$queues" numtxqueues "$queues" type veth \
		peer name vb netns "$ns_b" numrxqueues "$queues" numtxqueues "$queues" ||
		fail "cannot make a veth pair"
	for end in 1 2; do
		((end == 1)) && ns=$ns_a link=va || ns=$ns_b link=vb
		ip -n "$ns" link set lo up
		ip -n "$ns" address add "10.99.0.$end/24" dev "$link"
		ip -n "$ns" address add "fd99::$end/64" dev "$link" nodad
		ip -n "$ns" link set "$link" up
	done
	wait_until 5 link_up "$ns_a" va && wait_until 5 link_up "$ns_b" vb || fail "the veth pair does not come up"
}

link_up() # NAMESPACE LINK
{
	[[ $(ip -n "$1" -o link show dev "$2") == *"state UP"* ]]
}

in_a() { ip netns exec "$ns_a" "$@"; }
in_b() { ip netns exec "$ns_b" "$@"; }
