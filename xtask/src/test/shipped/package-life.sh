#!/bin/sh
# A package's life on a host whose PID 1 is systemd: installed, run, configured, upgraded, removed, purged; old.deb and
# new.deb are beside this file. Every promise that is broken is said, and makes the end a failure.
set -u
# One stream: what a command complains of belongs beside the promise that it broke.
exec 2>&1
cd "$(dirname "$0")" || exit 1
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
faults=0

# What other packages do with ours, man-db's index above all, takes minutes here and is not asked.
dpkg() { command dpkg --no-triggers "$@"; }
step() { echo "== $*"; }
must() {
	if ! "$@"; then
		echo "BROKEN: $*"
		faults=$((faults + 1))
	fi
}
must_not() {
	if "$@"; then
		echo "BROKEN: not: $*"
		faults=$((faults + 1))
	fi
}
state() { dpkg-query --show --showformat '${db:Status-Abbrev}' ldrscope 2>/dev/null | tr -d ' '; }
same() { [ "$1" = "$2" ] || { echo "'$1' is not '$2'"; false; }; }
has() { grep --quiet --fixed-strings -- "$1" "$2"; }
running() { systemctl --quiet is-active ldrscope && pgrep --exact ldrscope >/dev/null; }
main() { systemctl show --property MainPID --value ldrscope; }

config=/etc/ldrscope/ldrscope.toml
unit=/usr/lib/systemd/system/ldrscope.service
link=/etc/systemd/system/multi-user.target.wants/ldrscope.service

# A container's policy, which the outer machine may have, keeps services down; a host has none.
rm -f /usr/sbin/policy-rc.d
# The outer machine may have its own.
dpkg --purge ldrscope >/dev/null 2>&1
must_not getent passwd ldrscope

step install
must dpkg --install old.deb
must same "$(state)" ii
must same "$(dpkg --verify ldrscope)" ""
must test -f $unit -a -f $config -a -f /etc/logrotate.d/ldrscope
must test -f /usr/share/man/man1/ldrscope-watch.1.gz -a -f /usr/share/bash-completion/completions/ldrscope
must same "$(id --name --groups ldrscope | tr ' ' '\n' | sort | xargs)" "kvm ldrscope"
must same "$(getent passwd ldrscope | cut -d: -f6,7)" "/var/lib/ldrscope:/usr/sbin/nologin"
# Nothing behind the administrator's back.
must_not test -e $link
must_not pgrep --exact ldrscope

step run
# What udev does on a host.
must chgrp kvm /dev/kvm
must chmod 0660 /dev/kvm
must ldrscope --version
# As the unit runs it: that user, that group, those two capabilities.
as_unit() {
	setpriv --reuid ldrscope --regid ldrscope --init-groups --no-new-privs \
		--bounding-set=-all,+sys_admin,+syslog --inh-caps=-all,+sys_admin,+syslog --ambient-caps=-all,+sys_admin,+syslog \
		/usr/bin/ldrscope "$@"
}
must as_unit snapshot --format json >/tmp/snapshot.json
must has '"schema":"ldrscope.snapshot.v1"' /tmp/snapshot.json

step serve
must as_unit serve --check-config
# Emulation takes ten times as long for all that a start does.
dropin=/run/systemd/system/ldrscope.service.d
mkdir -p $dropin
printf '[Service]\nTimeoutStartSec=150s\n' >$dropin/emulated.conf
must systemctl daemon-reload
must systemctl start ldrscope
must running
must test -d /var/lib/ldrscope -a -d /var/log/ldrscope

step configure
must systemctl enable ldrscope.service
must test -L $link
echo '# the administrator was here' >>$config
touch /var/lib/ldrscope/kept /var/log/ldrscope/events.jsonl

step upgrade
before=$(main)
must dpkg --force-confold --install new.deb
must same "$(state)" ii
must same "$(dpkg-query --show --showformat '${Version}' ldrscope)" "$(dpkg-deb --field new.deb Version)"
must has 'the administrator was here' $config
must_not has 'of a later release' $config
must has 'of a later release' $config.dpkg-dist
# Nobody changed this one.
must has 'of a later release' /etc/logrotate.d/ldrscope
must test -L $link
must test -f /var/lib/ldrscope/kept
# The daemon goes on, with the new binary.
must running
must_not same "$(main)" "$before"

step remove
must dpkg --remove ldrscope
must_not pgrep --exact ldrscope
must same "$(state)" rc
must_not test -e /usr/bin/ldrscope
must_not test -e $unit
must test -f $config
must test -f /var/lib/ldrscope/kept
must getent passwd ldrscope

step 'install again'
must dpkg --force-confold --install new.deb
must has 'the administrator was here' $config
must test -L $link
must_not pgrep --exact ldrscope
must systemctl start ldrscope
must running

step purge
must dpkg --purge ldrscope
must_not pgrep --exact ldrscope
must same "$(state)" ""
must_not test -e /etc/ldrscope
must_not test -e /etc/logrotate.d/ldrscope
must_not test -e /var/lib/ldrscope
must_not test -e /var/log/ldrscope
must_not test -L $link
must_not test -e /usr/share/ldrscope
must_not test -e /usr/share/doc/ldrscope

step "done, $faults broken"
exit $((faults > 0))
