# The tests of redis, from its source, on the packaged server.
cp -r /src/redis /tmp/redis; cd /tmp/redis
for p in server cli benchmark check-aof check-rdb; do ln -sf /usr/bin/redis-$p src/redis-$p; done; ln -sf /usr/bin/redis-server src/redis-sentinel
tclsh tests/test_helper.tcl --clients 3 "$@" 2>&1 | sed 's/\x1b\[[0-9;]*m//g'
