# pgbench, select only, on PostgreSQL's unix socket, or with the argument `tcp` by TCP; prints the nanoseconds of one
# transaction.
export BY=${1:-unix}
export HOME=$(mktemp -d); cd "$HOME"; chown postgres .
exec setpriv --reuid postgres --regid postgres --clear-groups sh -c '
PATH=/usr/lib/postgresql/15/bin:$PATH; export PGHOST=$HOME PGDATA=$HOME/data
initdb -A trust > /dev/null
printf "%s\n" "listen_addresses = '"'127.0.0.1'"'" "unix_socket_directories = '"'\$HOME'"'" | sed "s:.HOME:$HOME:" >> data/postgresql.conf
pg_ctl -l log -w start > /dev/null && createdb b && pgbench -i -q -s 5 b 2> /dev/null
[ $BY = tcp ] && export PGHOST=127.0.0.1
pgbench -S -n -c 4 -j 2 -T 2 b 2> /dev/null | awk "/^tps/ { printf \"%.1f\\n\", 1e9 / \$3 }"
pg_ctl -m fast -w stop > /dev/null; rm -rf "$HOME"'
