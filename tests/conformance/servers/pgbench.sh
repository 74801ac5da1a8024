# PostgreSQL: a new cluster, pgbench over its unix socket and TCP, a crash and its recovery.
B=/usr/lib/postgresql/15/bin; mkdir /tmp/pg; chown postgres /tmp/pg; cd /tmp/pg
exec setpriv --reuid postgres --regid postgres --clear-groups bash -c "
export HOME=/tmp/pg PATH=$B:\$PATH
initdb -D d -A trust > init.log 2>&1; echo initdb \$?
pg_ctl -D d -l log -w start > /dev/null; echo started \$?
createdb b; pgbench -i -q -s 2 b 2> /dev/null; echo filled \$?
for how in '-S' '-S -h 127.0.0.1' '-S -h ::1 -M prepared' '-h localhost' '-C -S -t 20'; do
  echo \"pgbench \$how\"; pgbench -c 4 -j 2 -t 200 \$how b 2>&1 | grep -E 'actually processed|failed'
done
psql -At b -c 'select count(*) from pgbench_accounts' -c 'select count(*) from pgbench_history'
psql -At b -c \"copy (select * from pgbench_accounts) to program 'wc -l'\"
psql -At b -c 'listen n' -c \"notify n, 'text'\" | sed 's/PID [0-9]*/PID/'
kill -9 \$(psql -At b -c \"select pid from pg_stat_activity where backend_type = 'checkpointer'\"); sleep 0.2
until psql -At b -c 'select 1' > /dev/null 2>&1; do sleep 0.1; done; psql -At b -c 'select count(*) from pgbench_accounts'
pg_ctl -D d -m fast -w stop > /dev/null; echo stopped \$?; tail -1 log | sed 's/^.*LOG/LOG/'"
