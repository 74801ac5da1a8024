# redis-benchmark against redis-server; prints the nanoseconds of one request, of GET and SET in turn. Arguments are redis-benchmark's.
cd /tmp
redis-server --port 16379 --save '' --loglevel warning > /dev/null &
until redis-cli -p 16379 ping > /dev/null 2>&1; do sleep 0.02; done
redis-benchmark -p 16379 --csv -t get,set "$@" 2> /dev/null |
  awk -F '"' '$4 + 0 > 0 { sum += 1e9 / $4; rows++ } END { if (rows == 2) printf "%.1f\n", sum / rows }'
redis-cli -p 16379 shutdown nosave
wait
