# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # root, suites: of tests/run
# What tests/run and the suites are made of. Sourced; the working directory is the repository.
#
# A suite calls bazel_suite, script_suite or fuzz_suite; these count into passed, failed and skipped.

passed=0 failed=0 skipped=0
failures=()       # what failed, by name
built=            # yes or no once build_all has run
names_known=      # labels of all Bazel tests, once asked for
logs=             # folder for output; kept when something failed
server_was_up=

# --- begin and end -------------------------------------------------------------------------------------------------

runner_begin()
{
	logs=$(mktemp -d "${TMPDIR:-/tmp}/udplane-tests.XXXXXX") || exit 1
	export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}
	export UDPLANE_ROOT=$root UDPLANE_BIN=$root/bazel-bin
	bazel_server_up && server_was_up=yes
	trap runner_cleanup EXIT
	trap 'echo "tests/run: interrupted" >&2; exit 130' INT TERM HUP
}

runner_cleanup()
{
	local children
	children=$(jobs -p)
	# shellcheck disable=SC2086 # several
	[[ -z $children ]] || kill $children 2>/dev/null
	wait
	# Whoever works here keeps his warm server; a machine that had none is left with none.
	[[ $server_was_up ]] || ! bazel_server_up || bazel shutdown >/dev/null 2>&1
	((failed)) || rm -rf "$logs"
}

runner_end()
{
	if ((failed)); then
		printf '\nFailed (output in %s):\n' "$logs"
		printf '  %s\n' "${failures[@]}"
	fi
	printf '\n%d passed, %d failed, %d skipped\n' "$passed" "$failed" "$skipped"
	exit $((failed > 0 || passed == 0))
}

bazel_server_up()
{
	local file
	for file in /proc/[0-9]*/cmdline; do
		[[ $(tr '\0' ' ' <"$file") == *"--workspace_directory=$root "* ]] && return 0
	done 2>/dev/null
	return 1
}

# --- counting and showing ------------------------------------------------------------------------------------------

count() # PASSED FAILED SKIPPED
{
	((passed += $1, failed += $2, skipped += $3))
}

count_failure() # NAME
{
	((failed += 1))
	failures+=("$1")
}

show_tail() # FILE [LINES]
{
	[[ ! -s $1 ]] || tail -n "${2:-40}" "$1" | sed 's/^/    | /'
}

# Runs one step of the plan, with a heading before it and its counts and time after it.
run_step() # suite:NAME | script:PATH | bazel:PATTERN
{
	local kind=${1%%:*} name=${1#*:} title=
	local before=("$passed" "$failed" "$skipped") start=$SECONDS

	if [[ $kind == suite ]]; then
		title=title_$name
		title=": ${!title}"
	fi
	printf '\n== %s%s\n' "$name" "$title"
	case $kind in
	suite) "suite_$name" ;;
	script) build_all && run_script "$name" ;;
	bazel) bazel_tests "$name" ;;
	esac
	printf '   %s: %d passed, %d failed, %d skipped (%d s)\n' "$name" $((passed - before[0])) $((failed - before[1])) \
		$((skipped - before[2])) $((SECONDS - start))
}

