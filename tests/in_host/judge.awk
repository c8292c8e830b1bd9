# SPDX-License-Identifier: GPL-2.0-only
#
# What became of each test that began, from what one host printed:
#
#	passed NAME SECONDS
#	failed NAME SECONDS [REASON]
#	crashed NAME SECONDS REASON	a guest or the host that it used crashed, of the emulator's fault
#
# Each line of the input has the time in front. The rest is libtest's output (--nocapture --test-threads=1), in which a
# test begins with "test NAME ... " and ends with "ok" or "FAILED" at the end of its first line or alone on a line, or
# it is of tests/host/run and begins with "run: ", or of the host's console.

function end_test(by) {
	if (name == "")
		return
	seconds = sprintf("%.1f", (by ? by : last) - since)
	if (result == "ok")
		print "passed", name, seconds
	else if (result == "FAILED" && guest != "")
		print "crashed", name, seconds, "guest " guest " crashed"
	else if (result == "FAILED")
		print "failed", name, seconds
	else if (!host_down)
		print "failed", name, seconds, "it did not end"
	else if (breakpoint)
		print "crashed", name, seconds, "the host crashed"
	else
		print "failed", name, seconds, "the host went down"
	name = ""
	since = by
}

{
	time = $1
	sub(/^[^ ]* ?/, "")
}

/^running [0-9]+ tests?$/ { since = time }

/^test [a-z0-9_:]+ \.\.\. / {
	end_test(ended)
	name = $2
	result = guest = ended = ""
	sub(/^test [^ ]+ \.\.\. /, "")
}

name != "" && /^(ok|FAILED)$/ {
	result = $0
	ended = time
}

# See Guest::drop() in rig.rs.
name != "" && result == "" && /^guest [^ ]+ has crashed$/ { guest = $2 }

/^run: the host went down/ { host_down = 1 }
/Oops: int3/ { breakpoint = 1 }

{ last = time }

END { end_test(ended) }
