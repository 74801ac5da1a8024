# redis-benchmark against port $1 with 50 connections; prints the nanoseconds of one request, of GET and SET in turn.
redis-benchmark -p "$1" --csv -t get,set -n 30000 2> /dev/null |
  awk -F '"' '$4 + 0 > 0 { sum += 1e9 / $4; rows++ } END { if (rows == 2) printf "%.1f\n", sum / rows }'
