# The regression tests of PostgreSQL, from its source, on the packaged server.
B=/usr/lib/postgresql/15/bin; cp -r /src/postgresql-15/src/test/regress /tmp/regress; chown -R postgres /tmp/regress; cd /tmp/regress
ln -s /usr/lib/postgresql/15/lib/{autoinc,refint}.so .
exec setpriv --reuid postgres --regid postgres --clear-groups bash -c "
export HOME=/tmp/regress PGHOST=/tmp
gcc -O1 -fPIC -shared -w -I\$($B/pg_config --includedir-server) -o regress.so regress.c || exit 1
$B/initdb -D d -A trust --no-locale -E UTF8 > init.log 2>&1
$B/pg_ctl -D d -o '-k /tmp' -l log -w start > /dev/null
/usr/lib/postgresql/15/lib/pgxs/src/test/regress/pg_regress --inputdir=. --outputdir=. --bindir=$B --dlpath=. --max-concurrent-tests=20 \
  --schedule=./parallel_schedule
$B/pg_ctl -D d -m fast -w stop; cat regression.diffs"
