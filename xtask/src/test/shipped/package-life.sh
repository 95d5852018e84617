#!/bin/sh
# A package's life on a host: installed, run, configured, upgraded, removed, purged; old.deb and new.deb are beside this
# file. Every promise that is broken is said, and makes the end a failure.
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

config=/etc/ldrscope/ldrscope.toml
unit=/usr/lib/systemd/system/ldrscope.service
link=/etc/systemd/system/multi-user.target.wants/ldrscope.service

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
# As the unit starts it; a textfile tells how it is without a port.
state=/run/package-life
install -d -o ldrscope -g ldrscope $state
must as_unit serve --check-config
as_unit serve --listen none --textfile $state/ldrscope.prom --textfile-interval 1s &
daemon=$!
patience=60
while [ $patience -gt 0 ] && kill -0 $daemon && ! grep --quiet --no-messages '^ldrscope_up 1$' $state/ldrscope.prom; do
	sleep 1
	patience=$((patience - 1))
done
must has 'ldrscope_up 1' $state/ldrscope.prom
must kill -TERM $daemon
wait $daemon
must same $? 0
must_not pgrep --exact ldrscope

step configure
must systemctl enable ldrscope.service
must test -L $link
echo '# the administrator was here' >>$config
install -d -o ldrscope -g ldrscope /var/lib/ldrscope /var/log/ldrscope
touch /var/lib/ldrscope/kept /var/log/ldrscope/events.jsonl

step upgrade
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
must ldrscope --version

step remove
must dpkg --remove ldrscope
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

step purge
must dpkg --purge ldrscope
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
