# Redis with its own benchmark, over TCP and a unix socket; its data saved and loaded again.
cd /tmp
start() { redis-server --port 6379 --unixsocket /tmp/redis.sock --loglevel warning --dir /tmp > redis.log 2>&1 & }
ready() { until redis-cli ping > /dev/null 2>&1; do sleep 0.05; done; }
start; ready
redis-benchmark -q -n 5000 -t set,get,incr,lpush,mset | tr '\r' '\n' | grep -c 'requests per second'
redis-benchmark -q -n 20000 -P 16 -t set,get -s /tmp/redis.sock | tr '\r' '\n' | grep -c 'requests per second'
redis-cli set name value; redis-cli incrby count 41; redis-cli incr count
(redis-cli subscribe news & echo $! > subscriber; wait) > heard &
until [ "$(redis-cli publish news hello)" = 1 ]; do sleep 0.05; done
until grep -q hello heard; do sleep 0.05; done; kill "$(cat subscriber)"; tr '\n' ' ' < heard; echo
redis-cli bgsave; until [ "$(redis-cli info persistence | grep -c 'rdb_bgsave_in_progress:0')" = 1 ]; do sleep 0.05; done
redis-cli -s /tmp/redis.sock shutdown nosave; wait %1
start; ready; redis-cli get name; redis-cli get count; redis-cli shutdown nosave; wait; echo ended