# Adds to `plan` what NAME stands for; complains when that is nothing.
resolve_name() # NAME
{
	local name=$1 file base

	for file in "${suites[@]}"; do
		[[ $name != "$file" ]] || { plan+=("suite:$name"); return 0; }
	done
	for file in $(scripts_in tests); do
		base=${file##*/}
		if [[ $name == "$file" || $name == "./$file" || $name == "$base" || $name == "${base%.*}" ]]; then
			plan+=("script:$file")
			return 0
		fi
	done
	[[ $names_known ]] || names_known=$(bazel query --config=ci --keep_going 'tests(//...)' 2>"$logs/query.log")
	if [[ $names_known == *"$name"* ]]; then
		plan+=("bazel:$name")
		return 0
	fi
	{
		echo "tests/run: unknown NAME \"$name\"; allowed: ${suites[*]},"
		# shellcheck disable=SC2046,SC2086 # all in one line
		echo "a script:" $(scripts_in tests)
		# shellcheck disable=SC2086
		echo "or part of a Bazel label:" $names_known
		show_tail "$logs/query.log" 5
	} >&2
	return 1
}

# --- Bazel ---------------------------------------------------------------------------------------------------------

# Runs bazel with its output in $logs/LOG, showing a progress line now and then. Returns bazel's status.
bazel_logged() # LOG COMMAND ARGUMENT...
{
	local log=$logs/$1 command=$2
	shift 2
	bazel "$command" --config=ci --show_progress --show_progress_rate_limit=10 --keep_going "$@" 2>&1 |
		tee "$log" | awk '/^\[[0-9,]+ \/ [0-9,]+\]/ && !/WorkspaceStatus/ { print "   " $0; fflush() }'
	return "${PIPESTATUS[0]}"
}

# Prints "PASSED FAILED SKIPPED" and the failed cases' names of a test.xml as GoogleTest or Bazel writes it.
xml_counts() # FILE...
{
	awk '
	function done() {
		if (!open) return
		open = 0
		if (bad) { failed++; names = names " " label } else if (skip) skipped++; else passed++
	}
	/^ *<system-out>/ { output = 1 }
	!output && /^ *<testcase / {
		done()
		if ($0 ~ /status="notrun"/) next
		open = 1; bad = 0; skip = ($0 ~ /result="skipped"/)
		label = $0; sub(/.*<testcase name="/, "", label); sub(/".*/, "", label)
		if ($0 ~ /classname="/) { suite = $0; sub(/.*classname="/, "", suite); sub(/".*/, "", suite); label = suite "." label }
	}
	!output && /<failure |<failure>|<error / { bad = 1 }
	/<\/system-out>/ { output = 0 }
	FNR == 1 { output = 0 }
	END { done(); print passed + 0, failed + 0, skipped + 0 names }
	' "$@" /dev/null
}

# Runs Bazel tests in one configuration ("" for the default) and counts their cases.
bazel_suite() # CONFIG TAG-FILTER FLAG-OR-PATTERN...
{
	local config=$1 filter=$2 status label state
	local log=bazel${1:+-$1}.log
	# shellcheck disable=SC2178
	local testlogs=bazel-${config:+$config-}testlogs before=$failed
	shift 2

	bazel_logged "$log" test ${config:+--config=$config} --test_tag_filters="$filter" --test_output=summary "$@"
	status=$?
	while read -r label state; do
		count_target "$label" "${state#(cached) }" "$testlogs"
	done < <(sed -n 's/^\(\/\/[^ ]*\)  *\(\((cached) \)\{0,1\}[A-Z][A-Z ]*[A-Z]\)\( in .*\)\{0,1\}$/\1 \2/p' "$logs/$log")
	# 3: a test failed (counted above); 4: no such tests. A broken package fails without any test saying so.
	if ((status != 0 && status != 3 && status != 4)); then
		((failed > before)) || count_failure "build${config:+ --config=$config}"
		[[ $config || $* == *--build_tests_only* ]] || built=no
		show_build_errors "$logs/$log"
	fi
}

count_target() # LABEL STATE TESTLOGS
{
	local label=$1 state=$2 folder name files counts
	name=${label##*:} folder=${label#//}
	folder=$3/${folder%%:*}/$name

	case $state in
	"FAILED TO BUILD" | "NO STATUS")
		printf '   FAIL %s (%s)\n' "$label" "${state,,}"
		count_failure "$label ($state)"
		return
		;;
	esac
	files=("$folder"/test.xml "$folder"/shard_*/test.xml)
	[[ -e ${files[0]} ]] || files=("${files[@]:1}")
	read -ra counts < <(xml_counts "${files[@]}")
	count "${counts[@]:0:3}"
	if ((counts[1])); then
		failures+=("${counts[@]:3}")
	elif [[ $state != PASSED && $state != FLAKY ]]; then
		# A crash, a timeout or a sanitizer's report after the last case.
		count_failure "$label ($state)"
	fi
	if [[ $state != PASSED ]]; then
		printf '   FAIL %s (%s)\n' "$label" "${state,,}"
		show_tail "$folder/test.log" 60
	fi
}

show_build_errors() # LOG
{
	grep -v -E '^(INFO|Loading|Analyzing|\[|//|Executed|There were tests|All tests passed|$)' "$1" | sed -n '/^ERROR/,$p' | head -n 60 | sed 's/^/    | /'
}

# Bazel tests of the default configuration whose label contains TEXT.
bazel_tests() # TEXT
{
	local labels
	mapfile -t labels < <(grep -F -- "$1" <<<"$names_known")
	bazel_suite "" "" --build_tests_only "${labels[@]}"
}

# Builds everything that scripts run; once. A failure counts as one.
build_all()
{
	if [[ ! $built ]]; then
		built=yes
		if ! bazel_logged build.log build -- //...; then
			built=no
			count_failure "build"
			show_build_errors "$logs/build.log"
		fi
	fi
	if [[ $built == no ]]; then
		echo "   not run: the build failed"
		return 1
	fi
}

# --- scripts -------------------------------------------------------------------------------------------------------

# The test scripts among PATHs and below them: NAME_test.sh, NAME_test.py and test_NAME.sh, in the order of their names. What lies
# in tests/unit belongs to Bazel.
scripts_in() # PATH...
{
	find -L "$@" -path tests/unit -prune -o -type f \( -name '*_test.sh' -o -name '*_test.py' -o -name 'test_*.sh' \) -print |
		LC_ALL=C sort
}

# Runs each script among PATHs and below them, one after another, as they use the whole machine.
script_suite() # PATH...
{
	local script scripts
	mapfile -t scripts < <(scripts_in "$@")
	((${#scripts[@]})) || return 0
	build_all || return 0
	for script in "${scripts[@]}"; do
		run_script "$script"
	done
}

# A script prints PASS, FAIL or SKIP and a name for each case; without such lines its exit status is the one case: 0 is a
# pass, 77 a skip, anything else a failure.
run_script() # FILE
{
	local script=$1 name log pid status start=$SECONDS limit=${UDPLANE_TEST_TIMEOUT:-300} counts line
	name=${script##*/} log=$logs/${script##*/}.log
	: >"$log"

	if [[ ! -x $script ]]; then
		printf '   FAIL %s (not executable)\n' "$script"
		count_failure "$script (not executable)"
		return
	fi
	# In the background, so that Ctrl-C reaches this shell, which then ends the script and lets it clean up.
	timeout --kill-after=20 "$limit" "./$script" </dev/null >"$log" 2>&1 &
	pid=$!
	tail -n +1 -s 0.1 -f --pid=$pid "$log" | awk '/^(PASS|FAIL|SKIP) / { print "   " $0; fflush() }' &
	wait $pid
	status=$?
	wait $!
	counts=("$(grep -c '^PASS ' "$log")" "$(grep -c '^FAIL ' "$log")" "$(grep -c '^SKIP ' "$log")")
	count "${counts[@]}"
	while read -r line; do
		failures+=("$name: $line")
	done < <(sed -n 's/^FAIL //p' "$log")

	if ((status == 124 || status == 137)); then
		count_failure "$name (not done after $limit s)"
	elif ((status == 77)); then
		((counts[0] + counts[1] + counts[2])) || count 0 0 1
		status=0
	elif ((status)); then
		((counts[1])) || count_failure "$name (exit status $status)"
	else
		((counts[0] + counts[1] + counts[2])) || count 1 0 0
		status=$((counts[1] > 0))
	fi
	printf '   %s %s (%d s)\n' "$( ((status)) && echo FAIL || echo "done")" "$script" $((SECONDS - start))
	((status == 0)) || show_tail "$log"
}

# --- fuzzing -------------------------------------------------------------------------------------------------------

# Runs every target of third_party/fuzz.bzl from its corpus for a while, as many at once as there are processors.
fuzz_suite()
{
	local labels label running=0
	labels=$(bazel query --config=ci --keep_going 'attr(tags, "\bfuzz\b", kind(cc_binary, //...))' 2>"$logs/query.log")
	[[ $labels ]] || return 0
	# shellcheck disable=SC2086 # labels
	if ! bazel_logged fuzz-build.log build --config=fuzz -- $labels; then
		count_failure "build --config=fuzz"
		show_build_errors "$logs/fuzz-build.log"
		return
	fi
	for label in $labels; do
		((running < $(nproc))) || { wait -n; ((running--)); }
		fuzz_one "$label" &
		((running++))
	done
	wait
	for label in $labels; do
		fuzz_result "$label"
	done
}

fuzz_one() # LABEL
{
	local path=${1#//} seconds=${UDPLANE_FUZZ_SECONDS:-20} work file options=()
	path=bazel-fuzz-bin/${path/://}
	work=$logs/fuzz${1//[\/:]/-}

	mkdir -p "$work/corpus"
	# The corpus and the dictionary are the target's runfiles, all but the program itself.
	while read -r file; do
		case $file in
		*/"${path##*/}" | */MANIFEST) ;;
		*.dict) options+=("-dict=$file") ;;
		*) cp "$file" "$work/corpus/$(md5sum <"$file" | cut -c1-16)" ;;
		esac
	done < <(find -L "$path.runfiles" -type f)
	timeout --kill-after=5 $((seconds + 60)) third_party/no_aslr.sh "$path" -max_total_time="$seconds" -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1 -artifact_prefix="$work/" "${options[@]}" "$work/corpus" >"$work/log" 2>&1
	echo $? >"$work/status"
}

fuzz_result() # LABEL
{
	local work=$logs/fuzz${1//[\/:]/-}
	if [[ $(cat "$work/status" 2>/dev/null) == 0 ]]; then
		count 1 0 0
		printf '   PASS %s (%s runs)\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")"
	else
		count_failure "$1"
		printf '   FAIL %s; input and log in %s\n' "$1" "$work"
		show_tail "$work/log" 60
	fi
}
