#!/bin/sh
# The documents' command lines on a host with VMs, each as it is written, in a shell of its own that has the files which
# documents name. `lines` beside this file has a place and a line in each row. What does not end as it should is said,
# and makes the end a failure.
set -u
# One stream: what a command complains of belongs beside its line.
exec 2>&1
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
cd "$scratch" || exit 1
faults=0

# A process that looks like QEMU with such a guest; the documents have one called web.
vmm=$scratch/qemu-system-x86_64
ln -s "$(command -v lab-case)" "$vmm"
stand() {
	sleep infinity | "$vmm" guest "$2" -- -name "guest=$1" >"$1.said" &
	until grep -q '^ready$' "$1.said"; do
		sleep 0.1
	done
}
stand web bigsmp-enabled
stand VM collision

# Before the real one on PATH: notes how each of a line's commands ends, and ends those that go on until somebody ends them.
real=$(command -v ldrscope)
mkdir commands
cat >commands/ldrscope <<EOF
#!/bin/sh
case \$1 in
watch | record | serve) timeout --preserve-status --signal INT 5 $real "\$@" ;;
top) { sleep 5; printf q; } | script --quiet --return --command "stty rows 24 cols 80; exec $real \$*" /dev/null ;;
*) $real "\$@" ;;
esac
status=\$?
echo "\$1 \$status" >>$scratch/ends
exit \$status
EOF
printf '#!/bin/sh\nexec "$@"\n' >commands/sudo
# The other host is this one.
cat >commands/ssh <<'EOF'
#!/bin/sh
while [ "${1#-}" != "$1" ]; do shift; done
shift
exec "$@"
EOF
chmod +x commands/*
PATH=$scratch/commands:$PATH

# Both VMs are in a state that calls for it.
expected_of() {
	case $1 in
	check) echo 2 ;;
	*) echo 0 ;;
	esac
}

while IFS='	' read -r place line; do
	# What the last line left may not have ended in a new line.
	printf '\n== %s: %s\n' "$place" "$line"
	rm -rf work ends
	mkdir work
	cp -r "$here/files/." work
	cp /sys/kernel/btf/kvm work/kvm.btf
	case $line in
	# It does not write over a recording.
	*'record '*) rm -f work/*.ldrrec ;;
	esac
	(cd work && sh -c "$line" </dev/null)
	ended=$(cat ends 2>/dev/null)
	[ -n "$ended" ] || ended='nothing was started'
	broken=$(echo "$ended" | while read -r verb status; do
		[ "$status" = "$(expected_of "$verb")" ] || echo "$verb ended with $status"
	done)
	if [ -n "$broken" ]; then
		echo "BROKEN $place: \`$line\`: $broken"
		faults=$((faults + 1))
	fi
done <"$here/lines"
[ $faults = 0 ]
